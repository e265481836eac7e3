/** A code of the authenticator app that a single request asks for, beyond the login (BJ-TRS-04). */
import { z } from 'zod'
import { matchTotpStep } from '../auth/totp.js'
import type { Services } from '../services.js'
import type { RouteError } from './toolkit/route.js'

/** A code of the authenticator app; each works once. */
export const totp = z.string().max(32)

export const freshCodeErrors: readonly RouteError[] = [
  { status: 401, code: 'totp_invalid', when: 'The code is wrong or was used before.' },
  { status: 403, code: 'two_factor_required', when: 'The administrator has not turned two-factor login on.' },
  { status: 429, code: 'address_blocked', when: 'Too many wrong codes from this address.' },
]

/**
 * The time step that the caller's code belongs to, or null when it is wrong, which counts against the address; the turn
 * then refuses it. Throws `address_blocked`.
 */
export async function freshCodeStep(
  { shard, program, box, now, loginGuard }: Services,
  { userId, code, ip }: { readonly userId: string; readonly code: string; readonly ip: string },
): Promise<number | null> {
  loginGuard.check(ip)
  const known = await shard.query(program.queries.credentials, { userId })
  const sealed = known?.twoFactor?.enabled ? known.twoFactor.sealedSecret : null
  const step = sealed === null ? null : (matchTotpStep(box.open(`totp:${userId}`, sealed), code, now()) ?? null)
  if (step === null) loginGuard.noteFailure(ip)
  return step
}
