/**
 * What the pipeline asks and tells of distributions: payouts that are paid together. Each payout keeps its own state and
 * ends by its own outcome, in the turn in which its transaction is heard of.
 *
 * S1 `distribute` comes before the signer is asked, `signed` before anything is sent. S2 A payout in it is paid in no
 * other way until the transaction is final or lost, or nothing was signed. S4 The limits are those of any payout.
 */
import { z } from 'zod'
import { assert } from '../../engine/assert.js'
import { defineCommand, defineQuery } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import type { ReadScope, Turn } from '../../engine/turn.js'
import { type Pool, pool } from '../treasury/facts.js'
import { nonceToGive, wallet } from '../wallet/machine.js'
import { noteOpen } from './admission.js'
import { type DistributionContext, type DistributionStep, distribution, type Share, stepKinds } from './distribution.js'
import { finish, lose, type PayoutWorld, pauseIfForeign, putBack } from './endings.js'
import { distributionPrepared } from './facts.js'
import { payout, transferIdOf } from './machine.js'
import { PAYOUTS_PER_TURN_MAX, roomFor } from './reports.js'
import { block, signedTransaction } from './transaction.js'

/** Of a payout in a transaction that is final. `duplicate`: an earlier one paid it. */
const outcome = z.enum(['paid', 'failed', 'duplicate'])

const report = z.discriminatedUnion('type', [
  /** Nothing was signed: because of one payout, which is held, or else of the whole. */
  z.object({ type: z.literal('dropped'), because: z.string(), refused: z.string().nullable() }),
  /** For this step, of which `after` was the last signature. */
  z.object({
    type: z.literal('signed'),
    step: z.number(),
    after: z.string().nullable(),
    transaction: signedTransaction,
  }),
  z.object({ type: z.literal('mined'), step: z.number(), hash: z.string(), block }),
  z.object({ type: z.literal('unmined'), step: z.number() }),
  z.object({
    ...{ type: z.literal('final'), step: z.number(), hash: z.string(), block, ok: z.boolean(), fee: z.bigint() },
    /** In the order of the payouts; none for the steps that pay nobody. */
    outcomes: z.array(outcome),
  }),
  z.object({ type: z.literal('lost'), step: z.number(), because: z.string() }),
])
export type DistributionReport = z.output<typeof report>
type Told<Type extends DistributionReport['type']> = Extract<DistributionReport, { type: Type }>
type Ref = ReturnType<typeof distribution.ref>

/** A distribution as the pipeline sees it. */
export interface PreparedDistribution extends DistributionContext {
  readonly state: string
}

export function distributionCommands(world: PayoutWorld) {
  const { rules, open } = world

  /**
   * Prepares queued payouts to be paid together, in this order, as far as the limits allow; null when that is fewer than
   * are worth it. Throws `wallet_paused` and `distribution_under_way`.
   */
  const distribute = defineCommand({
    name: 'payout.distribute',
    input: z.object({
      wallet: pool,
      distributionId: z.string(),
      contract: z.string(),
      payoutIds: z.array(z.string()).max(PAYOUTS_PER_TURN_MAX),
    }),
    who: 'system',
    actors: ({ distributionId, payoutIds }) => [
      distribution.newRef(distributionId),
      ...payoutIds.map((id) => payout.ref(id)),
    ],
    handle: (turn, { wallet: name, distributionId, contract, payoutIds }) => {
      const from = wallet.ref(name)
      const room = roomFor(turn, world, name)
      if (turn.context(from).distribution != null) {
        throw new DomainError('conflict', 'distribution_under_way', 'The wallet distributes already.')
      }
      const refs = payoutIds.map((id) => payout.ref(id)).filter((each) => turn.value(each) === 'queued')
      const taken = refs.slice(0, Math.max(0, room))
      if (taken.length < rules.batchAtLeast) return { distribution: null }
      const nonces = stepKinds.map((kind) => allocate(turn, name, kind === 'pay' ? taken.length : 0))
      for (const each of taken) {
        turn.step(each, { type: 'prepared', nonce: nonces.at(-1) ?? null, distribution: distributionId })
        noteOpen(turn, open, each, 'in_flight')
      }
      const shares = taken.map((each) => shareOf(turn, each))
      const ref = distribution.newRef(distributionId)
      turn.create(ref, { distributionId, wallet: name, contract, shares, nonces })
      turn.step(from, { type: 'distributing', distribution: distributionId })
      const amount = shares.reduce((sum, share) => sum + share.amount, 0n)
      const ids = shares.map(({ payoutId }) => payoutId)
      turn.emit(distributionPrepared.make({ distributionId, wallet: name, contract, nonces, payoutIds: ids, amount }))
      return { distribution: preparedOf(turn, ref) }
    },
  })

  const reportDistribution = defineCommand({
    name: 'payout.report_distribution',
    input: z.object({
      distributionId: z.string(),
      /** All of its payouts. */
      payoutIds: z.array(z.string()).max(PAYOUTS_PER_TURN_MAX),
      reports: z.array(report).max(stepKinds.length),
    }),
    who: 'system',
    actors: ({ distributionId, payoutIds }) => [
      distribution.ref(distributionId),
      ...payoutIds.map((id) => payout.ref(id)),
    ],
    handle: (turn, { distributionId, reports }) => {
      const ref = distribution.ref(distributionId)
      for (const each of reports) take(turn, ref, each)
      const { wallet: name, steps } = turn.context(ref)
      if (steps.every(({ isOver }) => isOver) && turn.step(ref, { type: 'closed' })) free(turn, name)
      return null
    },
  })

  function take(turn: Turn, ref: Ref, told: DistributionReport): void {
    switch (told.type) {
      case 'dropped':
        drop(turn, ref, told)
        return
      case 'signed':
        takeSigned(turn, ref, told)
        return
      case 'mined':
      case 'unmined':
        place(turn, ref, told)
        return
      case 'final':
        end(turn, ref, told)
        return
      case 'lost':
        loseAll(turn, ref, told)
    }
  }

  function loseAll(turn: Turn, ref: Ref, { step, because }: Told<'lost'>): void {
    if (!over(turn, ref, step, 'lost', null)) return
    for (const { payoutId } of paidBy(turn, ref, step)) lose(turn, world, payout.ref(payoutId), because)
    pauseIfForeign(turn, turn.context(ref).wallet, because)
  }

  /** Its nonces are free for others, and its payouts as before but for the one that is refused. */
  function drop(turn: Turn, ref: Ref, { because, refused, type }: Told<'dropped'>): void {
    const { wallet: name, steps, shares } = turn.context(ref)
    if (!turn.step(ref, { type, because })) return
    for (const { payoutId } of shares) {
      putBack(turn, world, payout.ref(payoutId), payoutId === refused ? because : null)
    }
    for (const { nonce } of steps) turn.step(wallet.ref(name), { type: 'nonce.freed', nonce })
    free(turn, name)
  }

  /** Only what was signed for the step as it is: anything else must not be sent (S2, S4: one pipeline a wallet). */
  function takeSigned(turn: Turn, ref: Ref, { type, step, after, transaction }: Told<'signed'>): void {
    const { signed } = stepOf(turn, ref, step)
    if (signed.some(({ hash }) => hash === transaction.hash)) return
    const isAsAsked = (signed.at(-1)?.hash ?? null) === after
    if (!isAsAsked || !turn.step(ref, { type, step, transaction })) {
      throw new DomainError(
        'conflict',
        'signed_for_another',
        `Distribution ${ref.key} is not what this was signed for.`,
      )
    }
    const { hash } = transaction
    for (const each of paidBy(turn, ref, step)) turn.step(payout.ref(each.payoutId), { type: 'carried', hash })
  }

  /** Each payout by its own outcome; the fee is divided among them, and the first bears what is left over. */
  function end(turn: Turn, ref: Ref, { step, hash, block: at, ok, fee, outcomes }: Told<'final'>): void {
    const shares = paidBy(turn, ref, step)
    assert(outcomes.length === shares.length, `${shares.length} payouts have ${outcomes.length} outcomes`)
    if (!over(turn, ref, step, ok || outcomes.includes('paid') ? 'final' : 'reverted', hash)) return
    const each = shares.length === 0 ? 0n : fee / BigInt(shares.length)
    shares.forEach(({ payoutId }, index) => {
      const own = index === 0 ? fee - each * BigInt(shares.length - 1) : each
      const told = { hash, block: at, ok: outcomes[index] !== 'failed', fee: own }
      finish(turn, open, payout.ref(payoutId), told, outcomes[index] === 'duplicate')
    })
  }

  return { distribute, reportDistribution }
}

export function distributionQueries() {
  const distributionUnderWay = defineQuery({
    name: 'distribution.under_way',
    actors: () => [],
    read: (scope, { wallet: name }: { wallet: Pool }) => scope.context(wallet.ref(name)).distribution ?? null,
  })

  const distributionDetail = defineQuery({
    name: 'distribution.detail',
    actors: ({ distributionId }) => [distribution.ref(distributionId)],
    read: (scope, { distributionId }: { distributionId: string }) =>
      preparedOf(scope, distribution.ref(distributionId)),
  })

  return { distributionUnderWay, distributionDetail }
}

function allocate(turn: Turn, name: Pool, payouts: number): number {
  const from = wallet.ref(name)
  const nonce = nonceToGive(turn.context(from))
  assert(nonce !== null, 'only wallets on chains with nonces have a batch contract')
  turn.step(from, { type: 'nonce.allocated', at: turn.at, payouts })
  return nonce
}

function shareOf(turn: Turn, ref: ReturnType<typeof payout.ref>): Share {
  const context = turn.context(ref)
  const { payoutId, to, amount } = context
  assert(to !== null, `payout ${payoutId} was queued without an address`)
  return { payoutId, transferId: transferIdOf(context), to, amount }
}

function stepOf(turn: Turn, ref: Ref, index: number): DistributionStep {
  const step = turn.context(ref).steps[index]
  assert(step !== undefined, `${ref.id} has no step ${index}`)
  return step
}

/** The payouts that a step pays. */
const paidBy = (turn: Turn, ref: Ref, index: number): readonly Share[] =>
  stepOf(turn, ref, index).kind === 'pay' ? turn.context(ref).shares : []

/** In a block that may be replaced, or in none any more: so are its payouts. */
function place(turn: Turn, ref: Ref, told: Told<'mined' | 'unmined'>): void {
  const { mined } = stepOf(turn, ref, told.step)
  const isKnown = told.type === 'mined' && mined?.hash === told.hash && mined.block.hash === told.block.hash
  if (isKnown || !turn.step(ref, told)) return
  for (const { payoutId } of paidBy(turn, ref, told.step)) turn.step(payout.ref(payoutId), told)
}

/** Returns whether the step was not over before. */
function over(turn: Turn, ref: Ref, step: number, outcome: 'final' | 'reverted' | 'lost', hash: string | null) {
  return !stepOf(turn, ref, step).isOver && turn.step(ref, { type: 'ended', step, outcome, hash })
}

/** The wallet may distribute again. */
function free(turn: Turn, name: string): void {
  turn.step(wallet.ref(name), { type: 'distributing', distribution: null })
}

function preparedOf(scope: ReadScope, ref: Ref): PreparedDistribution {
  return { ...scope.context(ref), state: String(scope.value(ref)) }
}
