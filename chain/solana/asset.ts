/** What a wallet pays in: SOL, or one token of the SPL token program. */
import {
  ASSOCIATED_TOKEN_PROGRAM_ID,
  getAssociatedTokenAddressSync,
  MintLayout,
  NATIVE_MINT,
  TOKEN_2022_PROGRAM_ID,
  TOKEN_PROGRAM_ID,
} from '@solana/spl-token'
import { type AccountInfo, ComputeBudgetProgram, PublicKey, SystemProgram } from '@solana/web3.js'
import { DomainError } from '../../engine/errors.js'

export const MEMO_PROGRAM_ID = new PublicKey('MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr')

export interface SolanaAsset {
  readonly symbol: string
  readonly decimals: number
  /** Null for SOL. */
  readonly mint: PublicKey | null
}

export const sol: SolanaAsset = { symbol: 'SOL', decimals: 9, mint: null }

/** An SPL token; `address` is its mint. Throws `mint_wrong` when it is no address. */
export function tokenAsset(token: { readonly symbol: string; readonly decimals: number; readonly address: string }) {
  const { symbol, decimals, address } = token
  try {
    return { symbol, decimals, mint: new PublicKey(address) }
  } catch {
    throw mintWrong(address, 'is no address')
  }
}

function mintWrong(mint: string, why: string): DomainError {
  return new DomainError('invalid', 'mint_wrong', `${mint} ${why}. Configure the mint of an SPL token.`)
}

/** Addresses that look like those of members and are nobody's wallet. */
const nobodys = [
  SystemProgram.programId,
  TOKEN_PROGRAM_ID,
  TOKEN_2022_PROGRAM_ID,
  ASSOCIATED_TOKEN_PROGRAM_ID,
  NATIVE_MINT,
  MEMO_PROGRAM_ID,
  ComputeBudgetProgram.programId,
]

/** The address properly written, or null when payouts cannot go there: only a key that somebody can hold is paid. */
export function parsePayee(text: string, asset: SolanaAsset, wallet: string): string | null {
  let key: PublicKey
  try {
    key = new PublicKey(text.trim())
  } catch {
    return null
  }
  const address = key.toBase58()
  const isNobodys = nobodys.some((other) => other.equals(key)) || asset.mint?.equals(key) === true
  if (address !== text.trim() || isNobodys || address === wallet || !PublicKey.isOnCurve(key.toBytes())) return null
  return address
}

/** The account that holds the asset of an owner: itself for SOL. */
export function accountOf(asset: SolanaAsset, owner: PublicKey): PublicKey {
  return asset.mint === null ? owner : getAssociatedTokenAddressSync(asset.mint, owner, true)
}

/** The decimals of a mint. Throws when it is none, or one whose transfers may differ from what was asked for. */
export function decimalsOf(mint: PublicKey, account: AccountInfo<Buffer> | null): number {
  const wrong = (why: string) => mintWrong(mint.toBase58(), why)
  if (!account) throw wrong('does not exist on this chain')
  if (account.owner.equals(TOKEN_2022_PROGRAM_ID)) {
    throw wrong('is a token of Token-2022, whose transfers may keep a fee or be refused by a hook: not supported')
  }
  if (!account.owner.equals(TOKEN_PROGRAM_ID) || account.data.length !== MintLayout.span) throw wrong('is no mint')
  const { isInitialized, decimals } = MintLayout.decode(account.data)
  if (!isInitialized) throw wrong('is a mint that was never set up')
  return decimals
}
