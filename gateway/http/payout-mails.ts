/**
 * Tells members of comps that were paid and of withdrawals that are complete, and the administrator of wallets that stand
 * still (BJ-COMP-08, BJ-REC-03, BJ-WAL-06).
 */
import type { payoutSettled } from '../../actors/payout/facts.js'
import type { treasuryReconciled } from '../../actors/treasury/facts.js'
import type { walletPaused } from '../../actors/wallet/facts.js'
import type { withdrawalCompleted } from '../../actors/withdrawal/facts.js'
import type { TurnRecord } from '../../engine/record.js'
import { dollarsOf } from '../money.js'
import type { Services } from '../services.js'
import type { Mailing } from './mailing.js'

type WithdrawalCompleted = ReturnType<typeof withdrawalCompleted.make>
type Told =
  | ReturnType<typeof payoutSettled.make | typeof walletPaused.make | typeof treasuryReconciled.make>
  | WithdrawalCompleted

/** Takes every durable record. A mail that a crash keeps from being sent is not sent later. */
export function payoutMails({ shard, program, log }: Services, mailing: Mailing, adminEmail: string) {
  return ({ seq, facts, input: { at } }: TurnRecord): void => {
    for (const fact of facts as readonly Told[]) {
      switch (fact.type) {
        case 'payout.settled':
          if (fact.kind === 'comp' && fact.userId !== null) void tellMember(fact.userId, fact)
          break
        case 'withdrawal.completed':
          void tellOfWithdrawal(fact)
          break
        case 'wallet.paused': {
          const data = { pool: fact.wallet, because: fact.because, pausedAtMs: at }
          mailing.send({ to: adminEmail, template: 'payouts-paused', data, id: `${fact.wallet}-${seq}` })
          break
        }
        case 'treasury.reconciled':
          // The continuous check has paused the wallet, which is told already.
          if (fact.status === 'discrepancy' && fact.cause !== 'continuous') tellDiscrepancy(fact, seq)
          break
      }
    }
  }

  async function tellMember(userId: string, { payoutId, amount, hash, to }: ReturnType<typeof payoutSettled.make>) {
    try {
      const known = await shard.query(program.queries.credentials, { userId })
      if (known === null) return
      const data = { amount: dollarsOf(amount), address: to, transactionHash: hash }
      mailing.send({ to: known.email, template: 'comp-paid', data, id: payoutId })
    } catch (error) {
      log.error({ err: error, payoutId }, 'nobody was told of a comp that was paid')
    }
  }

  /** BJ-WAL-06 */
  async function tellOfWithdrawal({ withdrawalId, userId, amount, hash, to }: WithdrawalCompleted): Promise<void> {
    try {
      const known = await shard.query(program.queries.credentials, { userId })
      if (known === null) return
      const data = { amount: dollarsOf(amount), address: to, transactionHash: hash }
      mailing.send({ to: known.email, template: 'withdrawal-completed', data, id: `${userId}-${hash}` })
    } catch (error) {
      log.error({ err: error, withdrawalId }, 'nobody was told of a withdrawal that is complete')
    }
  }

  function tellDiscrepancy({ pool, ...seen }: ReturnType<typeof treasuryReconciled.make>, seq: number): void {
    const { onChain, ledger, difference, height } = seen
    const data = {
      ...{ pool, height },
      ...{ onChain: dollarsOf(onChain), ledger: dollarsOf(ledger), difference: dollarsOf(difference) },
    }
    mailing.send({ to: adminEmail, template: 'treasury-discrepancy', data, id: `${pool}-${seq}` })
  }
}
