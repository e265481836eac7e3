/** Opening, raising and closing campaigns: funded, or it does not happen. */
import { z } from 'zod'
import { defineCommand, defineQuery } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import type { ReadScope, Turn } from '../../engine/turn.js'
import type { TreasuryCommands } from '../treasury/commands.js'
import { PRIZE_POOL } from '../treasury/comp-funding.js'
import { pool } from '../treasury/facts.js'
import { takeBack, tryGrant } from '../treasury/ledger.js'
import type { UnfundedComps } from '../treasury/unfunded-comps.js'
import type { MemberAccess } from '../user/access.js'
import { campaignOpened } from './facts.js'
import {
  type CampaignContext,
  type CampaignInput,
  campaign,
  campaignCompType,
  campaignIds,
  campaignRegister,
} from './machine.js'

/** Ever, because all stay in memory: one a week for ten years. */
const CAMPAIGNS_MAX = 500

export const campaignId = z.string().regex(/^[a-z0-9][a-z0-9_-]{0,63}$/)
const milliseconds = z.number().int()

export interface CampaignWorld {
  readonly access: MemberAccess
  readonly unfunded: UnfundedComps
  readonly fundWaiting: TreasuryCommands['fundWaiting']
}

export const campaignPhases = ['scheduled', 'running', 'closed'] as const

export interface CampaignState extends CampaignContext {
  readonly phase: (typeof campaignPhases)[number]
  readonly held: bigint
  readonly paid: bigint
  readonly left: bigint
  /** Won while it was exhausted. */
  readonly waiting: { readonly count: number; readonly amount: bigint }
}

export function campaignCommands({ access, unfunded, fundWaiting }: CampaignWorld) {
  /** Sets money of a pool aside. Errors: `campaign_exists`, `too_many_campaigns`, `campaign_over`, `campaign_overlaps`. */
  const openCampaign = defineCommand({
    name: 'campaign.open',
    input: z.object({
      id: campaignId,
      pool,
      compTypes: z.array(campaignCompType).min(1),
      /** Minor units. */
      budget: z.bigint().positive(),
      /** Null means now. */
      startsAt: milliseconds.nullable(),
      endsAt: milliseconds.nullable(),
    }),
    who: 'admin',
    actors: (_, who) => access.refsOf(who),
    handle: (turn, { startsAt, ...args }) => {
      const by = access.requireAdmin(turn)
      const { id, pool: from, compTypes, budget, endsAt } = args
      const opened = { ...args, openedAt: turn.at, startsAt: startsAt ?? turn.at }
      checkOpened(turn, opened)
      turn.create(campaign.ref(id), opened)
      turn.step(campaignRegister, { type: 'opened', id })
      if (!tryGrant(turn, from, id, budget)) throw insufficientFunds('budget')
      if (endsAt !== null) turn.setAlarm(campaign.ref(id), 'end', endsAt, closeCampaign, { id })
      const times = { startsAt: opened.startsAt, endsAt }
      turn.emit(campaignOpened.make({ campaign: id, pool: from, compTypes, budget, ...times, by }))
      return null
    },
  })

  /** Moves more of the pool's money to it; prizes that wait for it come first. One that is closed may still owe some. */
  const raiseCampaign = defineCommand({
    name: 'campaign.raise',
    input: z.object({ id: campaignId, amount: z.bigint().positive() }),
    who: 'admin',
    actors: (_, who) => access.refsOf(who),
    handle: (turn, { id, amount }) => {
      const by = access.requireAdmin(turn)
      const ref = requireCampaign(turn, id)
      if (!tryGrant(turn, turn.context(ref).pool, id, amount)) throw insufficientFunds('add')
      turn.step(ref, { type: 'raised', amount, by })
      turn.tell(fundWaiting, { campaign: id })
      return null
    },
  })

  /**
   * It pays for no more prizes, and what is left goes back to its pool; what is held stays held. Closed once more, it
   * gives back what came back to it since. It closes itself when its time is over.
   */
  const closeCampaign = defineCommand({
    name: 'campaign.close',
    input: z.object({ id: campaignId }),
    who: 'admin',
    actors: (_, who) => access.refsOf(who),
    handle: (turn, { id }): { returned: bigint } => {
      const by = access.requireAdmin(turn)
      const ref = requireCampaign(turn, id)
      const { pool: to, closedAt, endsAt } = turn.context(ref)
      const returned = takeBack(turn, to, id)
      if (closedAt !== null && returned === 0n) return { returned }
      turn.step(ref, { type: 'closed', at: turn.at, returned, by })
      if (closedAt === null) turn.step(campaignRegister, { type: 'closed', id })
      if (closedAt === null && endsAt !== null) turn.clearAlarm(ref, 'end')
      if (returned > 0n && to === PRIZE_POOL) turn.tell(fundWaiting, {})
      return { returned }
    },
  })

  function stateOf(scope: ReadScope, id: string): CampaignState {
    const ref = campaign.ref(id)
    const context = scope.context(ref)
    return {
      ...context,
      phase: phaseOf(context, scope.at),
      held: scope.balance(ref, 'held'),
      paid: scope.balance(ref, 'paid'),
      left: scope.balance(ref, 'available'),
      waiting: unfunded.total(id),
    }
  }

  /** Newest first, and those that are closed last. */
  const campaignStates = defineQuery({
    name: 'campaign.states',
    actors: () => [],
    read: (scope: ReadScope, _: Record<string, never>) => {
      const { open, closed } = campaignIds(scope)
      return [...open.toReversed(), ...closed.toReversed()].map((id) => stateOf(scope, id))
    },
  })

  /** Null when there is none. */
  const campaignState = defineQuery({
    name: 'campaign.state',
    actors: () => [],
    read: (scope: ReadScope, { id }: { id: string }) => (scope.exists(campaign.ref(id)) ? stateOf(scope, id) : null),
  })

  return { openCampaign, raiseCampaign, closeCampaign, campaignStates, campaignState }
}

function phaseOf({ startsAt, endsAt, closedAt }: CampaignContext, at: number): CampaignState['phase'] {
  if (closedAt !== null || (endsAt !== null && endsAt <= at)) return 'closed'
  return startsAt <= at ? 'running' : 'scheduled'
}

function requireCampaign(turn: Turn, id: string) {
  const ref = campaign.ref(id)
  if (!turn.exists(ref)) throw new DomainError('not_found', 'campaign_unknown', 'There is no such campaign.')
  return ref
}

function checkOpened(turn: Turn, opened: CampaignInput): void {
  const { id, compTypes, startsAt, endsAt } = opened
  if (turn.exists(campaign.ref(id))) {
    throw new DomainError('conflict', 'campaign_exists', 'There is a campaign of this id, or there was one.')
  }
  const { open, closed } = campaignIds(turn)
  if (open.length + closed.length >= CAMPAIGNS_MAX) {
    throw new DomainError('conflict', 'too_many_campaigns', `There are ${CAMPAIGNS_MAX} campaigns already.`)
  }
  if (endsAt !== null && endsAt <= Math.max(startsAt, turn.at)) {
    throw new DomainError('unprocessable', 'campaign_over', 'It would end before it begins.', { field: 'ends_at' })
  }
  for (const other of open) {
    const context = turn.context(campaign.ref(other))
    if (!overlaps(context, opened) || !compTypes.some((type) => context.compTypes.includes(type))) continue
    throw new DomainError('conflict', 'campaign_overlaps', `${other} pays for these prizes in that time.`)
  }
}

type CampaignTimes = Pick<CampaignInput, 'startsAt' | 'endsAt'>

function overlaps(one: CampaignTimes, other: CampaignTimes): boolean {
  const ends = ({ endsAt }: CampaignTimes) => endsAt ?? Number.POSITIVE_INFINITY
  return one.startsAt < ends(other) && other.startsAt < ends(one)
}

function insufficientFunds(field: string): DomainError {
  return new DomainError('unprocessable', 'insufficient_funds', 'The pool does not hold so much.', { field })
}
