/** Mails with one-time codes. Only a code's keyed hash enters the core; the code itself is only ever in the mail. */
import { EMAIL_CODE_LIFETIME_MS, RESET_CODE_LIFETIME_MS } from '../auth/lifetimes.js'
import type { Mail } from '../mail/mail.js'
import type { Services } from '../services.js'

const MINUTE_MS = 60_000
const lifetimes = { verify: EMAIL_CODE_LIFETIME_MS, reset: RESET_CODE_LIFETIME_MS } as const

export type Mailing = ReturnType<typeof createMailing>

export function createMailing({ mail, codes, now, newId, log }: Services) {
  /** Mail is told after the fact: one that cannot be sent never undoes what was decided. */
  function send(message: Mail): void {
    mail.send(message).catch((error: unknown) => log.error({ err: error, template: message.template }, 'mail not sent'))
  }

  return {
    send,

    newCode(use: keyof typeof lifetimes, userId: string) {
      const code = codes.generate()
      return { code, stored: { hash: codes.hash(`${use}:${userId}`, code), expiresAt: now() + lifetimes[use] } }
    },

    hashOf: (use: keyof typeof lifetimes, userId: string, code: string) => codes.hash(`${use}:${userId}`, code),

    sendCode(use: keyof typeof lifetimes, userId: string, to: string, code: string): void {
      const data = { code, expiresInMinutes: lifetimes[use] / MINUTE_MS }
      send({ to, template: use === 'verify' ? 'verify-email' : 'reset-password', data, id: `${userId}-${newId()}` })
    },

    sendPasswordChanged(userId: string, to: string): void {
      const data = { changedAtMs: now() }
      send({ to, template: 'password-changed', data, id: `${userId}-${data.changedAtMs}` })
    },
  }
}
