/** Members' own wallets as part of the server: their withdrawals are followed, deposits from elsewhere are watched. */
import type { Logger } from 'pino'
import type { OpenWithdrawals } from './actors/withdrawal/open-withdrawals.js'
import type { ChainWallet } from './chain/chain.js'
import { type AddressBook, Deposits } from './chain/payouts/deposits.js'
import { depositCoreOf, withdrawalCoreOf } from './chain/payouts/member-core-port.js'
import { Tracker } from './chain/payouts/tracker.js'
import { Worker } from './chain/payouts/worker.js'
import type { Core } from './core.js'
import { readOnLiveConnection } from './persistence/postgres/connection.js'
import { walletOwners } from './persistence/queries/transactions.js'

export interface MemberPayoutsOptions {
  readonly core: Core
  readonly chain: ChainWallet
  /** Of every pool. */
  readonly ours: ReadonlySet<string>
  readonly pollIntervalMs: number
  readonly log: Logger
}

export interface MemberPayouts {
  readonly open: OpenWithdrawals
  readonly tracker: Tracker
  readonly tracking: Worker
  readonly watching: Worker
  stop(): Promise<void>
}

export function openMemberPayouts({ core, chain, ours, pollIntervalMs, log }: MemberPayoutsOptions): MemberPayouts {
  const { shard, program } = core
  const withdrawals = withdrawalCoreOf(shard, program)
  const tracker = new Tracker({ core: withdrawals, chain, log })
  const deposits = new Deposits({ core: depositCoreOf(shard, program), chain, addresses: addressBook(core), ours })
  const tracking = new Worker({
    name: 'track withdrawals',
    work: async () => (await tracker.round()) > 0,
    busyIntervalMs: pollIntervalMs,
    idleIntervalMs: 10 * pollIntervalMs,
    log,
  })
  const watching = new Worker({
    name: 'watch deposits of members',
    work: () => deposits.watch(),
    busyIntervalMs: pollIntervalMs,
    idleIntervalMs: 4 * pollIntervalMs,
    log,
  })
  withdrawals.onSubmitted(() => tracking.wake())
  tracking.start()
  watching.start()
  return {
    ...{ open: program.openWithdrawals, tracker, tracking, watching },
    stop: async () => {
      await Promise.all([tracking.stop(), watching.stop()])
    },
  }
}

/** As far as Postgres has it: what was decided a moment ago is written behind. */
function addressBook({ shard, sql }: Core): AddressBook {
  return {
    mark: () => shard.lastSeq,
    ownersOf: async (addresses, mark) => {
      if (addresses.length === 0) return new Map()
      return shard.appliedSeq < mark ? null : readOnLiveConnection(sql, () => walletOwners(sql, addresses))
    },
  }
}
