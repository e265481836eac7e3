/**
 * Whether transactions that no node knows can never land any more. Paying again rests on this, so everything has to
 * say so, on every node that is configured:
 *
 * E1 its final block is past the last one that could have taken any of them, by a margin;
 * E2 it was asked for the transactions after that block was final, by a machine that had that block too;
 * E3 it remembers every block that could have taken them;
 * E4 it takes none of their blockhashes any more, whatever was written down as their last valid height.
 */
import type { Connection } from '@solana/web3.js'
import { assert } from '../../engine/assert.js'
import type { OpenTransfer } from '../chain.js'
import { historyBegins } from './blocks.js'
import { describe, type Endpoint } from './endpoint.js'
import type { Answers, Endpoints } from './endpoints.js'
import type { View } from './views.js'

/** Blocks in which a transaction may use a blockhash. */
const BLOCKHASH_LIFE_BLOCKS = 150
/** Beyond the last valid height, for machines behind one address that are not equally far. */
const MARGIN_BLOCKS = 10

export type Expiry =
  | { readonly kind: 'expired' }
  | { readonly kind: 'may_land' }
  | { readonly kind: 'unproven'; readonly message: string }

interface Life {
  readonly blockhashes: readonly string[]
  readonly firstHeight: number
  readonly lastHeight: number
}

export function lifeOf(transfer: OpenTransfer): Life {
  const lives = transfer.signed.map(({ terms }) => {
    assert(terms.kind === 'solana', `payout ${transfer.payoutId} was signed for Solana`)
    return terms
  })
  const lastHeights = lives.map(({ lastValidBlockHeight }) => lastValidBlockHeight)
  return {
    blockhashes: [...new Set(lives.map(({ blockhash }) => blockhash))],
    firstHeight: Math.max(0, Math.min(...lastHeights) - BLOCKHASH_LIFE_BLOCKS),
    lastHeight: Math.max(...lastHeights),
  }
}

/** Judges one round of views. It asks nodes further only about what seems expired, each question once. */
export class ExpiryJudge {
  readonly #began = new Map<Endpoint, Promise<number>>()
  readonly #dead = new Map<string, Promise<boolean>>()

  constructor(
    private readonly endpoints: Endpoints,
    private readonly answers: Answers<View>,
  ) {}

  /** To be asked only of transfers that no view shows. */
  async judge(transfer: OpenTransfer): Promise<Expiry> {
    const life = lifeOf(transfer)
    const { given, missing } = this.answers
    const isPast = given.every(({ answer }) => answer.finalHeight > life.lastHeight + MARGIN_BLOCKS) // E1
    if (!isPast) return { kind: 'may_land' }
    if (missing.length > 0) {
      const names = missing.map(({ endpoint, error }) => `${endpoint.name} (${error})`).join(', ')
      return unproven(`every node has to say so, and these did not answer: ${names}`)
    }
    for (const { endpoint, answer } of given) {
      const doubt = await this.#doubt(endpoint, answer, life)
      if (doubt !== null) return unproven(doubt)
    }
    return { kind: 'expired' }
  }

  async #doubt(endpoint: Endpoint, view: View, life: Life): Promise<string | null> {
    if (view.statusSlot < view.finalSlot) return `${endpoint.name} looked in a machine that is behind` // E2
    try {
      const began = await once(this.#began, endpoint, () => endpoint.ask(historyBegins))
      if (began > life.firstHeight) return `the history of ${endpoint.name} begins at height ${began} only` // E3
      for (const blockhash of life.blockhashes) {
        const isDead = await once(this.#dead, `${endpoint.name} ${blockhash}`, () =>
          endpoint.ask((connection) => isBlockhashDead(connection, blockhash, view.finalSlot)),
        )
        if (isDead) continue
        return this.endpoints.disagree('blockhash', `the blockhash ${blockhash}`, [
          [endpoint, 'it is valid beyond the height that was told when it was used'],
        ]) // E4
      }
      return null
    } catch (error) {
      return `${endpoint.name} did not answer: ${describe(error)}`
    }
  }
}

async function isBlockhashDead(connection: Connection, blockhash: string, finalSlot: number): Promise<boolean> {
  const { value } = await connection.isBlockhashValid(blockhash, { commitment: 'finalized', minContextSlot: finalSlot })
  return !value
}

const unproven = (why: string): Expiry => ({
  kind: 'unproven',
  message: `No node shows it and its time is over, but that is not proven: ${why}.`,
})

function once<Key, Answer>(known: Map<Key, Promise<Answer>>, key: Key, ask: () => Promise<Answer>): Promise<Answer> {
  const answer = known.get(key) ?? ask()
  known.set(key, answer)
  return answer
}
