/**
 * A campaign: money of a pool, set aside for prizes of some types while it runs. The money stays on the pool's wallet.
 * L3 its accounts never go below zero, so it holds and pays no more than was moved into it.
 */
import { setup } from 'xstate'
import { z } from 'zod'
import { defineActor } from '../../engine/actor.js'
import { type Decision, deciderFor } from '../../engine/decide.js'
import type { ReadScope } from '../../engine/turn.js'
import type { CompType } from '../programs/rules.js'
import type { Pool } from '../treasury/facts.js'
import { campaignClosed, campaignRaised } from './facts.js'

/** What a campaign can pay for: prizes that are money. */
export const campaignCompType = z.enum(['crypto_100', 'crypto_1k', 'crypto_10k', 'new_member_guarantee'])
type CampaignCompType = z.output<typeof campaignCompType>

export interface CampaignInput {
  readonly id: string
  readonly pool: Pool
  readonly compTypes: readonly CampaignCompType[]
  /** All that was ever moved into it, in minor units. */
  readonly budget: bigint
  readonly openedAt: number
  /** Milliseconds; it runs from `startsAt` until before `endsAt`, or until it is closed. */
  readonly startsAt: number
  readonly endsAt: number | null
}

export interface CampaignContext extends CampaignInput {
  readonly closedAt: number | null
  /** All that ever went back to the pool. */
  readonly returned: bigint
}

type CampaignEvent =
  | { type: 'raised'; amount: bigint; by: string }
  | { type: 'closed'; at: number; returned: bigint; by: string }
type Of<Type extends CampaignEvent['type']> = Extract<CampaignEvent, { type: Type }>

const decide = deciderFor<CampaignContext, CampaignEvent>()

function raise({ id, budget }: CampaignContext, { amount, by }: Of<'raised'>): Decision<CampaignContext> {
  return { context: { budget: budget + amount }, facts: [campaignRaised.make({ campaign: id, amount, by })] }
}

function close(context: CampaignContext, { at, returned, by }: Of<'closed'>): Decision<CampaignContext> {
  return {
    context: { closedAt: context.closedAt ?? at, returned: context.returned + returned },
    facts: [campaignClosed.make({ campaign: context.id, returned, by })],
  }
}

const machine = setup({
  types: { context: {} as CampaignContext, events: {} as CampaignEvent, input: {} as CampaignInput },
}).createMachine({
  id: 'campaign',
  initial: 'open',
  context: ({ input }) => ({ ...input, closedAt: null, returned: 0n }),
  // A closed one still owes what was won while it ran.
  on: { raised: { actions: decide(raise) } },
  states: {
    open: { on: { closed: { target: 'closed', actions: decide(close) } } },
    closed: { on: { closed: { actions: decide(close) } } },
  },
})

export const campaign = defineActor({
  type: 'campaign',
  machine,
  residency: 'pinned',
  accounts: {
    /** Not won yet, or come back from a payout that failed. */
    available: { currency: 'USDT', mayGoNegative: false },
    /** Set aside for prizes that are not paid yet. */
    held: { currency: 'USDT', mayGoNegative: false },
    /** All that was ever paid out. */
    paid: { currency: 'USDT', mayGoNegative: false },
  },
})

interface RegisterContext {
  /** Ids, oldest first. */
  readonly open: readonly string[]
  readonly closed: readonly string[]
}

type RegisterEvent = { type: 'opened'; id: string } | { type: 'closed'; id: string }

const decideRegister = deciderFor<RegisterContext, RegisterEvent>()

const registerMachine = setup({
  types: { context: {} as RegisterContext, events: {} as RegisterEvent },
}).createMachine({
  id: 'campaigns',
  initial: 'kept',
  context: { open: [], closed: [] },
  states: {
    kept: {
      on: {
        opened: { actions: decideRegister(({ open }, { id }) => ({ context: { open: [...open, id] } })) },
        closed: {
          actions: decideRegister(({ open, closed }, { id }) => ({
            context: { open: open.filter((other) => other !== id), closed: [...closed, id] },
          })),
        },
      },
    },
  },
})

/** Which campaigns there are. */
export const campaigns = defineActor({ type: 'campaigns', machine: registerMachine, residency: 'pinned' })
export const campaignRegister = campaigns.ref('all')

const none: RegisterContext = { open: [], closed: [] }

/** The ids of all campaigns. */
export function campaignIds(scope: ReadScope): RegisterContext {
  return scope.exists(campaignRegister) ? scope.context(campaignRegister) : none
}

/** The campaign that pays for prizes of this type now; there is never more than one. */
export function runningFor(scope: ReadScope, compType: CompType): Readonly<CampaignContext> | null {
  for (const id of campaignIds(scope).open) {
    const context = scope.context(campaign.ref(id))
    const { compTypes, startsAt, endsAt } = context
    const paysFor = compTypes.some((type) => type === compType)
    if (paysFor && startsAt <= scope.at && scope.at < (endsAt ?? Number.POSITIVE_INFINITY)) {
      return context
    }
  }
  return null
}
