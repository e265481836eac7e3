/** One Solana node: web3.js with a time limit on every request, and the health of the node as its answers show it. */
import { Connection } from '@solana/web3.js'
import { z } from 'zod'

const REST_FIRST_MS = 1_000
const ERROR_TEXT_MAX = 300

/** The node answered, and it is no use for this question; that says nothing against its health. */
export class NodeUnfit extends Error {
  override readonly name: string = 'NodeUnfit'
}

/** What a node answered instead of sending a transaction. */
export class NodeRefused extends NodeUnfit {
  override readonly name = 'NodeRefused'
  constructor(
    readonly code: number,
    message: string,
    readonly data: unknown,
  ) {
    super(message)
  }
}

export interface EndpointOptions {
  readonly timeoutMs: number
  /** The longest time that a node is left alone after it failed. */
  readonly restMaxMs: number
  /** Throws when a node is of another chain than the others. */
  readonly checkGenesis: (genesisHash: string, endpoint: string) => void
}

export class Endpoint {
  readonly name: string
  readonly connection: Connection
  #failuresInARow = 0
  #lastError: string | null = null
  #latencyMs: number | null = null
  #restsUntil = 0
  #isOfThisChain = false
  #finalSlot: number | null = null
  #finalSlotSince = 0

  constructor(
    private readonly url: string,
    index: number,
    private readonly options: EndpointOptions,
  ) {
    this.name = `${new URL(url).host}#${index + 1}`
    this.connection = new Connection(url, {
      commitment: 'confirmed',
      disableRetryOnRateLimit: true,
      httpAgent: false,
      fetch: (_url, init) => this.#fetch(init),
    })
  }

  /** Whether it failed lately and should be left alone for a while. */
  get isResting(): boolean {
    return performance.now() < this.#restsUntil
  }

  /** The last final slot it told of. */
  get finalSlot(): number | null {
    return this.#finalSlot
  }

  /** How long it has told of the same one. */
  get finalSlotAgeMs(): number {
    return performance.now() - this.#finalSlotSince
  }

  noteFinalSlot(slot: number): void {
    if (slot === this.#finalSlot) return
    this.#finalSlot = slot
    this.#finalSlotSince = performance.now()
  }

  get isFailing(): boolean {
    return this.#failuresInARow > 0
  }

  get latencyMs(): number | null {
    return this.#latencyMs
  }

  get lastError(): string | null {
    return this.#lastError
  }

  /** Asks the node. Throws when it does not answer, or not as a node of this chain would. */
  async ask<Answer>(question: (connection: Connection) => Promise<Answer>): Promise<Answer> {
    const startedAt = performance.now()
    try {
      if (!this.#isOfThisChain) {
        this.options.checkGenesis(await this.connection.getGenesisHash(), this.name)
        this.#isOfThisChain = true
      }
      const answer = await question(this.connection)
      this.#latencyMs = Math.round(performance.now() - startedAt)
      this.#failuresInARow = 0
      this.#restsUntil = 0
      return answer
    } catch (error) {
      if (!(error instanceof NodeUnfit)) this.#failed(error)
      throw error
    }
  }

  /** Sends a transaction; web3.js would keep of a refusal only its text. Throws {@link NodeRefused}. */
  async send(raw: string): Promise<void> {
    await this.ask(async () => {
      const params = [raw, { encoding: 'base64', preflightCommitment: 'confirmed' }]
      const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'sendTransaction', params })
      const response = await this.#fetch({ method: 'POST', headers: { 'content-type': 'application/json' }, body })
      if (!response.ok) throw new Error(`HTTP ${response.status}`)
      const { error } = rpcReply.parse(await response.json())
      if (error) throw new NodeRefused(error.code, error.message, error.data)
    })
  }

  async #fetch(init: RequestInit | undefined): Promise<Response> {
    try {
      const response = await fetch(this.url, { ...init, signal: AbortSignal.timeout(this.options.timeoutMs) })
      // Read here, so that the limit holds for the body too; web3.js would wait for it for ever.
      const body = await response.arrayBuffer()
      return new Response(body, { status: response.status, statusText: response.statusText })
    } catch (error) {
      throw new Error(describe(error))
    }
  }

  #failed(error: unknown): void {
    this.#failuresInARow += 1
    this.#lastError = describe(error)
    const restMs = REST_FIRST_MS * 2 ** Math.min(this.#failuresInARow - 1, 10)
    this.#restsUntil = performance.now() + Math.min(this.options.restMaxMs, restMs)
  }
}

const rpcReply = z.object({
  result: z.string().optional(),
  error: z.object({ code: z.number(), message: z.string(), data: z.unknown() }).optional(),
})

/** The text of an error and of what caused it, without addresses, which may hold keys. */
export function describe(error: unknown): string {
  const texts: string[] = []
  for (let cause = error; cause instanceof Error && texts.length < 3; cause = cause.cause) texts.push(cause.message)
  const text = texts.length === 0 ? String(error) : texts.join(': ')
  return text.replace(/https?:\/\/\S+/g, '(address)').slice(0, ERROR_TEXT_MAX)
}
