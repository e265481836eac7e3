/** A code of the authenticator app for one action, beyond the login (BJ-TRS-04). */
import type { Principal } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import type { Turn } from '../../engine/turn.js'
import type { createAccountActor } from './machine.js'

export type SecondFactor = ReturnType<typeof createSecondFactor>

export function createSecondFactor(account: ReturnType<typeof createAccountActor>) {
  return {
    /** The actors a command names that asks for a code. */
    refsOf: (who: Principal) => (who.role === 'system' ? [] : [account.ref(who.userId)]),

    /**
     * The edge has found which time step the caller's code belongs to, or null when it is wrong. Each works once, for a
     * login or for this. The system has no code. Errors: `two_factor_required`, `totp_invalid`.
     */
    spend(turn: Turn, step: number | null): void {
      if (turn.who.role === 'system') return
      const ref = account.ref(turn.who.userId)
      const { twoFactor } = turn.context(ref)
      if (!twoFactor?.enabled) {
        throw new DomainError('forbidden', 'two_factor_required', 'Turn two-factor login on first: this needs a code.')
      }
      if (step === null || step <= twoFactor.lastStep) {
        throw new DomainError('unauthorized', 'totp_invalid', 'The code is wrong or was used before.', {
          field: 'totp',
        })
      }
      turn.step(ref, { type: 'two_factor.set', twoFactor: { ...twoFactor, lastStep: step } })
    },
  }
}
