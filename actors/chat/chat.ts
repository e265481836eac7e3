/** The chat of a program: its actors, commands, queries and view. */
import type { ActorType } from '../../engine/actor.js'
import type { AccountActor } from '../account/machine.js'
import type { Directory } from '../members/directory.js'
import type { LoyaltyRules } from '../programs/rules.js'
import type { UserActor } from '../user/machine.js'
import { announceCommand } from './announcing.js'
import { channel } from './channel.js'
import { channelListActor } from './channel-list.js'
import { channelCommands } from './channels.js'
import { chatter } from './chatter.js'
import { historyQueries } from './history.js'
import { message } from './message.js'
import { moderationCommands } from './moderation.js'
import { chatQueries } from './queries.js'
import { reaction } from './reaction.js'
import { chatReactions } from './reactions.js'
import { RecentMessages } from './recent-messages.js'
import { standingCommands } from './standing.js'
import { writing } from './writing.js'

/** Of each channel, in memory: what clients that were away for a while can be given without asking Postgres. */
const MESSAGES_KEPT = 500

export function createChat(rules: LoyaltyRules, user: UserActor, account: AccountActor, directory: Directory) {
  const recentMessages = new RecentMessages(MESSAGES_KEPT)
  const { commands: writingCommands, say } = writing(rules.chat, directory)
  const announce = announceCommand(rules.chat, say)
  const { note, enter, read } = standingCommands(rules, user, account)
  return {
    actors: [channel, channelListActor, chatter, message, reaction] as readonly ActorType[],
    recentMessages,
    commands: {
      chat: { ...writingCommands, announce, noteStanding: note, enter, read },
      moderation: moderationCommands(rules.chat),
      channels: channelCommands(rules.chat),
    },
    queries: { ...chatQueries(rules.chat, recentMessages), ...historyQueries(rules.chat, recentMessages) },
    reactions: chatReactions(rules, user, note, announce),
  }
}
