/** What the signer may sign on a chain that only this machine knows: enough for a demonstration, and not without end. */

import { TOKEN_PROGRAM_ID } from '@solana/spl-token'
import { PublicKey } from '@solana/web3.js'
import { getAddress } from 'viem'
import type { LocalChain } from '../dev/local-chain.js'
import type { SignerPolicy, SpendingLimits, WalletPolicy } from './policy.js'

const USDT = 1_000_000n
const limits: SpendingLimits = {
  payout: 100_000n * USDT,
  destinationDay: 1_000_000n * USDT,
  hour: 1_000_000n * USDT,
  day: 10_000_000n * USDT,
}
const SIGNATURES_MAX = 16

/** Each wallet signs with the key of its own name, and through its batch contract if it has one. */
export function localPolicy(
  names: readonly string[],
  { chain, asset }: Pick<LocalChain, 'chain' | 'asset'>,
  batchContracts: ReadonlyMap<string, string> = new Map(),
): SignerPolicy {
  return new Map(
    names.map((name): [string, WalletPolicy] => [
      name,
      policyOf(`keystore:${name}`, chain, asset, batchContracts.get(name)),
    ]),
  )
}

function policyOf(key: string, chain: string, asset: LocalChain['asset'], batch: string | undefined): WalletPolicy {
  const common = { chain, key, limits, signaturesMax: SIGNATURES_MAX }
  const [family, id] = chain.split(':')
  if (family === 'solana') {
    const mint = { address: new PublicKey(asset.address), decimals: asset.decimals, program: TOKEN_PROGRAM_ID }
    return { ...common, kind: 'solana', mint, feeMax: 1_000_000n, resignAfterMs: 30_000 }
  }
  const batchContract = batch === undefined ? null : getAddress(batch)
  const token = getAddress(asset.address)
  return { ...common, kind: 'evm', chainId: Number(id), token, feeMax: 10n ** 18n, batchContract }
}
