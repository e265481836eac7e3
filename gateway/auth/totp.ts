import { generateSecret, generateURI, verifySync } from 'otplib'
import { toDataURL } from 'qrcode'
import { normalizeReadable, type OneTimeCodes, randomReadable } from './one-time-codes.js'

const STEP_SECONDS = 30
const CODE_PATTERN = /^\d{6}$/
const BACKUP_CODES = 10
const BACKUP_CODE_LENGTH = 10

export interface TotpEnrolment {
  /** Base32; also the manual key (BJ-AUTH-20). Stored only inside a SecretBox (BJ-T55). */
  readonly secret: string
  readonly uri: string
  /** `data:image/png;base64,…` of the URI. */
  readonly qrDataUrl: string
}

/** A new secret, ready to be shown to its owner. */
export async function enrolTotp(issuer: string, account: string): Promise<TotpEnrolment> {
  const secret = generateSecret()
  const uri = generateURI({ issuer, label: account, secret })
  return { secret, uri, qrDataUrl: await toDataURL(uri) }
}

/**
 * The number of the 30 second step the code belongs to, one step early or late allowed; undefined when it is wrong.
 * The actor keeps the last step it accepted and refuses that one and all before it.
 */
export function matchTotpStep(secret: string, code: string, nowMs: number): number | undefined {
  const token = code.replace(/\s/g, '')
  if (!CODE_PATTERN.test(token)) return undefined
  const result = verifySync({ secret, token, epoch: Math.floor(nowMs / 1000), epochTolerance: STEP_SECONDS })
  return result.valid && 'timeStep' in result ? result.timeStep : undefined
}

/** Ten codes of 50 random bits, such as `7k3m-9qxa-2f`, each good for one login without the authenticator. */
export function generateBackupCodes(): string[] {
  return Array.from({ length: BACKUP_CODES }, () => {
    const symbols = randomReadable(BACKUP_CODE_LENGTH).toLowerCase()
    return `${symbols.slice(0, 4)}-${symbols.slice(4, 8)}-${symbols.slice(8)}`
  })
}

/** The hash the actor stores and removes when its code is used. */
export function hashBackupCode(codes: OneTimeCodes, userId: string, code: string): string {
  return codes.hash(`backup-code:${userId}`, code)
}

/** Which of the stored hashes the code belongs to; undefined when none. Looks at all of them, whatever it finds. */
export function matchBackupCode(
  codes: OneTimeCodes,
  userId: string,
  code: string,
  storedHashes: readonly string[],
): number | undefined {
  if (normalizeReadable(code).length !== BACKUP_CODE_LENGTH) return undefined
  const matching = storedHashes
    .map((hash, index) => (codes.matches(`backup-code:${userId}`, code, hash) ? index : -1))
    .filter((index) => index >= 0)
  return matching[0]
}
