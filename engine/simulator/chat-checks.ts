/** Checks of the chat: what its facts say in their order, and what the database makes of them (X1, P1). */
import { isDeepStrictEqual } from 'node:util'
import { messageChanged, messagePosted, reactionSet } from '../../actors/chat/facts.js'
import { RecentMessages } from '../../actors/chat/recent-messages.js'
import { ChatError } from '../../gateway/client/errors.js'
import type { TurnRecord } from '../record.js'
import type { Saying } from './chatter.js'
import type { Clients } from './clients.js'
import { CHANNELS } from './program.js'
import { type Story, show } from './story.js'
import type { Tables } from './tables.js'

type Posted = ReturnType<typeof messagePosted.make>
type Changed = ReturnType<typeof messageChanged.make>
type ReactionSet = ReturnType<typeof reactionSet.make>

/** Follows the facts of channels, in the order of the records. */
export class Channels {
  readonly #offsets = new Map<string, number>()
  readonly #numbers = new Map<string, number>()
  /** By message and emoji: who reacted. */
  readonly #reactors = new Map<string, Set<string>>()

  constructor(readonly story: Story) {}

  take({ seq, facts }: TurnRecord): void {
    for (const fact of facts) {
      if (fact.type === reactionSet.type) this.#react(fact as ReactionSet)
      // X1
      if ('offset' in fact && 'channelId' in fact) {
        this.#follow(this.#offsets, String(fact.channelId), Number(fact.offset), `record ${seq}`)
      }
      if (fact.type === messagePosted.type) {
        const { channelId, message } = fact as Posted
        this.#follow(this.#numbers, channelId, message.number, `message ${message.messageId}`)
      }
      if (fact.type === messageChanged.type) this.#count(fact as Changed)
    }
  }

  #follow(known: Map<string, number>, channelId: string, found: number, what: string): void {
    const due = (known.get(channelId) ?? 0) + 1
    this.story.check('channels are numbered without gap or double', found === due, () => {
      return `${what}: ${found} in ${channelId}, ${due} was due`
    })
    known.set(channelId, due)
  }

  #react({ messageId, userId, emoji, isOn }: ReactionSet): void {
    const name = `${messageId} ${emoji}`
    const reactors = this.#reactors.get(name) ?? new Set()
    this.#reactors.set(name, reactors)
    this.story.check('a reaction counts once', reactors.has(userId) !== isOn, () => `${name} of ${userId}, ${isOn}`)
    reactors[isOn ? 'add' : 'delete'](userId)
  }

  #count({ message: { messageId, reactions }, emoji }: Changed): void {
    if (emoji === null) return
    const size = this.#reactors.get(`${messageId} ${emoji}`)?.size ?? 0
    const counted = reactions[emoji] ?? 0
    this.story.check('a reaction counts once', counted === size, () => `${messageId}: ${counted} of ${size} ${emoji}`)
  }
}

/** P1 */
export function checkMessageRows(story: Story, tables: Tables, records: readonly TurnRecord[]): void {
  const recent = new RecentMessages(Number.MAX_SAFE_INTEGER)
  for (const { facts } of records) for (const fact of facts) recent.fold(fact)
  const ids = CHANNELS.flatMap((channelId) => {
    const all = recent.since(channelId, 0)
    return all === 'resync' ? [] : all
  })
  const expected = ids.map(({ message, offset, postedOffset }) => {
    const { messageId, text, reactions, deletedAt, isPinned, status } = message
    return [messageId, offset, postedOffset, text, JSON.stringify(reactions), deletedAt, isPinned, status].join()
  })
  const found = tables.rows('social_messages').map((row) => {
    const { id, changed_offset, posted_offset, message, reactions, deleted_at, pinned, moderation_status } = row
    return [id, changed_offset, posted_offset, message, reactions, deleted_at, pinned, moderation_status].join()
  })
  const isSame = isDeepStrictEqual(found.sort(), expected.sort())
  story.check(
    'the database has every message as it is',
    isSame,
    () => `${show(found)}, the facts say ${show(expected)}`,
  )
}

/** J1 Who was told that a message is there finds it there, where they were told. */
export function checkAcceptedMessages(story: Story, records: readonly TurnRecord[], { wishes }: Clients): void {
  const places = new Map<string, number>()
  for (const fact of records.flatMap(({ facts }) => facts)) {
    if (fact.type === messagePosted.type) places.set((fact as Posted).message.messageId, (fact as Posted).offset)
  }
  for (const { name, command, outcome } of wishes) {
    if (command.name !== 'chat.post' || !outcome?.ok) continue
    const { messageId, offset } = outcome.reply as { messageId: string; offset: number }
    story.mark('a message was posted')
    story.check('every message that was accepted is there', places.get(messageId) === offset, () => name)
  }
}

/** X1 G3 What a client was asked to say is there once, where it was told; what was refused is not there twice either. */
export function checkSayings(story: Story, records: readonly TurnRecord[], sayings: readonly Saying[]): void {
  const posted = records.flatMap(({ facts }) => facts).filter(({ type }) => type === messagePosted.type) as Posted[]
  for (const { name, text, channelId, outcome } of sayings) {
    const found = posted.filter(({ message }) => message.text === text)
    const isOnce = found.length <= 1
    story.check('what a client says is said once', isOnce, () => `${name}: ${found.length} times`)
    if (outcome === undefined || outcome instanceof ChatError) {
      story.mark(`a saying was refused: ${outcome?.code}`)
      continue
    }
    story.mark('a message was said')
    const [there] = found
    const isThere =
      there?.channelId === channelId &&
      there.offset === outcome.offset &&
      there.message.messageId === outcome.id &&
      there.message.number === outcome.number
    story.check('what a client says is said once', isThere, () => `${name}: ${show(outcome)}, ${show(there)} is there`)
  }
}
