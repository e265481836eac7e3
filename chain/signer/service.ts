/**
 * The signer: holds keys, reads what it is to sign, checks its own policy and memory, and signs.
 *
 * S4 One service per folder, one folder per set of wallets; every limit is checked here whatever the caller checked.
 * S5 What it is about to sign is durable in its log before a signature leaves.
 * S8 What is asked for at once is signed whole or not at all: one refusal, and neither log nor limits know of the rest.
 * S9 A batch contract is allowed no more than is paid through it in payments that are signed first along with that. So
 *    what a flaw in it could take is bound by the limits, and was to leave anyway.
 */
import { PublicKey } from '@solana/web3.js'
import type { Logger } from 'pino'
import { SignerRefused } from '../chain.js'
import { ensurePrivateFolder } from '../keys/durable-file.js'
import type { EvmKey, KeyProvider, SolanaKey } from '../keys/key-provider.js'
import { type RefusalCode, SignerStartError, SignerUnavailable } from './errors.js'
import { type EvmIntent, readEvmIntent, signEvmIntent } from './evm-intent.js'
import { refuse } from './intent.js'
import { LOG_ENTRIES_PENDING_MAX, type LogEntry, SignerLog } from './log.js'
import { Memory, PAYOUTS_MAX, type Rules } from './memory.js'
import type { EvmWalletPolicy, SignerPolicy, SolanaWalletPolicy } from './policy.js'
import { PAYOUT_ID_CHARACTERS_MAX } from './policy.js'
import { SIGN_BATCH_MAX, type Signer, type SigningRequest, type WalletName } from './signer.js'
import { readSolanaIntent, type SolanaIntent, signSolanaIntent } from './solana-intent.js'
import { isStopped, stopFilePath } from './stop-switch.js'

/** Requests that are being signed or wait for the disk. */
const QUEUE_MAX = LOG_ENTRIES_PENDING_MAX
/** A KMS answers some tens of milliseconds later, and has its own limits. */
const SIGNATURES_AT_ONCE = 16
const PAYOUT_ID = new RegExp(`^[\\x21-\\x7e]{1,${PAYOUT_ID_CHARACTERS_MAX}}$`)

type Wallet =
  | { readonly kind: 'evm'; readonly policy: EvmWalletPolicy; readonly key: EvmKey }
  | {
      readonly kind: 'solana'
      readonly policy: SolanaWalletPolicy
      readonly key: SolanaKey
      readonly publicKey: PublicKey
    }

/** A request that was read: its entry in the log, those of the payouts within it, and how it is signed. */
interface Readable {
  readonly entry: LogEntry
  readonly within: readonly LogEntry[]
  /** What the batch contract may take from then on; null when it is about something else. */
  readonly allowance: bigint | null
  sign(): Promise<string>
}

/** One that may be signed. */
interface Ready extends Readable {
  /** Nothing was ever signed for it. */
  readonly isFirst: boolean
  /** Entries the log does not have yet. */
  readonly news: readonly LogEntry[]
}

export type LockFolder = (directory: string) => Promise<() => Promise<void>>

export interface SignerServiceOptions {
  /** Its log, lock and stop switch: its own, and never shared. */
  readonly directory: string
  readonly policy: SignerPolicy
  readonly keys: KeyProvider
  readonly log: Logger
  /** Keeps every other signer from the folder until the returned function is called. Throws `log_locked`. */
  readonly lock: LockFolder
  /** Milliseconds of the epoch. */
  readonly now?: () => number
  /** Called at the end of {@link SignerService.close}. */
  readonly onClose?: () => Promise<void>
}

/** For metrics. */
export interface SignerStatus {
  readonly signed: number
  readonly refused: Readonly<Record<string, number>>
  readonly queue: number
  readonly queueMax: number
  readonly payouts: number
  readonly payoutsMax: number
  readonly logBytes: number
  readonly isStopped: boolean
}

export class SignerService implements Signer {
  readonly #refused = new Map<string, number>()
  #signed = 0
  #queue = 0
  #isClosed = false
  #idle: (() => void) | undefined

  private constructor(
    private readonly options: SignerServiceOptions,
    private readonly wallets: ReadonlyMap<WalletName, Wallet>,
    private readonly memory: Memory,
    private readonly signatures: SignerLog,
    private readonly unlock: () => Promise<void>,
  ) {}

  /** Throws `SignerStartError` and `KeyError`. */
  static async open(options: SignerServiceOptions): Promise<SignerService> {
    const { directory, policy, keys, log } = options
    await ensurePrivateFolder(directory)
    const unlock = await options.lock(directory) // S4
    try {
      const wallets = await openWallets(policy, keys)
      const memory = new Memory()
      const signatures = await SignerLog.open(directory, (record) => memory.restore(record))
      if (signatures.bytesCut > 0) {
        log.warn({ bytes: signatures.bytesCut }, 'the signer cut off what a crash left half-written of its log')
      }
      const addresses = Object.fromEntries([...wallets].map(([name, { key }]) => [name, key.address]))
      log.info({ addresses, payouts: memory.payouts, isStopped: isStopped(directory) }, 'the signer is ready')
      return new SignerService(options, wallets, memory, signatures, unlock)
    } catch (error) {
      await unlock()
      throw error
    }
  }

  async address(wallet: WalletName): Promise<string> {
    return this.#wallet(wallet, null).key.address
  }

  /** Signs all or none. Throws `SignerRefused`, `SignerUnavailable`. */
  async sign(requests: readonly SigningRequest[]): Promise<readonly string[]> {
    if (this.#isClosed) throw new SignerUnavailable('signer_closed', 'The signer is stopping; ask again when it runs.')
    const size = sizeOf(requests)
    if (this.#queue + size > QUEUE_MAX) {
      throw new SignerUnavailable(
        'signer_busy',
        `The signer has ${this.#queue} requests in hand; ask again in a second.`,
      )
    }
    this.#queue += size
    try {
      return await this.#signChecked(this.#check(requests))
    } catch (error) {
      if (error instanceof SignerRefused) this.#countRefusal(error, requests.length)
      throw error
    } finally {
      this.#queue -= size
      if (this.#queue === 0) this.#idle?.()
    }
  }

  async #signChecked(ready: readonly Ready[]): Promise<readonly string[]> {
    await this.signatures.append(ready.flatMap(({ news }) => news)) // S5
    try {
      this.#assertNotStopped()
      const signed = await signAll(ready)
      this.#signed += signed.length
      for (const { entry } of ready) this.memory.keep(entry)
      return signed
    } catch (error) {
      const failed = ready.filter(({ entry }) => this.memory.release(entry))
      await this.signatures.append(
        failed.map(({ entry }) => ({ at: entry.at, payout: entry.payout, failed: entry.fingerprint })),
      )
      throw error
    }
  }

  status(): SignerStatus {
    return {
      signed: this.#signed,
      refused: Object.fromEntries(this.#refused),
      queue: this.#queue,
      queueMax: QUEUE_MAX,
      payouts: this.memory.payouts,
      payoutsMax: PAYOUTS_MAX,
      logBytes: this.signatures.bytes,
      isStopped: isStopped(this.options.directory),
    }
  }

  /** Takes no more, finishes what it has in hand, and lets go of its folder. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    if (this.#queue > 0) await new Promise<void>((resolve) => (this.#idle = resolve))
    await this.signatures.close()
    await this.unlock()
    await this.options.onClose?.()
  }

  /** Synchronous, so that no two batches are checked against the same memory. */
  #check(requests: readonly SigningRequest[]): Ready[] {
    this.#assertNotStopped()
    const size = sizeOf(requests)
    if (size > SIGN_BATCH_MAX) {
      const message = `${size} requests and payments are too many at once; the signer takes ${SIGN_BATCH_MAX}.`
      throw new SignerRefused('batch_too_large' satisfies RefusalCode, message)
    }
    const at = this.memory.timeOf((this.options.now ?? Date.now)())
    const undos: (() => void)[] = []
    try {
      const ready = requests.map((request): Ready => {
        const wallet = this.#wallet(request.wallet, request.payoutId)
        const readable = read(request, wallet, at)
        const isFirst = !this.memory.has(request.payoutId)
        const news = [readable.entry, ...readable.within].filter((entry) => {
          this.memory.check(entry, rulesOf(wallet))
          const { isNew, undo } = this.memory.use(entry)
          undos.push(undo)
          return isNew
        })
        return { ...readable, isFirst, news }
      })
      for (const each of ready) checkAllowance(each, ready) // S9
      return ready
    } catch (error) {
      for (const undo of undos.toReversed()) undo() // S8
      throw error instanceof SignerRefused ? this.#withSignedBefore(error, requests) : error
    }
  }

  #wallet(name: WalletName, payoutId: string | null): Wallet {
    const wallet = this.wallets.get(name)
    if (wallet !== undefined) return wallet
    const message = `The signer's policy has no wallet "${name}", only: ${[...this.wallets.keys()].join(', ')}.`
    throw new SignerRefused('wallet_unknown' satisfies RefusalCode, message, payoutId)
  }

  #assertNotStopped(): void {
    const { directory } = this.options
    if (!isStopped(directory)) return
    const message = `The signer is stopped and signs nothing. If all is well, remove ${stopFilePath(directory)}, as \`comptroller signer resume\` does.`
    throw new SignerRefused('stopped' satisfies RefusalCode, message)
  }

  #withSignedBefore({ code, message, payoutId }: SignerRefused, requests: readonly SigningRequest[]): SignerRefused {
    const before = requests.map((request) => request.payoutId).filter((id) => this.memory.has(id))
    return new SignerRefused(code, message, payoutId, before)
  }

  #countRefusal({ code, message, payoutId }: SignerRefused, requests: number): void {
    this.#refused.set(code, (this.#refused.get(code) ?? 0) + 1)
    this.options.log.warn({ code, payoutId, requests }, message)
  }
}

const rulesOf = ({ policy }: Wallet): Rules => ({
  limits: policy.limits,
  signaturesMax: policy.signaturesMax,
  resignAfterMs: policy.kind === 'solana' ? policy.resignAfterMs : 0,
})

function checkPayoutId(payoutId: string): void {
  if (PAYOUT_ID.test(payoutId)) return
  const what = `it must have 1 to ${PAYOUT_ID_CHARACTERS_MAX} printable characters and no spaces`
  throw new SignerRefused('payout_id_wrong' satisfies RefusalCode, `The payout id is wrong: ${what}.`, payoutId)
}

function read(request: SigningRequest, wallet: Wallet, at: number): Readable {
  checkPayoutId(request.payoutId)
  if (wallet.kind === 'evm') return readEvm(request, wallet, at)
  if (request.amount <= 0n) throw refuse('amount_wrong', request, `it pays ${request.amount}.`)
  const intent = readSolanaIntent(request, wallet.policy, wallet.publicKey)
  const entry = entryOf(request, wallet, intent, at)
  return { entry, within: [], allowance: null, sign: () => signSolanaIntent(intent, wallet.key) }
}

function readEvm(request: SigningRequest, wallet: Wallet & { kind: 'evm' }, at: number): Readable {
  const intent = readEvmIntent(request, wallet.policy, wallet.key.address)
  const sign = () => signEvmIntent(intent, wallet.key)
  const own = entryOf(request, wallet, intent, at)
  const { batch } = intent
  if (batch === null) return { entry: own, within: [], allowance: null, sign }
  const entry = { ...own, batch: request.payoutId }
  if (batch.kind === 'allow') return { entry, within: [], allowance: batch.amount, sign }
  const within = batch.payments.map(({ payoutId, to, amount }): LogEntry => {
    checkPayoutId(payoutId)
    return { ...entry, payout: payoutId, to, amount: amount.toString() }
  })
  return { entry, within, allowance: null, sign }
}

/** Throws `allowance_too_high`. What was signed before is for the same sum (S4), and may be replaced by itself. */
function checkAllowance({ entry, allowance, isFirst }: Ready, together: readonly Ready[]): void {
  if (allowance === null || !isFirst) return
  const paid = together
    .filter((other) => other.isFirst && other.entry.account === entry.account)
    .flatMap(({ within }) => within)
    .reduce((sum, { amount }) => sum + BigInt(amount), 0n)
  if (allowance <= paid) return
  const what = `it lets the contract take ${allowance}, and ${paid} is paid through it along with that.`
  throw refuse('allowance_too_high', { payoutId: entry.payout }, what)
}

const sizeOf = (requests: readonly SigningRequest[]) =>
  requests.reduce((size, { payouts = [] }) => size + 1 + payouts.length, 0)

const entryOf = (
  { wallet, payoutId, amount }: SigningRequest,
  { policy, key }: Wallet,
  { to, nonce, fingerprint }: EvmIntent | SolanaIntent,
  at: number,
): LogEntry => ({
  at,
  wallet,
  account: `${policy.chain}:${key.address}`,
  payout: payoutId,
  to,
  amount: amount.toString(),
  nonce,
  fingerprint,
})

/** In order, some at a time. */
async function signAll(ready: readonly Ready[]): Promise<string[]> {
  const signed: string[] = []
  for (let at = 0; at < ready.length; at += SIGNATURES_AT_ONCE) {
    const some = ready.slice(at, at + SIGNATURES_AT_ONCE)
    for (const outcome of await Promise.allSettled(some.map(({ sign }) => sign()))) {
      if (outcome.status === 'rejected') throw keyFailed(outcome.reason)
      signed.push(outcome.value)
    }
  }
  return signed
}

function keyFailed(cause: unknown): SignerUnavailable {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new SignerUnavailable('key_failed', `The key did not sign: ${why} Ask again for the same.`, { cause })
}

async function openWallets(policy: SignerPolicy, keys: KeyProvider): Promise<Map<WalletName, Wallet>> {
  const wallets = new Map<WalletName, Wallet>()
  for (const [name, rules] of policy) wallets.set(name, await openWallet(name, rules, keys))
  return wallets
}

async function openWallet(
  name: WalletName,
  policy: EvmWalletPolicy | SolanaWalletPolicy,
  keys: KeyProvider,
): Promise<Wallet> {
  const key = await keys.key(policy.key)
  if (policy.kind === 'evm' && key.kind === 'evm') return { kind: 'evm', policy, key }
  if (policy.kind === 'solana' && key.kind === 'solana') {
    return { kind: 'solana', policy, key, publicKey: new PublicKey(key.address) }
  }
  throw new SignerStartError(
    'keys_unfit',
    `The wallet "${name}" pays on ${policy.chain}, and its key ${policy.key} is for ${key.kind}. Name one of the right kind.`,
  )
}
