/**
 * One payment, from the request to the block that nobody can undo. Everything ever signed for it is kept here.
 *
 * S1 `prepared` (intent, nonce), `signed` (bytes) and what follows are each a record of their own, in this order.
 * S2 A new nonce is given only after `lost` or a final revert; until then there are only more signatures for the old one.
 * S3 `signed` ends in `mined`, or in `lost` when the chain says so for good. Nothing else leads out of it.
 */
import { setup } from 'xstate'
import { defineActor } from '../../engine/actor.js'
import { type Decision as DecisionOn, deciderFor } from '../../engine/decide.js'
import { type PayoutKind, type PayoutState, payoutFailed, payoutMoved, payoutRetried, payoutSettled } from './facts.js'
import type { Block, SignedTransaction } from './transaction.js'

export interface PayoutInput {
  readonly payoutId: string
  readonly wallet: string
  readonly kind: PayoutKind
  readonly reference: string
  /** Key of the payee: a member, or an address. */
  readonly payee: string
  readonly userId: string | null
  /** Minor units. */
  readonly amount: bigint
  readonly requestedAt: number
  /** How many administrators must agree before it is paid; more may be asked for later. */
  readonly approvalsNeeded: number
  /** Whose money it is, if it is not the pool's. */
  readonly campaign?: string | undefined
}

export interface PayoutContext extends PayoutInput {
  readonly to: string | null
  /** Counts retries after a failure: each is another transfer to the chain. */
  readonly attempt: number
  readonly approvedBy: readonly string[]
  /** Somebody looked at it, so limits do not hold it again (BJ-T18). */
  readonly isReviewed: boolean
  readonly nonce: number | null
  /** That it is paid by; what is signed stands there. Payouts of before there were any lack it. */
  readonly distribution?: string | null
  /** Oldest first; any of them may be on chain. */
  readonly signed: readonly SignedTransaction[]
  readonly mined: { readonly hash: string; readonly block: Block } | null
}

export type PayoutEvent =
  | { type: 'addressed'; to: string }
  | { type: 'held'; because: string; approvalsNeeded: number }
  | { type: 'queued' }
  | { type: 'approved'; by: string }
  | { type: 'cancelled'; by: string; because: string }
  | { type: 'prepared'; nonce: number | null; distribution: string | null }
  | { type: 'unprepared' }
  | { type: 'refused'; because: string; approvalsNeeded: number }
  | { type: 'signed'; transaction: SignedTransaction }
  /** By a transaction of its distribution. */
  | { type: 'carried'; hash: string }
  | { type: 'mined'; hash: string; block: Block }
  | { type: 'unmined' }
  | { type: 'settled'; hash: string; block: Block; fee: bigint; at: number }
  | { type: 'reverted'; hash: string; block: Block }
  | { type: 'lost'; because: string; approvalsNeeded: number }
  | { type: 'retried'; by: string }
type Of<Type extends PayoutEvent['type']> = Extract<PayoutEvent, { type: Type }>
type Decision = DecisionOn<PayoutContext>

const decide = deciderFor<PayoutContext, PayoutEvent>()

/** The fact of a step into `state`. */
function moved(
  context: PayoutContext,
  state: PayoutState,
  more: { because?: string; by?: string; hash?: string; height?: number } = {},
) {
  const { payoutId, attempt, to, nonce } = context
  const { because = null, by = null, hash = null, height = null } = more
  return payoutMoved.make({ payoutId, attempt, state, to, nonce, hash, height, because, by })
}

function transferOf({ payoutId, wallet, kind, reference, userId, amount }: PayoutContext) {
  return { payoutId, wallet, kind, reference, userId, amount }
}

/** Changes the context and tells where the payout went. */
function into(state: PayoutState, context: PayoutContext, change: Partial<PayoutContext> = {}, more = {}): Decision {
  return { context: change, facts: [moved({ ...context, ...change }, state, more)] }
}

/** Of what was never prepared. */
const unsigned = { nonce: null, distribution: null, signed: [], mined: null }

const carry = (context: PayoutContext, { hash }: Of<'carried'>) => into('signed', context, {}, { hash })

function hold(context: PayoutContext, { because, approvalsNeeded }: { because: string; approvalsNeeded: number }) {
  return into('review', context, { approvalsNeeded, approvedBy: [], isReviewed: false }, { because })
}

/** What was prepared without having been signed leaves nothing behind. */
function holdAnew(context: PayoutContext, event: { because: string; approvalsNeeded: number }): Decision {
  const { because, approvalsNeeded } = event
  const change = { approvalsNeeded, approvedBy: [], isReviewed: false, ...unsigned }
  return into('review', context, change, { because })
}

/** Whatever was signed for it can never be mined: what is paid instead is another transfer, with another nonce (S2). */
function lose(context: PayoutContext, event: Of<'lost'>): Decision {
  const { context: change, facts } = holdAnew({ ...context, attempt: context.attempt + 1 }, event)
  return { context: { ...change, attempt: context.attempt + 1 }, facts: facts ?? [] }
}

function settle(context: PayoutContext, { hash, block, fee, at }: Of<'settled'>): Decision {
  const settled = payoutSettled.make({
    ...transferOf(context),
    to: context.to ?? '',
    hash,
    height: block.height,
    fee,
    seconds: Math.round((at - context.requestedAt) / 1_000),
  })
  const { context: change, facts = [] } = into(
    'settled',
    context,
    { mined: { hash, block } },
    { hash, height: block.height },
  )
  return { context: change, facts: [...facts, settled] }
}

function fail(context: PayoutContext, because: string, hash: string | null, height: number | null): Decision {
  const failed = payoutFailed.make({ ...transferOf(context), to: context.to, hash, state: 'failed', because })
  const more = { because, ...(hash === null ? {} : { hash }), ...(height === null ? {} : { height }) }
  const { context: change, facts = [] } = into('failed', context, {}, more)
  return { context: change, facts: [...facts, failed] }
}

function cancel(context: PayoutContext, { by, because }: Of<'cancelled'>): Decision {
  const failed = payoutFailed.make({ ...transferOf(context), to: context.to, hash: null, state: 'cancelled', because })
  const { context: change, facts = [] } = into('cancelled', context, {}, { because, by })
  return { context: change, facts: [...facts, failed] }
}

function retry(context: PayoutContext, { by }: Of<'retried'>): Decision {
  const anew = { to: null, ...unsigned, approvedBy: [], isReviewed: false }
  const { context: change, facts = [] } = into('waiting', context, { ...anew, attempt: context.attempt + 1 }, { by })
  return { context: change, facts: [...facts, payoutRetried.make({ ...transferOf(context), by })] }
}

const machine = setup({
  types: { context: {} as PayoutContext, events: {} as PayoutEvent, input: {} as PayoutInput },
}).createMachine({
  id: 'payout',
  initial: 'waiting',
  context: ({ input }) => ({
    ...input,
    to: null,
    attempt: 1,
    approvedBy: [],
    isReviewed: false,
    ...unsigned,
  }),
  states: {
    /** For an address to pay to. */
    waiting: {
      on: {
        addressed: { target: 'addressed', actions: decide((_, { to }: Of<'addressed'>) => ({ context: { to } })) },
        cancelled: { target: 'cancelled', actions: decide(cancel) },
      },
    },
    /** Within the turn that decides whether limits hold it. */
    addressed: {
      on: {
        held: { target: 'review', actions: decide((context, event: Of<'held'>) => hold(context, event)) },
        queued: { target: 'queued', actions: decide((context) => into('queued', context)) },
      },
    },
    review: {
      on: {
        approved: {
          actions: decide((context, { by }: Of<'approved'>) => ({
            context: { approvedBy: [...context.approvedBy, by], isReviewed: true },
          })),
        },
        queued: { target: 'queued', actions: decide((context) => into('queued', context)) },
        cancelled: { target: 'cancelled', actions: decide(cancel) },
      },
    },
    queued: {
      on: {
        prepared: {
          target: 'prepared',
          actions: decide((context, { nonce, distribution }: Of<'prepared'>) =>
            into('prepared', context, { nonce, distribution }),
          ),
        },
        refused: { target: 'review', actions: decide((context, event: Of<'refused'>) => holdAnew(context, event)) },
        cancelled: { target: 'cancelled', actions: decide(cancel) },
      },
    },
    prepared: {
      on: {
        unprepared: {
          target: 'queued',
          actions: decide((context) => into('queued', context, unsigned, { because: 'renumbered' })),
        },
        carried: { target: 'signed', actions: decide(carry) },
        signed: {
          target: 'signed',
          actions: decide((context, { transaction }: Of<'signed'>) =>
            into('signed', context, { signed: [transaction] }, { hash: transaction.hash }),
          ),
        },
        refused: { target: 'review', actions: decide((context, event: Of<'refused'>) => holdAnew(context, event)) },
      },
    },
    signed: {
      on: {
        carried: { actions: decide(carry) },
        signed: {
          actions: decide((context, { transaction }: Of<'signed'>) =>
            into('signed', context, { signed: [...context.signed, transaction] }, { hash: transaction.hash }),
          ),
        },
        mined: {
          target: 'mined',
          actions: decide((context, { hash, block }: Of<'mined'>) =>
            into('mined', context, { mined: { hash, block } }, { hash, height: block.height }),
          ),
        },
        settled: { target: 'settled', actions: decide(settle) },
        reverted: {
          target: 'failed',
          actions: decide((context, { hash, block }: Of<'reverted'>) => fail(context, 'reverted', hash, block.height)),
        },
        lost: { target: 'review', actions: decide(lose) },
      },
    },
    mined: {
      on: {
        /** In another block, or by another of its transactions. */
        mined: {
          actions: decide((context, { hash, block }: Of<'mined'>) =>
            into('mined', context, { mined: { hash, block } }, { hash, height: block.height }),
          ),
        },
        unmined: {
          target: 'signed',
          actions: decide((context) => into('signed', context, { mined: null }, { because: 'reorganised' })),
        },
        settled: { target: 'settled', actions: decide(settle) },
        reverted: {
          target: 'failed',
          actions: decide((context, { hash, block }: Of<'reverted'>) => fail(context, 'reverted', hash, block.height)),
        },
        lost: { target: 'review', actions: decide(lose) },
      },
    },
    settled: {},
    failed: {
      on: {
        retried: {
          target: 'waiting',
          actions: decide(retry),
        },
      },
    },
    cancelled: {},
  },
})

export const payout = defineActor({ type: 'payout', machine, residency: 'cached' })

/** The id of the transfer on chain: every attempt is a transfer of its own to the signer and to a batch contract. */
export function transferIdOf({ payoutId, attempt }: Pick<PayoutContext, 'payoutId' | 'attempt'>): string {
  return attempt === 1 ? payoutId : `${payoutId}#${attempt}`
}
