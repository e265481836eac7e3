/** Through which contract each pool pays many at once: CHAIN_BATCH_CONTRACTS. */
import { getAddress, isAddress } from 'viem'
import { z } from 'zod'
import { type Pool, pool, pools } from './actors/treasury/facts.js'
import type { LocalChain } from './chain/dev/local-chain.js'
import { assert } from './engine/assert.js'

/** `deploy`: each pool gets one, on the local chain. */
export type BatchContracts = 'deploy' | ReadonlyMap<Pool, string>

/** `deploy`, or `member=0x…,affiliate=0x…`: a contract pays out of one wallet, so each pool has its own. */
export const batchContracts = z.string().transform((text, context): BatchContracts => {
  if (text === 'deploy') return text
  const named = new Map<Pool, string>()
  for (const item of text.split(',')) {
    const [name, address = '', ...more] = item.trim().split('=')
    const { data } = pool.safeParse(name)
    if (data === undefined || !isAddress(address) || more.length > 0 || named.has(data)) {
      context.addIssue({ code: 'custom', message: `must be deploy, or pools with their contracts: ${pools[0]}=0x…` })
      return z.NEVER
    }
    named.set(data, getAddress(address))
  }
  return named
})

/** The contract of each pool that has one; those of a local chain are deployed unless they are there. */
export async function openBatchContracts(
  asked: BatchContracts | undefined,
  local: LocalChain | null,
  ownerOf: (pool: Pool) => Promise<string>,
): Promise<ReadonlyMap<Pool, string>> {
  if (asked !== 'deploy') return asked ?? new Map()
  const found = new Map<Pool, string>()
  for (const name of pools) {
    assert(local?.deployBatch !== undefined, 'settings were checked: contracts are deployed on a local EVM chain only')
    found.set(name, await local.deployBatch(await ownerOf(name)))
  }
  return found
}
