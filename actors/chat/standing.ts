/** How the chat learns of members, and how far they have read. */
import { z } from 'zod'
import { defineCommand } from '../../engine/command.js'
import type { Turn } from '../../engine/turn.js'
import type { AccountActor } from '../account/machine.js'
import type { LoyaltyRules } from '../programs/rules.js'
import { quarterOf, standingIn } from '../programs/tiers.js'
import { tierName } from '../user/facts.js'
import type { UserActor, UserContext } from '../user/machine.js'
import { type ChatterContext, chatter, type MemberStanding } from './chatter.js'
import { channelRead } from './facts.js'
import { chatterIn, readableChannel } from './rights.js'

const standing = z
  .object({
    username: z.string(),
    isAdmin: z.boolean(),
    isSuspended: z.boolean(),
    memberSince: z.number(),
    tier: tierName,
    quarter: z.string(),
    tierAfterwards: tierName,
  })
  .partial()

export type StandingCommands = ReturnType<typeof standingCommands>

export function standingCommands(rules: LoyaltyRules, user: UserActor, account: AccountActor) {
  /** The loyalty side tells the chat; who has never been in the chat is not known to it. */
  const note = defineCommand({
    name: 'chat.note_standing',
    input: z.object({ userId: z.string(), standing }),
    who: 'system',
    actors: ({ userId }) => [chatter.ref(userId)],
    handle: (turn, { userId, standing: told }) => {
      const ref = chatter.ref(userId)
      if (turn.exists(ref)) turn.step(ref, { type: 'standing.told', standing: told as Partial<MemberStanding> })
      return null
    },
  })

  /** A member comes to the chat: it knows them as they are now. */
  const enter = defineCommand({
    name: 'chat.enter',
    input: z.object({ userId: z.string() }),
    who: 'system',
    actors: ({ userId }) => [chatter.ref(userId), user.ref(userId), account.ref(userId)],
    handle: (turn, { userId }) => {
      const ref = chatter.ref(userId)
      const now = standingOf(turn, userId)
      if (!turn.exists(ref)) turn.create(ref, { userId, ...now })
      else if (differs(turn.context(ref), now)) turn.step(ref, { type: 'standing.told', standing: now })
      return null
    },
  })

  function standingOf(turn: Turn, userId: string): MemberStanding {
    const member = turn.context(user.ref(userId))
    const { username, memberSince } = turn.context(account.ref(userId))
    const isSuspended = turn.value(user.ref(userId)) === 'suspended'
    return { username, memberSince, isSuspended, isAdmin: member.isAdmin, ...tiersOf(rules, member, turn.at) }
  }

  const read = defineCommand({
    name: 'chat.read',
    input: z.object({ channelId: z.string(), number: z.number().int().min(0) }),
    who: 'member',
    actors: (_, { userId }) => [chatter.ref(userId)],
    handle: (turn, { channelId, number }) => {
      const member = chatterIn(turn, turn.who.userId)
      const { known } = readableChannel(turn, channelId, member)
      const last = Math.min(number, known.messages)
      if (last > (member.read[channelId] ?? 0)) {
        turn.step(chatter.ref(member.userId), { type: 'read', channelId, number: last })
        turn.emit(channelRead.make({ userId: member.userId, channelId, number: last }))
      }
      return { unread: known.messages - Math.max(last, member.read[channelId] ?? 0) }
    },
  })

  return { note, enter, read }
}

/** A member's tier now, and the one that is left when the quarter ends. */
export function tiersOf(rules: LoyaltyRules, member: UserContext, at: number) {
  const quarter = quarterOf(at)
  const { tier } = standingIn(rules, member, quarter)
  const { tier: tierAfterwards } = standingIn(rules, { ...member, quarterScans: 0 }, quarter)
  return { tier, quarter: quarter.key, tierAfterwards }
}

function differs(known: ChatterContext, now: MemberStanding): boolean {
  return Object.entries(now).some(([key, value]) => known[key as keyof MemberStanding] !== value)
}
