import { type Mail, type MailData, MailRejectedError, type Sender } from './mail.js'

/*
 * No text a stranger chose, such as a name given at signup, goes into a mail: signing up with someone else's address
 * would make us deliver it.
 */

export interface RenderedMail {
  readonly subject: string
  readonly text: string
}

/** One plain address, with nothing in it that could start another address or header. */
const ADDRESS_PATTERN = /^[^\s@<>,;:"\p{Cc}]+@[^\s@<>,;:"\p{Cc}]+$/u

/** The mail as it will be read; throws {@link MailRejectedError} when `to` is not one plain address. */
export function compose(mail: Mail, sender: Sender): RenderedMail {
  if (!ADDRESS_PATTERN.test(mail.to)) throw new MailRejectedError('not an e-mail address')
  return render(mail, sender.name)
}

function render(mail: Mail, brand: string): RenderedMail {
  switch (mail.template) {
    case 'verify-email':
      return verifyEmail(mail.data, brand)
    case 'reset-password':
      return resetPassword(mail.data, brand)
    case 'password-changed':
      return passwordChanged(mail.data, brand)
    case 'account-locked':
      return accountLocked(mail.data, brand)
    case 'comp-awarded':
      return compAwarded(mail.data, brand)
    case 'comp-paid':
      return compPaid(mail.data, brand)
    case 'withdrawal-completed':
      return withdrawalCompleted(mail.data, brand)
    case 'payouts-paused':
      return payoutsPaused(mail.data, brand)
    case 'treasury-discrepancy':
      return treasuryDiscrepancy(mail.data, brand)
  }
}

export function verifyEmail(data: MailData['verify-email'], brand: string): RenderedMail {
  return {
    subject: `${data.code} is your ${brand} verification code`,
    text: letter(
      brand,
      'Welcome! Enter this code to verify your e-mail address:',
      data.code,
      `It is good for ${data.expiresInMinutes} minutes. If you did not sign up, ignore this mail.`,
    ),
  }
}

export function resetPassword(data: MailData['reset-password'], brand: string): RenderedMail {
  return {
    subject: `Reset your ${brand} password`,
    text: letter(
      brand,
      'Enter this code to set a new password:',
      data.code,
      `It is good for ${data.expiresInMinutes} minutes. If you did not ask for it, ignore this mail: your password stays.`,
    ),
  }
}

export function passwordChanged(data: MailData['password-changed'], brand: string): RenderedMail {
  return {
    subject: `Your ${brand} password was changed`,
    text: letter(
      brand,
      `Your password was changed on ${moment(data.changedAtMs)}, and every device was logged out.`,
      'If that was not you, reset your password now.',
    ),
  }
}

export function accountLocked(data: MailData['account-locked'], brand: string): RenderedMail {
  return {
    subject: `Your ${brand} account is locked`,
    text: letter(
      brand,
      `After ${data.failedLogins} failed logins your account is locked until ${moment(data.unlocksAtMs)}.`,
      'If that was not you, someone may be guessing your password. It has not been changed.',
    ),
  }
}

export function compAwarded(data: MailData['comp-awarded'], brand: string): RenderedMail {
  return {
    subject: `You earned a ${data.amount} comp`,
    text: letter(brand, `Congratulations! A comp of ${data.amount} is yours.`, `You earned it ${data.reason}.`),
  }
}

export function compPaid(data: MailData['comp-paid'], brand: string): RenderedMail {
  return {
    subject: `Your ${data.amount} comp was paid`,
    text: letter(
      brand,
      `Your comp of ${data.amount} is in your wallet ${data.address}.`,
      `Transaction: ${data.transactionHash}`,
    ),
  }
}

export function withdrawalCompleted(data: MailData['withdrawal-completed'], brand: string): RenderedMail {
  return {
    subject: `Your withdrawal of ${data.amount} is complete`,
    text: letter(
      brand,
      `${data.amount} went from your wallet to ${data.address}.`,
      `Transaction: ${data.transactionHash}`,
      'If that was not you, somebody else has the key of your wallet: move what is left to another one.',
    ),
  }
}

export function payoutsPaused(data: MailData['payouts-paused'], brand: string): RenderedMail {
  return {
    subject: `Payouts of the pool ${data.pool} are paused`,
    text: letter(
      brand,
      `Nothing is signed for the pool ${data.pool} since ${moment(data.pausedAtMs)}. The reason: ${data.because}.`,
      'What is out is followed to its end. docs/payouts.md says what each reason means and what to do.',
    ),
  }
}

export function treasuryDiscrepancy(data: MailData['treasury-discrepancy'], brand: string): RenderedMail {
  return {
    subject: `Ledger and chain differ in the pool ${data.pool}`,
    text: letter(
      brand,
      `At block ${data.height} the wallet holds ${data.onChain}, the ledger says ${data.ledger}: ${data.difference} off.`,
      'Its payouts are paused. Find out why before you resume them: docs/payouts.md.',
    ),
  }
}

function letter(brand: string, ...paragraphs: string[]): string {
  return `${[...paragraphs, brand].join('\n\n')}\n`
}

/** `2026-01-31 17:05 UTC` */
function moment(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 16).replace('T', ' ')} UTC`
}
