/**
 * A Solana chain of one node over litesvm, the real VM: slots, blockhashes, commitments, history and forks.
 *
 * V1 What a commitment shows is what the chain was at that slot: accounts, statuses and history agree with each other.
 * V2 A transaction lands at most once on a branch, and only while its blockhash is among the last 150.
 * V3 A dropped fork leaves no trace: its transactions may land again, its slots stay empty.
 */
import { createHash } from 'node:crypto'
import { address, type EncodedAccount, getBase58Decoder, getTransactionDecoder, lamports } from '@solana/kit'
import { Keypair, type VersionedMessage, VersionedTransaction } from '@solana/web3.js'
import { FailedTransactionMetadata, LiteSVM } from 'litesvm'
import { assert } from '../../engine/assert.js'
import { feeOf, type TransactionError, transactionError } from './solana-errors.js'
import { type LandedTransaction, tokenBalances } from './solana-history.js'
import { type Commitment, FINAL_AFTER_BLOCKS, type SkippedSlots, Slots } from './solana-slots.js'

/** Transactions kept; older ones are forgotten as by a node that purges its ledger. */
const HISTORY_MAX = 100_000
const FAUCET_LAMPORTS = 1_000_000_000_000_000n
const SYSTEM_PROGRAM = address('11111111111111111111111111111111')

/** Everything a restart needs; `vm` is the state of litesvm. */
export interface ChainState {
  readonly genesisHash: string
  readonly slot: number
  readonly skipped: readonly SkippedSlots[]
  /** The first slot whose history is complete; 0 when nothing was forgotten. */
  readonly firstAvailable: number
  readonly vm: Uint8Array
  readonly history: readonly LandedTransaction[]
}

/** A transaction as it was sent, read once. */
export interface IncomingTransaction {
  readonly wire: Uint8Array
  readonly message: VersionedMessage
  readonly keys: readonly string[]
  readonly signature: string
  /** litesvm takes those of kit. */
  readonly forVm: ReturnType<ReturnType<typeof getTransactionDecoder>['decode']>
}

/** What became of bytes that were sent. */
export type Execution =
  | { readonly kind: 'landed'; readonly transaction: LandedTransaction }
  /** No block takes it, and nothing was charged. */
  | { readonly kind: 'rejected'; readonly error: TransactionError; readonly logs: readonly string[] }

export interface Simulation {
  readonly error: TransactionError | null
  readonly logs: readonly string[]
  readonly unitsConsumed: number
}

/** An account as it was before a transaction that is not final yet. */
interface Before {
  readonly slot: number
  readonly account: EncodedAccount | null
}

const configured = (vm: LiteSVM) => vm.withBlockhashCheck(false).withTransactionHistory(0n)

export class SolanaChain {
  readonly slots: Slots
  /** Pays for airdrops and owns the test mints. */
  readonly faucet: Keypair
  readonly #vm: LiteSVM
  readonly #landed = new Map<string, LandedTransaction>()
  readonly #before = new Map<string, Before[]>()
  /** Of the slots that are not final, oldest first. */
  #open: LandedTransaction[] = []
  #firstAvailable = 0
  /** Told of what the history gained, and from which slot on it was dropped. */
  onLanded: (transaction: LandedTransaction) => void = () => {}
  onDropped: (fromSlot: number) => void = () => {}

  private constructor(slots: Slots, vm: LiteSVM) {
    this.slots = slots
    this.#vm = vm
    this.faucet = keypairFrom('faucet', slots.genesisHash)
    this.#setClock()
  }

  static create(genesisHash: string): SolanaChain {
    const chain = new SolanaChain(new Slots(genesisHash), configured(new LiteSVM()))
    const faucet = chain.faucet.publicKey.toBase58()
    chain.#restore(faucet, systemAccount(faucet, FAUCET_LAMPORTS))
    chain.advance()
    return chain
  }

  /** Goes on from a stopped chain. Everything in it is final: what undoes it was not kept. */
  static from(state: ChainState): SolanaChain {
    const slots = new Slots(state.genesisHash, state.slot, [...state.skipped])
    const chain = new SolanaChain(slots, configured(LiteSVM.fromBytes(state.vm)))
    for (const transaction of state.history) {
      if (transaction.slot >= state.firstAvailable) chain.#landed.set(transaction.signature, transaction)
    }
    chain.#firstAvailable = state.firstAvailable
    chain.advance(FINAL_AFTER_BLOCKS)
    return chain
  }

  get vmBytes(): Uint8Array {
    return this.#vm.toBytes()
  }

  get firstAvailable(): number {
    return this.#firstAvailable
  }

  /** Oldest first. */
  get history(): IterableIterator<LandedTransaction> {
    return this.#landed.values()
  }

  /** The account as it was at the end of that slot (V1). */
  account(key: string, slot: number): EncodedAccount | null {
    const before = this.#before.get(key)?.find((entry) => entry.slot > slot)
    return before ? before.account : this.#accountNow(key)
  }

  landed(signature: string): LandedTransaction | undefined {
    return this.#landed.get(signature)
  }

  rent(bytes: number): number {
    return Number(this.#vm.minimumBalanceForRentExemption(BigInt(bytes)))
  }

  /** What a node checks before it sends a transaction on. */
  simulate(sent: IncomingTransaction, commitment: Commitment): Simulation {
    const refused = this.#refusal(sent, commitment)
    if (refused) return { error: refused, logs: [], unitsConsumed: 0 }
    const result = this.#vm.simulateTransaction(sent.forVm)
    const meta = result.meta()
    const error = result instanceof FailedTransactionMetadata ? transactionError(result) : null
    return { error, logs: meta.logs(), unitsConsumed: Number(meta.computeUnitsConsumed()) }
  }

  execute(sent: IncomingTransaction): Execution {
    const refused = this.#refusal(sent, 'processed')
    if (refused) return { kind: 'rejected', error: refused, logs: [] }
    const { keys, message, signature, wire } = sent
    const before = keys.map((key) => this.#accountNow(key))
    const result = this.#vm.sendTransaction(sent.forVm)
    const after = keys.map((key, index) =>
      message.isAccountWritable(index) ? this.#accountNow(key) : (before[index] ?? null),
    )
    const error = result instanceof FailedTransactionMetadata ? transactionError(result) : null
    const meta = result instanceof FailedTransactionMetadata ? result.meta() : result
    const wasCharged = before[0]?.lamports !== after[0]?.lamports
    if (error && !wasCharged) return { kind: 'rejected', error, logs: meta.logs() }
    const decimals = (mint: string) => this.#accountNow(mint)?.data[44] ?? 0
    const transaction: LandedTransaction = {
      signature,
      slot: this.slots.current,
      blockTime: Math.floor(Date.now() / 1000),
      wire,
      keys,
      error,
      fee: feeOf(result),
      unitsConsumed: Number(meta.computeUnitsConsumed()),
      logs: error ? meta.logs() : [],
      lamportsBefore: before.map((account) => Number(account?.lamports ?? 0n)),
      lamportsAfter: after.map((account) => Number(account?.lamports ?? 0n)),
      tokensBefore: tokenBalances(before, decimals),
      tokensAfter: tokenBalances(after, decimals),
    }
    keys.forEach((key, index) => {
      if (message.isAccountWritable(index)) this.#remember(key, before[index] ?? null)
    })
    this.#open.push(transaction)
    this.#landed.set(transaction.signature, transaction)
    if (this.#landed.size > HISTORY_MAX) this.#forgetOldest()
    this.onLanded(transaction)
    return { kind: 'landed', transaction }
  }

  advance(slots = 1): void {
    for (let left = slots; left > 0; left -= 1) this.slots.advance()
    this.#setClock()
    this.#settle()
  }

  /** Drops the newest blocks, as when the cluster goes on along another fork (V3). */
  rollback(blocks: number): void {
    assert(blocks >= 1 && blocks < FINAL_AFTER_BLOCKS, `a fork drops 1 to ${FINAL_AFTER_BLOCKS - 1} blocks`)
    const from = this.slots.rollback(blocks)
    for (const transaction of this.#open) {
      if (transaction.slot >= from) this.#landed.delete(transaction.signature)
    }
    this.#open = this.#open.filter(({ slot }) => slot < from)
    for (const [key, entries] of this.#before) {
      const dropped = entries.find(({ slot }) => slot >= from)
      if (!dropped) continue
      this.#restore(key, dropped.account)
      this.#keep(
        key,
        entries.filter(({ slot }) => slot < from),
      )
    }
    this.#setClock()
    this.onDropped(from)
  }

  /** Forgets history before that slot, as a node whose disk is small. */
  forgetBefore(slot: number): void {
    for (const [signature, transaction] of this.#landed) {
      if (transaction.slot < slot) this.#landed.delete(signature)
    }
    this.#firstAvailable = slot
  }

  #refusal({ message, signature }: IncomingTransaction, commitment: Commitment): TransactionError | null {
    if (message.addressTableLookups.length > 0) return 'UnsupportedVersion'
    if (!this.slots.accepts(message.recentBlockhash, commitment)) return 'BlockhashNotFound' // V2
    return this.#landed.has(signature) ? 'AlreadyProcessed' : null
  }

  #accountNow(key: string): EncodedAccount | null {
    const account = this.#vm.getAccount(address(key))
    return account.exists ? account : null
  }

  #remember(key: string, account: EncodedAccount | null): void {
    const entries = this.#before.get(key) ?? []
    entries.push({ slot: this.slots.current, account })
    this.#before.set(key, entries)
  }

  #keep(key: string, entries: Before[]): void {
    if (entries.length === 0) this.#before.delete(key)
    else this.#before.set(key, entries)
  }

  /** What became final can no longer be undone. */
  #settle(): void {
    const final = this.slots.at('finalized')
    if (this.#open[0] === undefined || this.#open[0].slot > final) return
    this.#open = this.#open.filter(({ slot }) => slot > final)
    for (const [key, entries] of this.#before) {
      this.#keep(
        key,
        entries.filter(({ slot }) => slot > final),
      )
    }
  }

  #restore(key: string, account: EncodedAccount | null): void {
    this.#vm.setAccount(account ?? systemAccount(key, 0n))
  }

  #setClock(): void {
    const clock = this.#vm.getClock()
    clock.slot = BigInt(this.slots.current)
    clock.unixTimestamp = BigInt(Math.floor(Date.now() / 1000))
    this.#vm.setClock(clock)
  }

  #forgetOldest(): void {
    const [oldest] = this.#landed.values()
    if (!oldest) return
    this.#landed.delete(oldest.signature)
    this.#firstAvailable = oldest.slot + 1
  }
}

/** With no lamports, it is none. */
function systemAccount(key: string, amount: bigint): EncodedAccount {
  return {
    address: address(key),
    executable: false,
    lamports: lamports(amount),
    programAddress: SYSTEM_PROGRAM,
    space: 0n,
    data: new Uint8Array(),
  }
}

/** Throws when the bytes are no transaction. */
export function readTransaction(wire: Uint8Array): IncomingTransaction {
  const { message, signatures } = VersionedTransaction.deserialize(wire)
  const [first] = signatures
  assert(first, 'a transaction has a signature')
  const keys = message.staticAccountKeys.map((key) => key.toBase58())
  const forVm = getTransactionDecoder().decode(wire)
  return { wire, message, keys, signature: getBase58Decoder().decode(first), forVm }
}

/** The same key for the same chain, so that nothing of it has to be kept. */
export function keypairFrom(name: string, genesisHash: string): Keypair {
  return Keypair.fromSeed(createHash('sha256').update(`${name} of ${genesisHash}`).digest())
}
