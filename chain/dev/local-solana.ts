/** A local Solana chain as the server brings it up: the real VM, a test mint, and wallets that hold what they owe. */
import type { LocalChain } from './local-chain.js'
import { startSolanaDev } from './solana-dev.js'

const DECIMALS = 6
const FEE_LAMPORTS = 100_000_000_000n
/** The mint must stand in a confirmed block, or it does not exist yet. */
const SLOTS_TO_CONFIRMED = 2

/** `stateFile` keeps it between starts. */
export async function startLocalSolana(stateFile: string): Promise<LocalChain> {
  const solana = await startSolanaDev({ stateFile })
  try {
    const mint = await solana.createMint('usdt', DECIMALS)
    await solana.advance(SLOTS_TO_CONFIRMED)
    return {
      url: solana.url,
      chain: 'solana:local',
      asset: { symbol: 'USDT', decimals: DECIMALS, address: mint },
      giveGas: async (address) => {
        await solana.airdrop(address, FEE_LAMPORTS)
      },
      give: async (address, amount) => {
        await solana.mintTo(mint, address, amount)
      },
      stop: () => solana.stop(),
    }
  } catch (error) {
    await solana.stop()
    throw error
  }
}
