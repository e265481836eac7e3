/** What the pipelines ask of the core. Every answer is durable when it comes (J1, G2). */
import type { OpenState } from '../../actors/payout/open-payouts.js'
import type { PreparedPayout, Report } from '../../actors/payout/reports.js'
import type { LoyaltyProgram } from '../../actors/programs/loyalty.js'
import type { Pool } from '../../actors/treasury/facts.js'
import { system } from '../../engine/command.js'
import type { Shard } from '../../engine/shard.js'

export interface PayoutCore {
  /** Ids of a wallet's payouts in a state, longest there first. */
  open(wallet: Pool, state: OpenState, max: number): Promise<readonly string[]>
  transfers(payoutIds: readonly string[]): Promise<readonly PreparedPayout[]>
  /** Gives nonces as far as the limits allow. Throws `wallet_paused`. */
  prepare(wallet: Pool, payoutIds: readonly string[]): Promise<readonly PreparedPayout[]>
  report(reports: readonly Report[]): Promise<void>
  /** Throws `wallet_in_use` and `chain_behind`. */
  bind(wallet: Pool, chain: string, address: string, nonce: number | null): Promise<void>
  /** Calls back whenever payouts may have been queued. */
  onQueued(callback: () => void): void
}

export function payoutCoreOf(shard: Shard, { commands, queries }: LoyaltyProgram): PayoutCore {
  const who = system
  return {
    open: (wallet, state, max) => shard.query(queries.openPayouts, { wallet, state, max }),
    transfers: async (payoutIds) =>
      payoutIds.length === 0 ? [] : shard.query(queries.transfers, { payoutIds: [...payoutIds] }),
    prepare: async (wallet, payoutIds) => {
      const args = { wallet, payoutIds: [...payoutIds] }
      return (await shard.execute(commands.prepare, { args, who })).prepared
    },
    report: async (reports) => {
      await shard.execute(commands.tell, { args: { reports: [...reports] }, who })
    },
    bind: async (wallet, chain, address, nonce) => {
      await shard.execute(commands.bind, { args: { wallet, chain, address, nonce }, who })
    },
    onQueued: (callback) =>
      shard.subscribe(({ facts }) => {
        if (facts.some((fact) => fact.type === 'payout.moved' || fact.type === 'wallet.resumed')) callback()
      }),
  }
}
