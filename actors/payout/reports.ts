/**
 * What the pipeline asks of the core and tells it: which payouts to sign with which nonces, and what became of them.
 *
 * S1 `prepare` comes before the signer is asked, `signed` before anything is sent. S3 Only what is final ends a payout.
 * S4 Limits a minute and in flight are kept here, whoever asks.
 */
import { z } from 'zod'
import { defineCommand } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import type { ReadScope, Turn } from '../../engine/turn.js'
import { type Pool, pool } from '../treasury/facts.js'
import { nonceToGive, preparedWithinMinute, wallet } from '../wallet/machine.js'
import { noteOpen, type PayoutRef } from './admission.js'
import { finish, lose, type PayoutWorld, putBack } from './endings.js'
import { type PayoutContext, payout, transferIdOf } from './machine.js'
import { block, signedTransaction } from './transaction.js'

/** Payouts prepared or reported on in one turn. */
export const PAYOUTS_PER_TURN_MAX = 100

/** What happened to one payout. */
const report = z.discriminatedUnion('type', [
  /** It cannot be paid as it is: the chain or the signer would refuse it. Nothing was signed. */
  z.object({ type: z.literal('refused'), payoutId: z.string(), because: z.string() }),
  /** Nothing was signed, and a lower nonce became free. */
  z.object({ type: z.literal('unprepared'), payoutId: z.string() }),
  /** For this transfer with this nonce, of which `after` was the last signature. */
  z.object({
    type: z.literal('signed'),
    payoutId: z.string(),
    transferId: z.string(),
    nonce: z.number().nullable(),
    after: z.string().nullable(),
    transaction: signedTransaction,
  }),
  z.object({ type: z.literal('mined'), payoutId: z.string(), hash: z.string(), block }),
  z.object({ type: z.literal('unmined'), payoutId: z.string() }),
  z.object({
    type: z.literal('final'),
    payoutId: z.string(),
    hash: z.string(),
    block,
    ok: z.boolean(),
    fee: z.bigint(),
  }),
  z.object({ type: z.literal('lost'), payoutId: z.string(), because: z.string() }),
])
export type Report = z.output<typeof report>

/** A payout as the pipeline sees it. */
export interface PreparedPayout {
  readonly payoutId: string
  readonly state: string
  /** What the chain and the signer know it by. */
  readonly transferId: string
  readonly to: string
  readonly amount: bigint
  readonly nonce: number | null
  readonly signed: PayoutContext['signed']
  readonly mined: PayoutContext['mined']
  /** That pays it, so that nothing is to be done for the payout itself. */
  readonly distribution: string | null
}

export function reportCommands(world: PayoutWorld) {
  const { open } = world

  /** Gives nonces to queued payouts, in this order, as far as the limits allow; others stay queued. */
  const prepare = defineCommand({
    name: 'payout.prepare',
    input: z.object({ wallet: pool, payoutIds: z.array(z.string()).max(PAYOUTS_PER_TURN_MAX) }),
    who: 'system',
    actors: ({ payoutIds }) => payoutIds.map((id) => payout.ref(id)),
    handle: (turn, { wallet: name, payoutIds }) => {
      const from = wallet.ref(name)
      const room = roomFor(turn, world, name)
      const prepared: PreparedPayout[] = []
      for (const payoutId of payoutIds) {
        if (prepared.length >= room) break
        const ref = payout.ref(payoutId)
        // It may have been cancelled since the pipeline looked.
        if (turn.value(ref) !== 'queued') continue
        const nonce = nonceToGive(turn.context(from))
        turn.step(from, { type: 'nonce.allocated', at: turn.at, payouts: 1 })
        turn.step(ref, { type: 'prepared', nonce, distribution: null })
        noteOpen(turn, open, ref, 'in_flight')
        prepared.push(preparedOf(turn, ref))
      }
      return { prepared }
    },
  })

  const tell = defineCommand({
    name: 'payout.report',
    input: z.object({ reports: z.array(report).max(PAYOUTS_PER_TURN_MAX) }),
    who: 'system',
    actors: ({ reports }) => reports.map(({ payoutId }) => payout.ref(payoutId)),
    handle: (turn, { reports }) => {
      for (const each of reports) take(turn, payout.ref(each.payoutId), each)
      return null
    },
  })

  function take(turn: Turn, ref: PayoutRef, told: Report): void {
    const before = turn.context(ref)
    if (before.distribution != null) throw paidAlong(told.payoutId)
    switch (told.type) {
      case 'refused':
      case 'unprepared':
        undo(turn, ref, told)
        return
      case 'signed':
        takeSigned(turn, ref, told)
        return
      case 'mined':
        if (before.mined?.hash === told.hash && before.mined.block.hash === told.block.hash) return
        turn.step(ref, { type: 'mined', hash: told.hash, block: told.block })
        return
      case 'unmined':
        turn.step(ref, { type: 'unmined' })
        return
      case 'final':
        finish(turn, open, ref, told)
        return
      case 'lost':
        lose(turn, world, ref, told.because)
    }
  }

  /** Only what was signed for the payout as it is: anything else must not be sent (S2, S4: one pipeline a wallet). */
  function takeSigned(turn: Turn, ref: PayoutRef, told: Extract<Report, { type: 'signed' }>): void {
    const { payoutId, nonce, after, transaction } = told
    const context = turn.context(ref)
    if (context.signed.some(({ hash }) => hash === transaction.hash)) return
    const isAsAsked =
      transferIdOf(context) === told.transferId &&
      context.nonce === nonce &&
      (context.signed.at(-1)?.hash ?? null) === after
    if (isAsAsked && turn.step(ref, { type: 'signed', transaction })) return
    throw new DomainError('conflict', 'signed_for_another', `Payout ${payoutId} is not what this was signed for.`)
  }

  /** Nothing was signed: its nonce is free for another. */
  function undo(turn: Turn, ref: PayoutRef, told: Extract<Report, { type: 'refused' | 'unprepared' }>): void {
    const { wallet: name, nonce } = turn.context(ref)
    if (!putBack(turn, world, ref, told.type === 'refused' ? told.because : null)) return
    if (nonce !== null) turn.step(wallet.ref(name), { type: 'nonce.freed', nonce })
  }

  return { prepare, tell }
}

/** So many payouts may be prepared now. Throws `wallet_paused` (S4). */
export function roomFor(turn: Turn, { rules, open }: PayoutWorld, name: Pool): number {
  const from = wallet.ref(name)
  const context = turn.context(from)
  if (turn.value(from) === 'paused') {
    throw new DomainError('conflict', 'wallet_paused', `The wallet is paused: ${context.pausedBecause}.`)
  }
  const inMinute = rules.perMinuteMax - preparedWithinMinute(context, turn.at)
  return Math.min(inMinute, rules.inFlightMax - open.total(name, 'in_flight').count)
}

const paidAlong = (payoutId: string) =>
  new DomainError('conflict', 'paid_along', `Payout ${payoutId} is paid by a distribution, and goes where that goes.`)

/** How the pipeline sees a payout. */
export function preparedOf(scope: ReadScope, ref: PayoutRef): PreparedPayout {
  const context = scope.context(ref)
  const { payoutId, to, amount, nonce, signed, mined, distribution = null } = context
  const state = String(scope.value(ref))
  const transferId = transferIdOf(context)
  return { payoutId, state, transferId, to: to ?? '', amount, nonce, signed, mined, distribution }
}
