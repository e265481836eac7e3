/** What the system says aloud (BJ-CHAT-17). Past the limit a minute it is left unsaid: it is news, not a record. */
import { z } from 'zod'
import { defineCommand } from '../../engine/command.js'
import { channel, systemMessagesAt } from './channel.js'
import { noMedia } from './content.js'
import { message } from './message.js'
import type { ChatRules } from './rules.js'
import type { Writing } from './writing.js'

export type AnnounceCommand = ReturnType<typeof announceCommand>

export function announceCommand({ system }: ChatRules, say: Writing['say']) {
  return defineCommand({
    name: 'chat.announce',
    input: z.object({ messageId: z.string(), channelId: z.string(), text: z.string() }),
    who: 'system',
    actors: ({ messageId }) => [message.newRef(messageId)],
    handle: (turn, { messageId, channelId, text }) => {
      const ref = channel.ref(channelId)
      if (turn.value(ref) !== 'open') return null
      if (systemMessagesAt(turn.context(ref), turn.at) >= system.perMinuteMax) return null
      const said = { messageId, channelId, text, language: 'en', media: noMedia, clientId: null }
      return say(turn, { ...said, author: null, replyTo: null, status: 'approved' })
    },
  })
}
