/** A local EVM chain as the server brings it up: the real anvil, the test token, and wallets that hold what they owe. */
import { getAddress, parseEther } from 'viem'
import { LOCAL_CHAIN_ID, startAnvil } from './anvil.js'
import { deployBatchPayout, ensureTestToken, mintTestToken, TEST_TOKEN_DECIMALS } from './evm-token.js'
import type { LocalChain } from './local-chain.js'

const BLOCK_INTERVAL_MS = 300
/** The token must stand in a block that is final, or nothing can be asked about it. */
const BLOCKS_TO_FINAL = 16
const GAS_FUNDS = parseEther('1000')

/** `stateFile` keeps it between starts. */
export async function startLocalEvm(stateFile: string): Promise<LocalChain> {
  const anvil = await startAnvil({ stateFile, blocks: { whileBusyEveryMs: BLOCK_INTERVAL_MS } })
  try {
    const token = await ensureTestToken(anvil.client)
    await anvil.client.mine({ blocks: BLOCKS_TO_FINAL })
    return {
      url: anvil.url,
      chain: `eip155:${LOCAL_CHAIN_ID}`,
      asset: { symbol: 'USDT', decimals: TEST_TOKEN_DECIMALS, address: token },
      giveGas: (address) => anvil.client.setBalance({ address: getAddress(address), value: GAS_FUNDS }),
      give: (address, amount) => mintTestToken(anvil.client, getAddress(address), amount),
      deployBatch: (owner) => deployBatchPayout(anvil.client, getAddress(owner)),
      stop: () => anvil.stop(),
    }
  } catch (error) {
    await anvil.stop()
    throw error
  }
}
