/** What has to be known before transfers are signed: a blockhash, a price, and the accounts of the payees. */
import { ACCOUNT_SIZE, AccountLayout, AccountState, TOKEN_PROGRAM_ID } from '@solana/spl-token'
import { type AccountInfo, type Connection, type PublicKey, SystemProgram } from '@solana/web3.js'
import { accountOf, type SolanaAsset } from './asset.js'
import { chunks } from './batches.js'

const ACCOUNTS_MAX = 100
/** Of the prices that transactions writing to our account paid lately. */
const PRICE_PERCENTILE = 75

/** In micro-lamports for a compute unit. */
export interface PriceLimits {
  readonly min: bigint
  readonly max: bigint
}

/** Whether a payee can be paid, and what is missing for it. */
export type PayeeAccount =
  | { readonly kind: 'ready' }
  | { readonly kind: 'missing' }
  | { readonly kind: 'unusable'; readonly why: string }

export interface Preparation {
  readonly blockhash: string
  readonly lastValidBlockHeight: number
  readonly unitPrice: bigint
  /** In the order of the payees. */
  readonly accounts: readonly PayeeAccount[]
}

/** All from one node, so that it fits together. */
export async function prepare(
  connection: Connection,
  asset: SolanaAsset,
  payer: PublicKey,
  payees: readonly PublicKey[],
  limits: PriceLimits,
): Promise<Preparation> {
  const [accounts, unitPrice] = await Promise.all([
    payeeAccounts(connection, asset, payees),
    currentPrice(connection, [payer, accountOf(asset, payer)], limits),
  ])
  // Last, so that most of its life is left.
  return { ...(await connection.getLatestBlockhash('confirmed')), unitPrice, accounts }
}

async function payeeAccounts(
  connection: Connection,
  asset: SolanaAsset,
  payees: readonly PublicKey[],
): Promise<PayeeAccount[]> {
  const keys = asset.mint === null ? payees : payees.flatMap((payee) => [payee, accountOf(asset, payee)])
  const found: (AccountInfo<Buffer> | null)[] = []
  for (const chunk of chunks(keys, ACCOUNTS_MAX)) {
    found.push(...(await connection.getMultipleAccountsInfo([...chunk], 'confirmed')))
  }
  return payees.map((payee, index) => {
    const owner = found[asset.mint === null ? index : index * 2] ?? null
    if (owner && !owner.owner.equals(SystemProgram.programId)) {
      return { kind: 'unusable', why: 'is an account of a program, perhaps a token account, and nobody’s wallet' }
    }
    return asset.mint === null ? { kind: 'ready' } : judge(found[index * 2 + 1] ?? null, asset.mint, payee)
  })
}

function judge(account: AccountInfo<Buffer> | null, mint: PublicKey, payee: PublicKey): PayeeAccount {
  // Lamports that somebody sent to an address make an account of the system program of it: it can still be created.
  if (!account || account.owner.equals(SystemProgram.programId)) return { kind: 'missing' }
  if (!account.owner.equals(TOKEN_PROGRAM_ID) || account.data.length !== ACCOUNT_SIZE) {
    return { kind: 'unusable', why: 'has something else where its token account should be' }
  }
  const { mint: itsMint, owner, state } = AccountLayout.decode(account.data)
  if (!itsMint.equals(mint) || !owner.equals(payee)) {
    return { kind: 'unusable', why: 'has given its token account to somebody else' }
  }
  return state === AccountState.Frozen
    ? { kind: 'unusable', why: 'has a token account that its issuer froze' }
    : { kind: 'ready' }
}

async function currentPrice(
  connection: Connection,
  lockedWritableAccounts: PublicKey[],
  { min, max }: PriceLimits,
): Promise<bigint> {
  const recent = await connection.getRecentPrioritizationFees({ lockedWritableAccounts })
  const prices = recent.map(({ prioritizationFee }) => prioritizationFee).sort((left, right) => left - right)
  const price = BigInt(prices[Math.floor((prices.length * PRICE_PERCENTILE) / 100)] ?? 0)
  return price < min ? min : price > max ? max : price
}
