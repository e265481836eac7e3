/**
 * The nodes of one chain. Each may be down, behind, stuck or wrong.
 *
 * N1 What is final is judged at one height per round: the lower median of those that answer, so that of three nodes one
 *    that lies or lags decides nothing, and of two the careful one does.
 * N2 Nodes that differ about what should be final make nothing final, and somebody is told.
 * N3 A node that fails is passed over for a while; when all have failed, all are asked.
 */
import { DomainError } from '../../engine/errors.js'
import type { NodeHealth } from '../chain.js'
import { Endpoint } from './endpoint.js'
import type { Answer, Call } from './json-rpc.js'
import { NodeError, NodeSilent, resultOf } from './node-errors.js'
import { read, toQuantity } from './quantities.js'

/** A node whose height has not moved for so long, while another's has, is passed over. */
const STUCK_AFTER_MS = 30_000

export interface EndpointsOptions {
  /** In the order of preference. */
  readonly urls: readonly string[]
  readonly chainId: number
  /** Blocks from the one of a transaction to the newest, both counted, that make it final. */
  readonly confirmations?: number
  readonly timeoutMs?: number
  readonly batchSizeMax?: number
  readonly onDisagreement?: (disagreement: Disagreement) => void
}

/** Two nodes differ about what should be final. A person has to find out which one is right. */
export interface Disagreement {
  readonly about: 'block' | 'receipt' | 'nonce' | 'balance'
  readonly message: string
}

/** One look at the chain. */
export interface Round {
  readonly newest: number
  readonly final: number
  /** Nodes that have the final block, those with the newest first: that one is asked, the others confirm. */
  readonly witnesses: readonly [Witness, ...Witness[]]
  /** Names of those that did not answer or are behind. */
  readonly absent: readonly string[]
  /** Whether the witnesses tell the same of the final block (N2). */
  readonly agreed: boolean
}

export interface Witness {
  readonly endpoint: Endpoint
  /** To the further calls of the round. */
  readonly answers: readonly Answer[]
}

/** How far a round looks, for the further calls it takes. */
export type AtHeights = (newest: number, final: number) => readonly Call[]

export class Endpoints {
  readonly chainId: number
  readonly confirmations: number
  readonly #endpoints: readonly Endpoint[]
  readonly #onDisagreement: (disagreement: Disagreement) => void

  constructor(options: EndpointsOptions) {
    const { urls, chainId, confirmations = 10, timeoutMs = 10_000, batchSizeMax = 100 } = options
    if (urls.length === 0) throw new DomainError('invalid', 'no_endpoint', 'Give the URL of at least one node')
    this.chainId = chainId
    this.confirmations = confirmations
    this.#onDisagreement = options.onDisagreement ?? (() => {})
    const now = () => performance.now()
    this.#endpoints = urls.map((url, i) => {
      const name = `${new URL(url).host}#${i + 1}`
      return new Endpoint({ name, url, chainId, timeoutMs, batchSizeMax, now })
    })
  }

  /** How many are configured. */
  get count(): number {
    return this.#endpoints.length
  }

  /** One look at the chain, together with what `calls` asks of every node. Throws `chain_unreachable`. */
  async round(calls: AtHeights = () => []): Promise<Round> {
    const heights = await this.#heights()
    const newest = lowerMedian(heights.map(({ height }) => height))
    const final = Math.max(0, newest - this.confirmations + 1)
    const asked = [{ method: 'eth_getBlockByNumber', params: [toQuantity(final), false] }, ...calls(newest, final)]
    const haveFinal = heights.filter(({ height }) => height >= final)
    const looked = await Promise.all(
      [...haveFinal.filter(({ height }) => height >= newest), ...haveFinal.filter(({ height }) => height < newest)].map(
        ({ endpoint }) => lookAt(endpoint, asked).catch((error) => report(error, endpoint)),
      ),
    )
    const seen = looked.flatMap((look) => (look instanceof NodeSilent ? [] : [look]))
    const [first, ...others] = seen
    if (first === undefined) throw unreachable(looked.flatMap((look) => (look instanceof NodeSilent ? [look] : [])))
    const agreed = others.every(({ finalHash }) => finalHash === first.finalHash)
    if (!agreed) {
      const message = `block ${final} is ${seen.map(({ endpoint, finalHash }) => `${finalHash} at ${endpoint.name}`).join(', ')}`
      this.disagree({ about: 'block', message })
    }
    const present = new Set(seen.map(({ endpoint }) => endpoint))
    const absent = this.#endpoints.filter((endpoint) => !present.has(endpoint)).map(({ name }) => name)
    return { newest, final, witnesses: [first, ...others], absent, agreed }
  }

  /** One look at the chain that all agree about. Throws `nodes_disagree`. */
  async agreedRound(): Promise<Round> {
    const round = await this.round()
    if (!round.agreed) throw nodesDisagree(`block ${round.final}`)
    return round
  }

  /** Asks one node after another until one answers. Throws what the last one threw. */
  async read<T>(ask: (endpoint: Endpoint) => Promise<T>): Promise<T> {
    let failure: unknown
    for (const endpoint of this.inOrder()) {
      try {
        await endpoint.mustBeOurs()
        return await ask(endpoint)
      } catch (error) {
        // A revert is an answer; anything else another node may know better, such as a block this one has not yet.
        if (!(error instanceof NodeSilent || error instanceof NodeError) || (error as NodeError).reverted) throw error
        failure = error
      }
    }
    throw failure instanceof NodeSilent ? unreachable([failure]) : failure
  }

  /** Those that may be asked, the preferred one first. Never empty. */
  inOrder(): readonly Endpoint[] {
    const rested = this.#endpoints.filter((endpoint) => endpoint.rested && this.#keepsUp(endpoint))
    return rested.length > 0 ? rested : this.#endpoints // N3
  }

  disagree(disagreement: Disagreement): void {
    this.#onDisagreement(disagreement)
  }

  /** As last seen. */
  health(): readonly NodeHealth[] {
    return this.#endpoints.map((endpoint) => endpoint.health(this.#keepsUp(endpoint)))
  }

  /** Asks every node how it is. Never throws. */
  async checkHealth(): Promise<readonly NodeHealth[]> {
    await Promise.all(this.#endpoints.map((endpoint) => endpoint.checkHealth()))
    return this.health()
  }

  #keepsUp(endpoint: Endpoint): boolean {
    const age = endpoint.heightAgeMs
    return age < STUCK_AFTER_MS || !this.#endpoints.some((other) => other.heightAgeMs < STUCK_AFTER_MS)
  }

  async #heights(): Promise<readonly { endpoint: Endpoint; height: number }[]> {
    const rested = this.#endpoints.filter((endpoint) => endpoint.rested)
    const asked = await Promise.all(
      (rested.length > 0 ? rested : this.#endpoints).map(async (endpoint) => {
        const height = await endpoint.askHeight().catch((error) => report(error, endpoint))
        return { endpoint, height }
      }), // N3
    )
    const answered = asked.flatMap(({ endpoint, height }) => (typeof height === 'number' ? [{ endpoint, height }] : []))
    const keepUp = answered.filter(({ endpoint }) => this.#keepsUp(endpoint))
    if (keepUp.length > 0) return keepUp
    throw unreachable(asked.flatMap(({ height }) => (typeof height === 'number' ? [] : [height])))
  }
}

async function lookAt(endpoint: Endpoint, calls: readonly Call[]) {
  const [finalBlock, ...answers] = await endpoint.all(calls)
  return { endpoint, answers, finalHash: read.block(resultOf(finalBlock)).hash }
}

/** A node that fails in any way has said nothing. */
const report = (error: unknown, { name }: Endpoint): NodeSilent =>
  new NodeSilent(`${name}: ${error instanceof Error ? error.message : String(error)}`)

function unreachable(failures: readonly NodeSilent[]): DomainError {
  const said = failures.map(({ message }) => message).join('; ')
  return new DomainError(
    'unavailable',
    'chain_unreachable',
    `No node of the chain answers (${said}): check CHAIN_EVM_URLS`,
  )
}

export const nodesDisagree = (about: string): DomainError =>
  new DomainError(
    'unavailable',
    'nodes_disagree',
    `The nodes differ about ${about}: find out which is wrong and remove it`,
  )

/** Of an even number the lower of the middle two. */
function lowerMedian(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? 0
}
