/** The pools with what their wallets hold on chain now, for whoever shows them. Amounts are minor units. */
import type { Services } from './services.js'

/** Balances are wanted also when a node hangs. */
const CHAIN_PATIENCE_MS = 3_000

/** `onChain` is null when payouts are off or the chain does not answer in time. */
export async function poolStates({ shard, program, payouts }: Pick<Services, 'shard' | 'program' | 'payouts'>) {
  const states = await shard.query(program.queries.walletStates, {})
  return Promise.all(
    states.map(async (state) => {
      const holdings = payouts === null ? null : await answerInTime(payouts.holdings(state.wallet))
      return { ...state, onChain: holdings?.asset ?? null }
    }),
  )
}

/** What the chain answers; null when that is an error, or takes too long. */
export async function answerInTime<T>(answer: Promise<T>): Promise<T | null> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), CHAIN_PATIENCE_MS)
  })
  try {
    return await Promise.race([answer.catch(() => null), late])
  } finally {
    clearTimeout(timer)
  }
}
