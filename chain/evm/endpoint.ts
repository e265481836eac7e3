/** One node: its calls, and what is known of its health. */
import type { NodeHealth } from '../chain.js'
import { type Answer, type Call, JsonRpc } from './json-rpc.js'
import { NodeSilent, resultOf } from './node-errors.js'
import { read } from './quantities.js'

const BACKOFF_MIN_MS = 500
const BACKOFF_MAX_MS = 30_000

export interface EndpointOptions {
  readonly name: string
  readonly url: string
  readonly chainId: number
  readonly timeoutMs: number
  readonly batchSizeMax: number
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number
}

export class Endpoint {
  readonly name: string
  readonly #rpc: JsonRpc
  #height: number | null = null
  #heightSince = 0
  #peers: number | null = null
  #syncing: boolean | null = null
  #lastError: string | null = null
  #failures = 0
  #restsUntil = Number.NEGATIVE_INFINITY
  #onOurChain: boolean | null = null

  constructor(private readonly options: EndpointOptions) {
    this.name = options.name
    this.#rpc = new JsonRpc(options)
  }

  /** Whether it may be asked now: one that did not answer rests for a while, so that it costs no time-out each round. */
  get rested(): boolean {
    return this.options.now() >= this.#restsUntil
  }

  /** How long its height has been the same. */
  get heightAgeMs(): number {
    return this.options.now() - this.#heightSince
  }

  /** Answers in the order of the calls. */
  async all(calls: readonly Call[]): Promise<readonly Answer[]> {
    return this.#noted(await this.#rpc.all(calls))
  }

  /** The same for transactions: one request after another. */
  async inOrder(calls: readonly Call[]): Promise<readonly Answer[]> {
    return this.#noted(await this.#rpc.inOrder(calls))
  }

  /** The result of one call. Throws `NodeSilent` or `NodeError`. */
  async one(method: string, params: readonly unknown[]): Promise<unknown> {
    return resultOf((await this.all([{ method, params }]))[0])
  }

  /** Its height. Throws when it does not answer or is on another chain: what that says of a payout means nothing. */
  async askHeight(): Promise<number> {
    const calls: Call[] = [{ method: 'eth_blockNumber', params: [] }]
    if (this.#onOurChain !== true) calls.push({ method: 'eth_chainId', params: [] })
    const [height, chainId] = await this.all(calls)
    if (chainId !== undefined) this.#checkChain(read.number(resultOf(chainId)))
    const found = read.number(resultOf(height))
    this.#noteHeight(found)
    return found
  }

  /** Throws unless it is known to be on our chain: of another one, everything it says is wrong. */
  async mustBeOurs(): Promise<void> {
    if (this.#onOurChain !== true) this.#checkChain(read.number(await this.one('eth_chainId', [])))
  }

  /** Asks for everything that metrics want. Never throws. */
  async checkHealth(): Promise<NodeHealth> {
    const { options } = this
    await this.askHeight().catch((error) => this.fail(error instanceof Error ? error.message : String(error)))
    const [peers, syncing] = await this.#rpc.all([
      { method: 'net_peerCount', params: [] },
      { method: 'eth_syncing', params: [] },
    ])
    this.#peers = peers?.kind === 'result' ? Number(peers.result) : null
    this.#syncing = syncing?.kind === 'result' ? syncing.result !== false : null
    if (options.now() < this.#restsUntil) this.#height = null
    return this.health(true)
  }

  health(keepsUp: boolean): NodeHealth {
    return {
      name: this.name,
      usable: this.rested && keepsUp && this.#onOurChain !== false,
      height: this.#height,
      peers: this.#peers,
      syncing: this.#syncing,
      latencyMs: this.#rpc.latencyMs,
      lastError: this.#lastError,
    }
  }

  #checkChain(chainId: number): void {
    this.#onOurChain = chainId === this.options.chainId
    if (this.#onOurChain) return
    const message = `${this.name} is on chain ${chainId}, not ${this.options.chainId}: correct its URL`
    this.fail(message)
    throw new NodeSilent(message)
  }

  #noteHeight(height: number): void {
    if (height !== this.#height) this.#heightSince = this.options.now()
    this.#height = height
  }

  #noted(answers: readonly Answer[]): readonly Answer[] {
    const unanswered = answers.find((answer) => answer.kind === 'silent')
    if (unanswered !== undefined) this.fail(unanswered.message)
    else if (answers.length > 0) this.#failures = 0
    return answers
  }

  /** What it answered is of no use: another is asked first for a while. */
  fail(message: string): void {
    this.#lastError = message
    this.#failures += 1
    const restMs = Math.min(BACKOFF_MIN_MS * 2 ** (this.#failures - 1), BACKOFF_MAX_MS)
    this.#restsUntil = this.options.now() + restMs
  }
}
