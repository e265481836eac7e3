/** Makes blocks on a local chain while there is something to confirm, so that an idle one does not grow. */
import { createTestClient, http, publicActions } from 'viem'

/** Empty blocks that follow the last one with a transaction: enough for any depth of finality we use. */
const BLOCKS_AFTER_LAST = 16n

export interface Miner {
  stop(): Promise<void>
}

/** Looks every `intervalMs`, and makes a block when a transaction waits or the last one is not deep enough yet. */
export function mineWhenNeeded(url: string, intervalMs: number): Miner {
  const client = createTestClient({ mode: 'anvil', transport: http(url), cacheTime: 0 }).extend(publicActions)
  let lastBusy: bigint | undefined
  let round: Promise<void> = Promise.resolve()
  let busy = false

  const look = async () => {
    const [{ pending }, newest] = await Promise.all([client.getTxpoolStatus(), client.getBlock()])
    if (newest.transactions.length > 0 || lastBusy === undefined) lastBusy = newest.number
    if (pending > 0 || newest.number - lastBusy < BLOCKS_AFTER_LAST) await client.mine({ blocks: 1 })
  }
  const timer = setInterval(() => {
    if (busy) return
    busy = true
    // A chain that does not answer is asked again at the next tick; that it ended is told by `exited`.
    round = look()
      .catch(() => {})
      .finally(() => {
        busy = false
      })
  }, intervalMs)
  timer.unref()
  return {
    async stop() {
      clearInterval(timer)
      await round
    },
  }
}
