/**
 * What became of payouts, from what the nodes say.
 *
 * S3 `final` and `lost` are said only when no node that can know says otherwise: of what is final two nodes can differ
 *    only if one is wrong, and then nothing is settled until a person looked.
 */
import { assert } from '../../engine/assert.js'
import type { Block, Observation, OpenTransfer } from '../chain.js'
import { blockHeader, type FoundTransaction, finalTransactions } from './blocks.js'
import { describe, type Endpoint } from './endpoint.js'
import type { Answers, Endpoints } from './endpoints.js'
import { ExpiryJudge } from './expiry.js'
import { isFinal, type Sighting, sightingsOf, type View, viewsOf } from './views.js'

const BLOCKS_REMEMBERED_MAX = 1_000

/** A final transaction, at the nodes that show it. */
interface Final {
  readonly hash: string
  readonly slot: number
  readonly ok: boolean
  readonly endpoints: readonly Endpoint[]
}

type Verdict = Observation | { readonly kind: 'final_at'; readonly final: Final }

export class Observer {
  readonly #blockhashes = new Map<number, Promise<string>>()

  constructor(
    private readonly endpoints: Endpoints,
    /** What a transaction cost the wallet besides the amount, in lamports. */
    private readonly costOf: (transaction: FoundTransaction, transfer: OpenTransfer) => bigint,
  ) {}

  async observe(transfers: readonly OpenTransfer[]): Promise<readonly Observation[]> {
    if (transfers.length === 0) return []
    for (const { signed, payoutId } of transfers) assert(signed.length > 0, `payout ${payoutId} was signed`)
    const answers = await viewsOf(this.endpoints, transfers.flatMap(hashesOf))
    if (answers.given.length === 0) return transfers.map(() => unknown(`No node answered: ${reasons(answers)}`))
    const expiry = new ExpiryJudge(this.endpoints, answers)
    const verdicts = await Promise.all(transfers.map((transfer) => this.#judge(transfer, answers, expiry)))
    const found = await this.#transactionsOf(verdicts)
    return Promise.all(
      verdicts.map((verdict, index) => {
        const transfer = transfers[index]
        assert(transfer, 'a verdict belongs to a transfer')
        return verdict.kind === 'final_at' ? this.#final(verdict.final, transfer, found) : verdict
      }),
    )
  }

  async #judge(transfer: OpenTransfer, answers: Answers<View>, expiry: ExpiryJudge): Promise<Verdict> {
    const sightings = sightingsOf(answers, hashesOf(transfer))
    const paid = new Set(sightings.filter(({ status }) => status.err === null).map(({ hash }) => hash))
    if (paid.size > 1) return unknown(`Paid more than once: ${[...paid].join(', ')}. Stop the wallet and look.`)
    const finals = sightings.filter(({ status }) => isFinal(status))
    const [first] = finals
    if (first) return this.#judgeFinal(first, finals, answers)
    const newest = sightings.toSorted((left, right) => rank(right) - rank(left))[0]
    if (newest) return mined(newest)
    const end = await expiry.judge(transfer)
    if (end.kind === 'unproven') return unknown(end.message)
    return end.kind === 'expired' ? { kind: 'lost', because: 'expired' } : { kind: 'missing' }
  }

  async #judgeFinal(first: Sighting, finals: readonly Sighting[], answers: Answers<View>): Promise<Verdict> {
    const { hash, status } = first
    const others = finals.filter((other) => statement(other) !== statement(first))
    if (others.length > 0) {
      return this.#disagreement(
        hash,
        [first, ...others].map((sighting) => [sighting.endpoint, statement(sighting)]),
      )
    }
    const agreeing = finals.map(({ endpoint }) => endpoint)
    for (const { endpoint, answer } of answers.given) {
      if (agreeing.includes(endpoint) || this.endpoints.isStuck(endpoint)) continue
      if (answer.finalSlot < status.slot || answer.statusSlot < answer.finalSlot) return mined(first)
      const denial = answer.statuses.has(hash) ? 'it is not final' : 'there is no such transaction'
      if (!(await remembers(endpoint, status.slot))) continue
      return this.#disagreement(hash, [
        [first.endpoint, statement(first)],
        [endpoint, denial],
      ])
    }
    return { kind: 'final_at', final: { hash, slot: status.slot, ok: status.err === null, endpoints: agreeing } }
  }

  #disagreement(hash: string, statements: readonly (readonly [Endpoint, string])[]): Observation {
    return unknown(this.endpoints.disagree('transaction', `the transaction ${hash}`, statements))
  }

  /** The final transactions, asked of a node that shows each. */
  async #transactionsOf(verdicts: readonly Verdict[]): Promise<ReadonlyMap<string, FoundTransaction>> {
    const byEndpoint = new Map<Endpoint, string[]>()
    for (const verdict of verdicts) {
      const endpoint = verdict.kind === 'final_at' ? verdict.final.endpoints[0] : undefined
      if (verdict.kind !== 'final_at' || !endpoint) continue
      byEndpoint.set(endpoint, [...(byEndpoint.get(endpoint) ?? []), verdict.final.hash])
    }
    const found = await Promise.allSettled(
      [...byEndpoint].map(([endpoint, hashes]) => endpoint.ask((connection) => finalTransactions(connection, hashes))),
    )
    return new Map(found.flatMap((result) => (result.status === 'fulfilled' ? [...result.value] : [])))
  }

  async #final(
    final: Final,
    transfer: OpenTransfer,
    found: ReadonlyMap<string, FoundTransaction>,
  ): Promise<Observation> {
    const transaction = found.get(final.hash)
    if (!transaction) return unknown(`${final.hash} is final, but what it cost is not told yet.`)
    try {
      const block = await this.#block(final)
      return { kind: 'final', hash: final.hash, block, ok: final.ok, fee: this.costOf(transaction, transfer) }
    } catch (error) {
      return unknown(`${final.hash} is final, but its block is not told yet: ${describe(error)}`)
    }
  }

  async #block({ slot, endpoints }: Final): Promise<Block> {
    const [endpoint] = endpoints
    assert(endpoint, 'a final transaction is shown by a node')
    const known = this.#blockhashes.get(slot)
    const asked = known ?? endpoint.ask(async (connection) => (await blockHeader(connection, slot)).blockhash)
    this.#blockhashes.set(slot, asked)
    const [oldest] = this.#blockhashes.keys()
    if (this.#blockhashes.size > BLOCKS_REMEMBERED_MAX && oldest !== undefined) this.#blockhashes.delete(oldest)
    const hash = await asked.catch((error: unknown) => {
      this.#blockhashes.delete(slot)
      throw error
    })
    return { height: slot, hash }
  }
}

const hashesOf = ({ signed }: OpenTransfer) => signed.map(({ hash }) => hash)
const unknown = (message: string): Observation => ({ kind: 'unknown', message })
const reasons = ({ missing }: Answers<View>) =>
  missing.map(({ endpoint, error }) => `${endpoint.name}: ${error}`).join('; ')
const statement = ({ hash, status }: Sighting) =>
  `${hash} is final in slot ${status.slot} ${status.err === null ? 'and succeeded' : `and failed with ${JSON.stringify(status.err)}`}`
const rank = ({ status }: Sighting) => status.slot + (status.confirmationStatus === 'confirmed' ? 1e12 : 0)

/** The hash of a block that is not final is left empty: it would have to be asked for and may change. */
function mined({ hash, status }: Sighting): Observation {
  return { kind: 'mined', hash, block: { height: status.slot, hash: '' }, ok: status.err === null }
}

/** Whether the node would know of a transaction in that slot; it counts as if it did when it cannot be asked. */
async function remembers(endpoint: Endpoint, slot: number): Promise<boolean> {
  try {
    return (await endpoint.ask((connection) => connection.getFirstAvailableBlock())) <= slot
  } catch {
    return true
  }
}
