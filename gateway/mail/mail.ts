/** What each template needs to be written. */
export interface MailData {
  readonly 'verify-email': { readonly code: string; readonly expiresInMinutes: number }
  readonly 'reset-password': { readonly code: string; readonly expiresInMinutes: number }
  readonly 'password-changed': { readonly changedAtMs: number }
  readonly 'account-locked': { readonly failedLogins: number; readonly unlocksAtMs: number }
  /** `amount` as people read it (`$100.00`); `reason` completes the sentence "You earned it …". */
  readonly 'comp-awarded': { readonly amount: string; readonly reason: string }
  readonly 'comp-paid': { readonly amount: string; readonly address: string; readonly transactionHash: string }
  readonly 'withdrawal-completed': {
    readonly amount: string
    readonly address: string
    readonly transactionHash: string
  }
  /** To administrators, who may have written the reason. */
  readonly 'payouts-paused': { readonly pool: string; readonly because: string; readonly pausedAtMs: number }
  /** Amounts as people read them. */
  readonly 'treasury-discrepancy': {
    readonly pool: string
    readonly height: number
    readonly onChain: string
    readonly ledger: string
    readonly difference: string
  }
}

export type MailTemplate = keyof MailData

/** One mail to one person. */
export type Mail = {
  [T in MailTemplate]: {
    readonly to: string
    readonly template: T
    readonly data: MailData[T]
    /** With the template it names the mail: sent again, it is the same mail and arrives once. */
    readonly id: string
  }
}[MailTemplate]

/** Sends mail. May be called again with the same mail after a crash or a {@link MailUnavailableError}. */
export interface MailPort {
  send(mail: Mail): Promise<void>
}

export interface Sender {
  /** Shown as the sender, and the name the mail signs with. */
  readonly name: string
  readonly email: string
}

/** This mail will never be sent: the address or the content is refused. */
export class MailRejectedError extends Error {
  override readonly name = 'MailRejectedError'
}

/** Not sent, or not known to be: to be sent again later, the same. */
export class MailUnavailableError extends Error {
  override readonly name = 'MailUnavailableError'

  constructor(
    message: string,
    readonly retryAfterMs?: number,
  ) {
    super(message)
  }
}

/** What makes two sends the same mail. */
export function mailKey(mail: Mail): string {
  return `${mail.template}-${mail.id}`
}
