/**
 * Many payouts paid by one transaction of a batch contract, with the two that let it: their nonces, and everything ever
 * signed for them. What becomes of each payout stands in the payout.
 *
 * S1 `prepared` (intent, nonces) and `signed` (bytes) are records of their own, in this order.
 * S2 A step keeps its nonce; there are only more signatures for it.
 */
import { setup } from 'xstate'
import { defineActor } from '../../engine/actor.js'
import { type Decision as DecisionOn, deciderFor } from '../../engine/decide.js'
import { distributionDropped, distributionMoved } from './facts.js'
import type { Block, SignedTransaction } from './transaction.js'

/** In the order of their nonces. Tether wants an allowance to be 0 before it is set, whatever is left of the last one. */
export const stepKinds = ['clear', 'allow', 'pay'] as const
export type StepKind = (typeof stepKinds)[number]

export interface DistributionStep {
  readonly kind: StepKind
  readonly nonce: number
  /** Oldest first; any of them may be on chain. */
  readonly signed: readonly SignedTransaction[]
  readonly mined: { readonly hash: string; readonly block: Block } | null
  /** It was mined for good, or never can be. */
  readonly isOver: boolean
}

/** What one payout gets. */
export interface Share {
  readonly payoutId: string
  /** What the signer and the contract know it by. */
  readonly transferId: string
  readonly to: string
  readonly amount: bigint
}

export interface DistributionInput {
  readonly distributionId: string
  readonly wallet: string
  readonly contract: string
  readonly shares: readonly Share[]
  /** One for each step. */
  readonly nonces: readonly number[]
}

export interface DistributionContext extends Omit<DistributionInput, 'nonces'> {
  readonly steps: readonly DistributionStep[]
}

export type DistributionEvent =
  | { type: 'dropped'; because: string }
  | { type: 'signed'; step: number; transaction: SignedTransaction }
  | { type: 'mined'; step: number; hash: string; block: Block }
  | { type: 'unmined'; step: number }
  | { type: 'ended'; step: number; outcome: 'final' | 'reverted' | 'lost'; hash: string | null }
  | { type: 'closed' }
type Of<Type extends DistributionEvent['type']> = Extract<DistributionEvent, { type: Type }>
type Decision = DecisionOn<DistributionContext>

const decide = deciderFor<DistributionContext, DistributionEvent>()

/** Changes one step and tells where it went. */
function change(
  { distributionId, steps }: DistributionContext,
  index: number,
  state: 'signed' | 'mined' | 'final' | 'reverted' | 'lost',
  hash: string | null,
  over: Partial<DistributionStep>,
): Decision {
  const step = steps[index]
  if (step === undefined) return { context: {} }
  const fact = distributionMoved.make({ distributionId, kind: step.kind, state, nonce: step.nonce, hash })
  return { context: { steps: steps.with(index, { ...step, ...over }) }, facts: [fact] }
}

const sign = (context: DistributionContext, { step, transaction }: Of<'signed'>): Decision =>
  change(context, step, 'signed', transaction.hash, { signed: [...(context.steps[step]?.signed ?? []), transaction] })

const machine = setup({
  types: {
    context: {} as DistributionContext,
    events: {} as DistributionEvent,
    input: {} as DistributionInput,
  },
}).createMachine({
  id: 'distribution',
  initial: 'prepared',
  context: ({ input: { nonces, ...rest } }) => ({
    ...rest,
    steps: nonces.map((nonce, index) => ({
      ...{ kind: stepKinds[index] ?? 'pay', nonce, signed: [], mined: null, isOver: false },
    })),
  }),
  states: {
    prepared: {
      on: {
        signed: { target: 'signed', actions: decide(sign) },
        dropped: {
          target: 'over',
          actions: decide(({ distributionId }, { because }: Of<'dropped'>) => ({
            context: {},
            facts: [distributionDropped.make({ distributionId, because })],
          })),
        },
      },
    },
    signed: {
      on: {
        signed: { actions: decide(sign) },
        mined: {
          actions: decide((context, { step, hash, block }: Of<'mined'>) =>
            change(context, step, 'mined', hash, { mined: { hash, block } }),
          ),
        },
        unmined: {
          actions: decide((context, { step }: Of<'unmined'>) => change(context, step, 'signed', null, { mined: null })),
        },
        ended: {
          actions: decide((context, { step, outcome, hash }: Of<'ended'>) =>
            change(context, step, outcome, hash, { isOver: true }),
          ),
        },
        closed: { target: 'over' },
      },
    },
    over: {},
  },
})

export const distribution = defineActor({ type: 'distribution', machine, residency: 'cached' })
