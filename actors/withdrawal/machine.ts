/**
 * One withdrawal of a member: a transaction that the member's own wallet signed, followed to its end (BJ-T19).
 *
 * S1 Its bytes are kept before anybody sends them, so that they can be sent again as they are.
 * S3 It ends only with what is final: `completed`, or `failed` when it was reverted or can never be mined any more.
 */
import { setup } from 'xstate'
import { defineActor } from '../../engine/actor.js'
import { type Decision as DecisionOn, deciderFor } from '../../engine/decide.js'
import { type WithdrawalState, withdrawalCompleted, withdrawalIdentified, withdrawalMoved } from './facts.js'
import type { SignedTransfer } from './transfer.js'

export const failures = ['reverted', 'nonce_used_by_another', 'expired', 'not_a_withdrawal', 'never_seen'] as const
export type Failure = (typeof failures)[number]

interface Block {
  readonly height: number
  readonly hash: string
}

export interface WithdrawalInput {
  readonly withdrawalId: string
  readonly userId: string
  readonly hash: string
  /** The member's address when it was submitted. */
  readonly from: string
  /** Null while only the hash is known. */
  readonly transfer: SignedTransfer | null
  readonly submittedAt: number
}

export interface WithdrawalContext extends WithdrawalInput {
  readonly block: Block | null
  readonly because: Failure | null
}

export type WithdrawalEvent =
  | { type: 'identified'; transfer: SignedTransfer }
  | { type: 'mined'; block: Block }
  | { type: 'unmined' }
  | { type: 'completed'; block: Block }
  | { type: 'failed'; because: Failure; block: Block | null }
  | { type: 'resubmitted'; at: number }
type Of<Type extends WithdrawalEvent['type']> = Extract<WithdrawalEvent, { type: Type }>
type Decision = DecisionOn<WithdrawalContext>

const decide = deciderFor<WithdrawalContext, WithdrawalEvent>()

/** Changes the context and tells where the withdrawal went. */
function into(
  state: WithdrawalState,
  { withdrawalId }: WithdrawalContext,
  change: Partial<WithdrawalContext>,
  because: Failure | 'reorganised' | null = null,
): Decision {
  const height = change.block?.height ?? null
  return { context: change, facts: [withdrawalMoved.make({ withdrawalId, state, height, because })] }
}

function complete(context: WithdrawalContext, { block }: Of<'completed'>): Decision {
  const { withdrawalId, userId, hash, from, transfer } = context
  const { context: change, facts = [] } = into('completed', context, { block })
  const what = { to: transfer?.to ?? '', amount: transfer?.amount ?? 0n, height: block.height }
  return { context: change, facts: [...facts, withdrawalCompleted.make({ withdrawalId, userId, hash, from, ...what })] }
}

const mined = decide((context, { block }: Of<'mined'>) => into('mined', context, { block }))
const failed = decide((context, { because, block }: Of<'failed'>) =>
  into('failed', context, { because, block }, because),
)

const machine = setup({
  types: { context: {} as WithdrawalContext, events: {} as WithdrawalEvent, input: {} as WithdrawalInput },
}).createMachine({
  id: 'withdrawal',
  initial: 'submitted',
  context: ({ input }) => ({ ...input, block: null, because: null }),
  states: {
    submitted: {
      on: {
        identified: {
          actions: decide(({ withdrawalId }, { transfer }: Of<'identified'>) => ({
            context: { transfer },
            facts: [withdrawalIdentified.make({ withdrawalId, to: transfer.to, amount: transfer.amount })],
          })),
        },
        mined: { target: 'mined', actions: mined },
        completed: { target: 'completed', actions: decide(complete) },
        failed: { target: 'failed', actions: failed },
      },
    },
    mined: {
      on: {
        /** In another block. */
        mined: { actions: mined },
        unmined: {
          target: 'submitted',
          actions: decide((context) => into('submitted', context, { block: null }, 'reorganised')),
        },
        completed: { target: 'completed', actions: decide(complete) },
        failed: { target: 'failed', actions: failed },
      },
    },
    completed: {},
    failed: {
      on: {
        /** Nobody had ever seen it, which is no proof that it was not there. */
        resubmitted: {
          target: 'submitted',
          actions: decide((context, { at }: Of<'resubmitted'>) =>
            into('submitted', context, { because: null, submittedAt: at }),
          ),
        },
      },
    },
  },
})

export const withdrawal = defineActor({ type: 'withdrawal', machine, residency: 'cached' })
