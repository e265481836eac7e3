/**
 * Several Solana nodes as one: requests fail over from node to node, and what matters is asked of all of them.
 *
 * N1 A node is asked nothing before its genesis hash was found to be that of this chain.
 */
import type { Connection } from '@solana/web3.js'
import { assert } from '../../engine/assert.js'
import { DomainError } from '../../engine/errors.js'
import type { NodeHealth } from '../chain.js'
import { describe, Endpoint } from './endpoint.js'

/** A node so far behind another one is still catching up. */
const BEHIND_SLOTS = 150

/** Nodes contradict each other about what is final. A person has to find out which one is right. */
export interface Disagreement {
  readonly about: 'transaction' | 'blockhash'
  readonly message: string
}

/** Asked of all: those that answered, and those that did not. */
export interface Answers<Answer> {
  readonly given: readonly { readonly endpoint: Endpoint; readonly answer: Answer }[]
  readonly missing: readonly { readonly endpoint: Endpoint; readonly error: string }[]
}

export interface EndpointsOptions {
  /** CAIP-2 name of the chain. */
  readonly chain: string
  readonly urls: readonly string[]
  readonly timeoutMs: number
  readonly restMaxMs: number
  /** A node whose final slot has not moved for so long, while another's has, has no say in what is final. */
  readonly stuckAfterMs: number
  /** Throws when the chain must not be used. */
  readonly checkGenesis: (genesisHash: string) => void
  readonly onDisagreement: (disagreement: Disagreement) => void
}

export class Endpoints {
  readonly all: readonly Endpoint[]
  readonly #options: EndpointsOptions
  #genesisHash: string | null = null

  constructor(options: EndpointsOptions) {
    assert(options.urls.length > 0, 'a chain has at least one endpoint')
    this.#options = options
    const { timeoutMs, restMaxMs } = options
    const checkGenesis = (genesisHash: string, endpoint: string) => this.#checkGenesis(genesisHash, endpoint)
    this.all = options.urls.map((url, index) => new Endpoint(url, index, { timeoutMs, restMaxMs, checkGenesis }))
  }

  get health(): readonly NodeHealth[] {
    const newest = Math.max(...this.all.map(({ finalSlot }) => finalSlot ?? 0))
    return this.all.map(({ name, isFailing, finalSlot, latencyMs, lastError }) => {
      const syncing = finalSlot === null ? null : finalSlot < newest - BEHIND_SLOTS
      const usable = !isFailing && syncing !== true
      return { name, usable, height: finalSlot, peers: null, syncing, latencyMs, lastError }
    })
  }

  /** The answer of the first node that gives one; those that failed lately are asked last. Throws `chain_unreachable`. */
  async first<Answer>(question: (connection: Connection, endpoint: Endpoint) => Promise<Answer>): Promise<Answer> {
    const errors: string[] = []
    for (const endpoint of this.inOrder()) {
      try {
        return await endpoint.ask((connection) => question(connection, endpoint))
      } catch (error) {
        if (error instanceof DomainError) throw error
        errors.push(`${endpoint.name}: ${describe(error)}`)
      }
    }
    const message = `No node of ${this.#options.chain} gave an answer: ${errors.join('; ')}. Check them and their URLs.`
    throw new DomainError('unavailable', 'chain_unreachable', message)
  }

  /** The answers of all nodes. Those that failed lately are left alone for a while and count as missing. */
  async every<Answer>(
    question: (connection: Connection, endpoint: Endpoint) => Promise<Answer>,
  ): Promise<Answers<Answer>> {
    const asked = this.all.some(({ isResting }) => !isResting)
      ? this.all.filter(({ isResting }) => !isResting)
      : this.all
    const missing = this.all
      .filter((endpoint) => !asked.includes(endpoint))
      .map((endpoint) => ({ endpoint, error: endpoint.lastError ?? 'failed lately' }))
    const given: { endpoint: Endpoint; answer: Answer }[] = []
    await Promise.all(
      asked.map(async (endpoint) => {
        try {
          given.push({ endpoint, answer: await endpoint.ask((connection) => question(connection, endpoint)) })
        } catch (error) {
          missing.push({ endpoint, error: describe(error) })
        }
      }),
    )
    return { given, missing }
  }

  isStuck(endpoint: Endpoint): boolean {
    const isOvertaken = this.all.some(({ finalSlot }) => (finalSlot ?? 0) > (endpoint.finalSlot ?? 0))
    return isOvertaken && endpoint.finalSlotAgeMs > this.#options.stuckAfterMs
  }

  inOrder(): readonly Endpoint[] {
    return [...this.all].sort((left, right) => Number(left.isResting) - Number(right.isResting))
  }

  disagree(about: Disagreement['about'], what: string, statements: readonly (readonly [Endpoint, string])[]): string {
    const says = statements.map(([endpoint, statement]) => `${endpoint.name} says ${statement}`).join(', ')
    const message = `The nodes of ${this.#options.chain} disagree about ${what}: ${says}. Find out which is right.`
    this.#options.onDisagreement({ about, message })
    return message
  }

  /** The genesis hash of this chain, once a node told it. */
  async genesisHash(): Promise<string> {
    if (this.#genesisHash === null) await this.first(async () => {})
    assert(this.#genesisHash !== null, 'a node that was asked has told its genesis hash')
    return this.#genesisHash
  }

  // N1
  #checkGenesis(genesisHash: string, endpoint: string): void {
    if (this.#genesisHash === null) this.#options.checkGenesis(genesisHash)
    this.#genesisHash ??= genesisHash
    if (genesisHash === this.#genesisHash) return
    throw new Error(`${endpoint} is a node of another chain (genesis ${genesisHash}); remove it from the settings.`)
  }
}
