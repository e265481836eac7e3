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

/** Where a payee's money goes; when `why` is not null, it cannot go there. */
export interface PayeeAccount {
  readonly key: PublicKey
  readonly isMissing: boolean
  readonly why: string | null
}

export interface Preparation {
  readonly blockhash: string
  readonly lastValidBlockHeight: number
  readonly unitPrice: bigint
  /** The account of the payer. */
  readonly source: PublicKey
  /** In the order of the payees. */
  readonly targets: readonly PayeeAccount[]
}

/** All from one node, so that it fits together. */
export async function prepare(
  connection: Connection,
  asset: SolanaAsset,
  payer: PublicKey,
  payees: readonly PublicKey[],
  limits: PriceLimits,
): Promise<Preparation> {
  const source = accountOf(asset, payer)
  const [targets, unitPrice] = await Promise.all([
    payeeAccounts(connection, asset, payees),
    currentPrice(connection, [payer, source], limits),
  ])
  // Last, so that most of its life is left.
  return { ...(await connection.getLatestBlockhash('confirmed')), unitPrice, source, targets }
}

async function payeeAccounts(
  connection: Connection,
  asset: SolanaAsset,
  payees: readonly PublicKey[],
): Promise<PayeeAccount[]> {
  const keys = payees.map((payee) => accountOf(asset, payee))
  const found = new Map<PublicKey, AccountInfo<Buffer> | null>()
  for (const chunk of chunks([...payees, ...keys], ACCOUNTS_MAX)) {
    const accounts = await connection.getMultipleAccountsInfo([...chunk], 'confirmed')
    for (const [index, key] of chunk.entries()) found.set(key, accounts[index] ?? null)
  }
  return payees.map((payee, index) => {
    const key = keys[index] ?? payee
    const owner = found.get(payee)
    if (owner && !owner.owner.equals(SystemProgram.programId)) {
      return { key, isMissing: false, why: 'is an account of a program, perhaps a token account, and nobody’s wallet' }
    }
    if (asset.mint === null) return { key, isMissing: false, why: null }
    const account = found.get(key)
    // Lamports that somebody sent to its address make it an account of the system program: it can still be created.
    const isMissing = !account || account.owner.equals(SystemProgram.programId)
    return { key, isMissing, why: account && !isMissing ? flawOf(account, asset.mint, payee) : null }
  })
}

function flawOf(account: AccountInfo<Buffer>, mint: PublicKey, payee: PublicKey): string | null {
  if (!account.owner.equals(TOKEN_PROGRAM_ID) || account.data.length !== ACCOUNT_SIZE) {
    return 'has something else where its token account should be'
  }
  const { mint: itsMint, owner, state } = AccountLayout.decode(account.data)
  if (!itsMint.equals(mint) || !owner.equals(payee)) return 'has given its token account to somebody else'
  return state === AccountState.Frozen ? 'has a token account that its issuer froze' : null
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
