/**
 * What the loyalty side tells the chat, as messages, each a turn of its own (architecture §7): how members stand, and
 * what is worth saying aloud (BJ-CHAT-17).
 */
import type { ActorRef } from '../../engine/actor.js'
import type { Reactions } from '../../engine/command.js'
import type { Turn } from '../../engine/turn.js'
import type { profileChanged } from '../account/facts.js'
import type { LoyaltyRules } from '../programs/rules.js'
import { isAtLeast, memberId } from '../programs/tiers.js'
import { prizeText, tierTitles } from '../programs/wording.js'
import type {
  administratorChanged,
  compAwarded,
  referralTinsCredited,
  tierChanged,
  userStandingChanged,
} from '../user/facts.js'
import type { UserActor } from '../user/machine.js'
import type { AnnounceCommand } from './announcing.js'
import { type StandingCommands, tiersOf } from './standing.js'

export function chatReactions(
  rules: LoyaltyRules,
  user: UserActor,
  note: StandingCommands['note'],
  announce: AnnounceCommand,
): Reactions {
  const { system } = rules.chat

  function say(turn: Turn, text: string): void {
    turn.tell(announce, { messageId: turn.newId(), channelId: system.channel, text })
  }

  function nameOf(turn: Turn, ref: ActorRef<UserActor['machine']>): string {
    const { number, tier } = turn.context(ref)
    return memberId(rules, number, tier)
  }

  return {
    'tier.changed': (turn, fact) => {
      const { userId, from, to } = fact as ReturnType<typeof tierChanged.make>
      const ref = user.ref(userId)
      turn.tell(note, { userId, standing: tiersOf(rules, turn.context(ref), turn.at) })
      const hasRisen = from !== to && isAtLeast(to, from)
      if (hasRisen && isAtLeast(to, system.tiersFrom)) say(turn, `${nameOf(turn, ref)} is ${tierTitles[to]} now.`)
    },
    'referral_tins.credited': (turn, fact) => {
      const { userId, tins, total } = fact as ReturnType<typeof referralTinsCredited.make>
      const member = turn.context(user.ref(userId))
      const now = tiersOf(rules, member, turn.at)
      const before = tiersOf(rules, { ...member, referralTins: total - tins }, turn.at)
      // No tier changes by it today, but the one that is left when the quarter ends (BJ-T29).
      if (now.tierAfterwards !== before.tierAfterwards) turn.tell(note, { userId, standing: now })
    },
    'user.administrator_changed': (turn, fact) => {
      const { userId, isAdmin } = fact as ReturnType<typeof administratorChanged.make>
      turn.tell(note, { userId, standing: { isAdmin } })
    },
    'user.standing_changed': (turn, fact) => {
      const { userId, standing } = fact as ReturnType<typeof userStandingChanged.make>
      turn.tell(note, { userId, standing: { isSuspended: standing === 'suspended' } })
    },
    'account.profile_changed': (turn, fact) => {
      const { userId, username } = fact as ReturnType<typeof profileChanged.make>
      turn.tell(note, { userId, standing: { username } })
    },
    'comp.awarded': (turn, fact) => {
      const { userId, amount, milestone, compType } = fact as ReturnType<typeof compAwarded.make>
      if (compType === 'new_member_guarantee') return
      const prize = amount === 0n ? `the ${compType}` : prizeText(amount)
      say(turn, `${nameOf(turn, user.ref(userId))} won ${prize} with the ${milestone} scan.`)
    },
  }
}
