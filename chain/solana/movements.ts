/**
 * Who moved the asset, and what accounts held in a final slot, from the balances before and after each transaction: a
 * movement shows there however it came about.
 *
 * M1 A range is answered whole or not at all: by a node that has all of it as final and remembers it.
 */
import type { Connection, PublicKey } from '@solana/web3.js'
import { assert } from '../../engine/assert.js'
import type { AssetMovement } from '../chain.js'
import { accountOf, type SolanaAsset } from './asset.js'
import { inParallel } from './batches.js'
import { type FoundTransaction, finalTransactions } from './blocks.js'
import { NodeUnfit } from './endpoint.js'
import { publicKey } from './message.js'

const PAGE_MAX = 1_000
/** Of the signatures of one account: nodes give them newest first only. */
const PAGES_MAX = 200
const REQUESTS_AT_ONCE = 4
/** Movements in one transaction; more accounts than that fit in none. */
const MOVEMENTS_MAX = 1_000

/** What a transaction did to one account. */
interface Delta {
  readonly account: string
  readonly amount: bigint
}

export async function movementsOf(
  connection: Connection,
  asset: SolanaAsset,
  addresses: readonly string[],
  from: number,
  through: number,
): Promise<AssetMovement[]> {
  const accounts = addresses.map((address) => accountOf(asset, publicKey(address)))
  const hashes = await hashesBetween(connection, accounts, from, through, { failed: false })
  const transactions = await finalTransactions(connection, hashes)
  const blocks = await blocksOf(connection, transactions)
  const ours = new Set(addresses)
  const movements = [...transactions].flatMap(([hash, transaction]) => {
    const block = blocks.get(transaction.slot)
    const position = block?.positions.get(hash)
    if (!block || position === undefined) throw new NodeUnfit(`its block ${transaction.slot} does not list ${hash}`)
    return movementsIn(asset, transaction).flatMap((movement, index) =>
      ours.has(movement.from) || ours.has(movement.to)
        ? [{ ...movement, hash, index: position * MOVEMENTS_MAX + index, block: block.block }]
        : [],
    )
  })
  return movements.sort((left, right) => left.block.height - right.block.height || left.index - right.index)
}

/** How much each account has gained between the end of slot `after` and the end of slot `through`. */
export async function gainsBetween(
  connection: Connection,
  asset: SolanaAsset,
  wallet: PublicKey,
  after: number,
  through: number,
): Promise<{ readonly asset: bigint; readonly gas: bigint }> {
  const account = accountOf(asset, wallet)
  const accounts = asset.mint === null ? [wallet] : [wallet, account]
  const hashes = await hashesBetween(connection, accounts, after + 1, through, { failed: true })
  const transactions = [...(await finalTransactions(connection, hashes)).values()]
  const gain = (key: PublicKey, deltas: (transaction: FoundTransaction) => readonly Delta[]) =>
    transactions
      .flatMap(deltas)
      .reduce((sum, delta) => (delta.account === key.toBase58() ? sum + delta.amount : sum), 0n)
  const gas = gain(wallet, lamportDeltas)
  return { asset: asset.mint === null ? gas : gain(account, (transaction) => tokenDeltas(transaction, asset)), gas }
}

// M1
async function hashesBetween(
  connection: Connection,
  accounts: readonly PublicKey[],
  from: number,
  through: number,
  { failed }: { readonly failed: boolean },
): Promise<string[]> {
  const final = await connection.getSlot('finalized')
  if (final < through) throw new NodeUnfit(`its final slot is ${final} only, before ${through}`)
  const begins = await connection.getFirstAvailableBlock()
  if (begins > from)
    throw new NodeUnfit(`its history begins in slot ${begins}, after ${from}: add a node that remembers`)
  const found = await inParallel(accounts, REQUESTS_AT_ONCE, async (account) => {
    const hashes: string[] = []
    let before: string | undefined
    for (let page = 0; page < PAGES_MAX; page += 1) {
      const options = { limit: PAGE_MAX, minContextSlot: through, ...(before === undefined ? {} : { before }) }
      const signatures = await connection.getSignaturesForAddress(account, options, 'finalized')
      for (const { signature, slot, err } of signatures) {
        if (slot >= from && slot <= through && (failed || err === null)) hashes.push(signature)
      }
      const last = signatures.at(-1)
      if (!last || last.slot < from || signatures.length < PAGE_MAX) return hashes
      before = last.signature
    }
    throw new NodeUnfit(`${account.toBase58()} has over ${PAGES_MAX * PAGE_MAX} transactions since slot ${from}`)
  })
  return [...new Set(found.flat())]
}

async function blocksOf(connection: Connection, transactions: ReadonlyMap<string, FoundTransaction>) {
  const slots = [...new Set([...transactions.values()].map(({ slot }) => slot))]
  const blocks = await inParallel(slots, REQUESTS_AT_ONCE, async (slot) => {
    const { blockhash, signatures } = await connection.getBlockSignatures(slot, 'finalized')
    const positions = new Map(signatures.map((signature, position) => [signature, position]))
    return [slot, { block: { height: slot, hash: blockhash }, positions }] as const
  })
  return new Map(blocks)
}

/** All movements of the asset in a transaction, in an order that depends on nothing but it. */
function movementsIn(asset: SolanaAsset, transaction: FoundTransaction) {
  const deltas = asset.mint === null ? paidLamports(transaction) : tokenDeltas(transaction, asset)
  const owners = ownersOf(asset, transaction)
  const nameOf = (account: string) => owners.get(account) ?? account
  const open = (sign: bigint) =>
    deltas.flatMap(({ account, amount }) =>
      amount * sign > 0n ? [{ name: nameOf(account), left: amount * sign }] : [],
    )
  const givers = open(-1n)
  const takers = open(1n)
  const movements: { readonly from: string; readonly to: string; readonly amount: bigint }[] = []
  while (givers.length > 0 || takers.length > 0) {
    const [giver, taker] = [givers[0], takers[0]]
    // What nobody gave was minted, and what nobody took was burnt.
    const nobody = asset.mint?.toBase58() ?? ''
    const amount = giver && taker ? smaller(giver.left, taker.left) : (giver?.left ?? taker?.left ?? 0n)
    movements.push({ from: giver?.name ?? nobody, to: taker?.name ?? nobody, amount })
    for (const side of [giver, taker]) if (side) side.left -= amount
    if (giver?.left === 0n) givers.shift()
    if (taker?.left === 0n) takers.shift()
  }
  assert(movements.length < MOVEMENTS_MAX, 'a transaction has fewer accounts than that')
  return movements
}

const smaller = (one: bigint, other: bigint) => (one < other ? one : other)

/** Token accounts stand for their owners where payouts would use them; others stand for themselves. */
function ownersOf(asset: SolanaAsset, { meta }: FoundTransaction): ReadonlyMap<string, string> {
  const owners = [...(meta.preTokenBalances ?? []), ...(meta.postTokenBalances ?? [])].flatMap(({ mint, owner }) =>
    mint === asset.mint?.toBase58() && owner !== undefined ? [owner] : [],
  )
  return new Map([...new Set(owners)].map((owner) => [accountOf(asset, publicKey(owner)).toBase58(), owner]))
}

function tokenDeltas(transaction: FoundTransaction, asset: SolanaAsset): Delta[] {
  const { meta } = transaction
  const keys = keysOf(transaction)
  const gained = new Map<number, bigint>()
  const count = (balances: typeof meta.preTokenBalances, sign: bigint) => {
    for (const { accountIndex, mint, uiTokenAmount } of balances ?? []) {
      if (mint !== asset.mint?.toBase58()) continue
      gained.set(accountIndex, (gained.get(accountIndex) ?? 0n) + sign * BigInt(uiTokenAmount.amount))
    }
  }
  count(meta.preTokenBalances, -1n)
  count(meta.postTokenBalances, 1n)
  return [...gained]
    .sort(([left], [right]) => left - right)
    .map(([index, amount]) => ({ account: keys[index] ?? '', amount }))
}

function lamportDeltas(transaction: FoundTransaction): Delta[] {
  const { preBalances, postBalances } = transaction.meta
  return keysOf(transaction).map((account, index) => ({
    account,
    amount: BigInt(postBalances[index] ?? 0) - BigInt(preBalances[index] ?? 0),
  }))
}

/** Without the fee, which is no movement. */
function paidLamports(transaction: FoundTransaction): Delta[] {
  const fee = BigInt(transaction.meta.fee)
  return lamportDeltas(transaction).map((delta, index) =>
    index === 0 ? { ...delta, amount: delta.amount + fee } : delta,
  )
}

function keysOf({ transaction, meta }: FoundTransaction): string[] {
  const lookups = meta.loadedAddresses ? { accountKeysFromLookups: meta.loadedAddresses } : undefined
  const keys = transaction.message.getAccountKeys(lookups)
  return keys.keySegments().flatMap((segment) => segment.map((key) => key.toBase58()))
}
