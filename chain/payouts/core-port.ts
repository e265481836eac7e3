/** What the pipelines ask of the core. Every answer is durable when it comes (J1, G2). */

import type { DistributionReport, PreparedDistribution } from '../../actors/payout/distributions.js'
import type { OpenState } from '../../actors/payout/open-payouts.js'
import type { PreparedPayout, Report } from '../../actors/payout/reports.js'
import type { LoyaltyProgram } from '../../actors/programs/loyalty.js'
import type { Pool, ReconcileCause, ReconciliationStatus } from '../../actors/treasury/facts.js'
import type { Movement } from '../../actors/treasury/oversight.js'
import type { FoundWallet } from '../../actors/wallet/commands.js'
import { system } from '../../engine/command.js'
import type { Shard } from '../../engine/shard.js'

/** More payouts than are ever under way at once. */
const IN_FLIGHT_MAX = 10_000

export interface PayoutCore {
  /** Ids of a wallet's payouts in a state, longest there first. */
  open(wallet: Pool, state: OpenState, max: number): Promise<readonly string[]>
  transfers(payoutIds: readonly string[]): Promise<readonly PreparedPayout[]>
  /** Whether nothing new may be signed. */
  isPaused(wallet: Pool): Promise<boolean>
  /** Gives nonces as far as the limits allow. Throws `wallet_paused`. */
  prepare(wallet: Pool, payoutIds: readonly string[]): Promise<readonly PreparedPayout[]>
  report(reports: readonly Report[]): Promise<void>
  /** The distribution under way; null when there is none. */
  distribution(wallet: Pool): Promise<PreparedDistribution | null>
  /** Prepares payouts to be paid together; null when too few may be. Throws `wallet_paused`. */
  distribute(
    wallet: Pool,
    asked: { distributionId: string; contract: string; payoutIds: readonly string[] },
  ): Promise<PreparedDistribution | null>
  reportDistribution(distribution: PreparedDistribution, reports: readonly DistributionReport[]): Promise<void>
  /** Throws `wallet_in_use` and `chain_behind`. */
  bind(wallet: Pool, found: FoundWallet): Promise<void>
  /** Calls back whenever payouts may have been queued. */
  onQueued(callback: () => void): void
}

/** What the oversight asks of the core. */
export interface OversightCore {
  /** The last block that was looked at. */
  watchedThrough(wallet: Pool): Promise<number>
  /** Of everything that was signed and is not settled or lost. */
  hashesInFlight(wallet: Pool): Promise<ReadonlySet<string>>
  watch(
    wallet: Pool,
    seen: { from: number; through: number; deposits: readonly Movement[]; withdrawals: readonly Movement[] },
  ): Promise<void>
  takeSnapshot(wallet: Pool, seen: { height: number; onChain: bigint }): Promise<void>
  reconcile(
    wallet: Pool,
    seen: { height: number; onChain: bigint; cause: ReconcileCause },
  ): Promise<{ readonly status: ReconciliationStatus }>
}

export function oversightCoreOf(shard: Shard, { commands, queries }: LoyaltyProgram): OversightCore {
  const who = system
  return {
    watchedThrough: (wallet) => shard.query(queries.watchedThrough, { wallet }),
    hashesInFlight: async (wallet) => {
      const payoutIds = await shard.query(queries.openPayouts, { wallet, state: 'in_flight', max: IN_FLIGHT_MAX })
      const transfers = payoutIds.length === 0 ? [] : await shard.query(queries.transfers, { payoutIds })
      const steps = (await distributionUnderWay(shard, queries, wallet))?.steps ?? []
      const open = steps.filter(({ isOver }) => !isOver)
      return new Set([...transfers, ...open].flatMap(({ signed }) => signed.map(({ hash }) => hash)))
    },
    watch: async (pool, { from, through, deposits, withdrawals }) => {
      const args = { pool, from, through, deposits: [...deposits], withdrawals: [...withdrawals] }
      await shard.execute(commands.watch, { args, who })
    },
    takeSnapshot: async (pool, seen) => {
      await shard.execute(commands.takeSnapshot, { args: { pool, ...seen }, who })
    },
    reconcile: (pool, seen) => shard.execute(commands.reconcile, { args: { pool, ...seen }, who }),
  }
}

async function distributionUnderWay(shard: Shard, queries: LoyaltyProgram['queries'], wallet: Pool) {
  const distributionId = await shard.query(queries.distributionUnderWay, { wallet })
  return distributionId === null ? null : shard.query(queries.distributionDetail, { distributionId })
}

export function payoutCoreOf(shard: Shard, { commands, queries }: LoyaltyProgram): PayoutCore {
  const who = system
  return {
    open: (wallet, state, max) => shard.query(queries.openPayouts, { wallet, state, max }),
    transfers: async (payoutIds) =>
      payoutIds.length === 0 ? [] : shard.query(queries.transfers, { payoutIds: [...payoutIds] }),
    isPaused: (wallet) => shard.query(queries.isPaused, { wallet }),
    prepare: async (wallet, payoutIds) => {
      const args = { wallet, payoutIds: [...payoutIds] }
      return (await shard.execute(commands.prepare, { args, who })).prepared
    },
    report: async (reports) => {
      await shard.execute(commands.tell, { args: { reports: [...reports] }, who })
    },
    distribution: (wallet) => distributionUnderWay(shard, queries, wallet),
    distribute: async (wallet, { payoutIds, ...asked }) => {
      const args = { wallet, ...asked, payoutIds: [...payoutIds] }
      return (await shard.execute(commands.distribute, { args, who })).distribution
    },
    reportDistribution: async ({ distributionId, shares }, reports) => {
      const payoutIds = shares.map(({ payoutId }) => payoutId)
      const args = { distributionId, payoutIds, reports: [...reports] }
      await shard.execute(commands.reportDistribution, { args, who })
    },
    bind: async (wallet, found) => {
      await shard.execute(commands.bind, { args: { wallet, ...found }, who })
    },
    onQueued: (callback) =>
      shard.subscribe(({ facts }) => {
        if (facts.some((fact) => fact.type === 'payout.moved' || fact.type === 'wallet.resumed')) callback()
      }),
  }
}
