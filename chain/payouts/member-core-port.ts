/** What is asked of the core about members' own wallets. Every answer is durable when it comes (J1, G2). */
import type { Deposit } from '../../actors/deposit/commands.js'
import type { DepositWatchContext } from '../../actors/deposit/machine.js'
import type { LoyaltyProgram } from '../../actors/programs/loyalty.js'
import type { WithdrawalReport, WithdrawalView } from '../../actors/withdrawal/commands.js'
import { system } from '../../engine/command.js'
import type { Shard } from '../../engine/shard.js'

/** What the tracker of withdrawals asks of the core. */
export interface WithdrawalCore {
  /** The next ones under way, behind the one with this id, oldest first. */
  open(after: string | null, max: number): Promise<readonly WithdrawalView[]>
  report(reports: readonly WithdrawalReport[]): Promise<void>
  /** Calls back whenever one was submitted. */
  onSubmitted(callback: () => void): void
}

/** What the watch of deposits into members' wallets asks of the core. */
export interface DepositCore {
  /** The chain and the last block that was looked at. */
  watched(): Promise<DepositWatchContext>
  /** From the block after `through` on deposits of this chain are watched. */
  begin(chain: string, through: number): Promise<void>
  watch(seen: { chain: string; from: number; through: number; deposits: readonly Deposit[] }): Promise<void>
}

export function withdrawalCoreOf(shard: Shard, { commands, queries }: LoyaltyProgram): WithdrawalCore {
  return {
    open: async (after, max) => {
      const withdrawalIds = await shard.query(queries.openWithdrawals, { after, max })
      return withdrawalIds.length === 0 ? [] : shard.query(queries.withdrawals, { withdrawalIds })
    },
    report: async (reports) => {
      await shard.execute(commands.reportWithdrawals, { args: { reports: [...reports] }, who: system })
    },
    onSubmitted: (callback) =>
      shard.subscribe(({ facts }) => {
        if (facts.some((fact) => fact.type === 'withdrawal.submitted')) callback()
      }),
  }
}

export function depositCoreOf(shard: Shard, { commands, queries }: LoyaltyProgram): DepositCore {
  return {
    watched: () => shard.query(queries.depositsWatched, {}),
    begin: async (chain, through) => {
      await shard.execute(commands.beginDeposits, { args: { chain, through }, who: system })
    },
    watch: async ({ deposits, ...range }) => {
      await shard.execute(commands.watchDeposits, { args: { ...range, deposits: [...deposits] }, who: system })
    },
  }
}
