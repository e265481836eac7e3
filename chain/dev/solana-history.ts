/** What the local Solana chain remembers of a transaction, and its form as a line of the history file. */
import type { EncodedAccount } from '@solana/kit'
import { ACCOUNT_SIZE, AccountLayout, TOKEN_PROGRAM_ID } from '@solana/spl-token'
import { PublicKey } from '@solana/web3.js'
import type { TransactionError } from './solana-errors.js'

export interface LandedTransaction {
  readonly signature: string
  readonly slot: number
  /** In seconds since 1970. */
  readonly blockTime: number
  readonly wire: Uint8Array
  readonly keys: readonly string[]
  /** Null when it succeeded. */
  readonly error: TransactionError | null
  readonly fee: number
  readonly unitsConsumed: number
  /** Of failures only. */
  readonly logs: readonly string[]
  /** In the order of `keys`. */
  readonly lamportsBefore: readonly number[]
  readonly lamportsAfter: readonly number[]
  readonly tokensBefore: readonly TokenBalance[]
  readonly tokensAfter: readonly TokenBalance[]
}

export interface TokenBalance {
  readonly accountIndex: number
  readonly mint: string
  readonly owner: string
  readonly amount: string
  readonly decimals: number
}

export function isTokenAccount(account: Pick<EncodedAccount, 'programAddress' | 'data'>): boolean {
  return account.programAddress === TOKEN_PROGRAM_ID.toBase58() && account.data.length === ACCOUNT_SIZE
}

export function tokenBalances(
  accounts: readonly (EncodedAccount | null)[],
  decimalsOf: (mint: string) => number,
): TokenBalance[] {
  return accounts.flatMap((account, accountIndex) => {
    if (!account || !isTokenAccount(account)) return []
    const token = AccountLayout.decode(Uint8Array.from(account.data))
    const mint = new PublicKey(token.mint).toBase58()
    const owner = new PublicKey(token.owner).toBase58()
    return [{ accountIndex, mint, owner, amount: token.amount.toString(), decimals: decimalsOf(mint) }]
  })
}

/** A line of the history: what landed, or that everything from a slot on was dropped. */
export type HistoryLine = { readonly landed: LandedTransaction } | { readonly droppedFrom: number }

export function writeLine(line: HistoryLine): string {
  if ('droppedFrom' in line) return `${JSON.stringify(line)}\n`
  const { wire, ...rest } = line.landed
  return `${JSON.stringify({ landed: { ...rest, wire: Buffer.from(wire).toString('base64') } })}\n`
}

/** Reads lines back in order; what was dropped is left out. */
export function readHistory(text: string): LandedTransaction[] {
  let history: LandedTransaction[] = []
  for (const json of text.split('\n')) {
    if (json === '') continue
    const line: { landed: Omit<LandedTransaction, 'wire'> & { wire: string } } | { droppedFrom: number } =
      JSON.parse(json)
    if ('droppedFrom' in line) history = history.filter(({ slot }) => slot < line.droppedFrom)
    else history.push({ ...line.landed, wire: Buffer.from(line.landed.wire, 'base64') })
  }
  return history
}
