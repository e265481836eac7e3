// A channel's facts made up: any sequence of posts and changes, whether members could have done it or not.
import fc from 'fast-check'
import { type Message, messageChanged, messagePosted } from '../../actors/chat/facts.js'
import { EPOCH, uuidOf } from './projection.js'

const byUser = (user: number) => ({ userId: uuidOf(user), username: `m${user}`, tier: 'vip' as const, isAdmin: false })
const nothing: Omit<Message, 'messageId' | 'channelId' | 'number' | 'author' | 'text' | 'postedAt'> = {
  ...{ language: null, media: { type: 'none', url: null, code: null }, replyTo: null, mentions: [], clientId: null },
  ...{ editedAt: null, deletedAt: null, status: 'approved', reactions: {}, isPinned: false },
}

const text = fc.string({ unit: 'grapheme', maxLength: 12 })
export const chatStep = fc.record({
  channel: fc.constantFrom('a', 'b', 'b-2'),
  does: fc.constantFrom('post', 'post', 'post', 'edit', 'react', 'delete', 'reply', 'emote', 'nothing'),
  pick: fc.nat(),
  text,
})
export type ChatStep = typeof chatStep extends fc.Arbitrary<infer Value> ? Value : never

/** Makes facts as a channel does: every step has the next offset, every message the next number. */
export class Channels {
  readonly messages: Message[] = []
  readonly #offsets = new Map<string, number>()
  readonly #numbers = new Map<string, number>()

  offsetOf(channelId: string): number {
    return this.#offsets.get(channelId) ?? 0
  }

  facts({ channel: channelId, does, pick, text: said }: ChatStep, seq: number): ChatFact[] {
    const own = this.messages.filter((message) => message.channelId === channelId)
    const picked = own[pick % (own.length || 1)]
    const offset = this.offsetOf(channelId) + 1
    this.#offsets.set(channelId, offset)
    if (does === 'nothing') return []
    if (picked === undefined || does === 'post' || does === 'reply' || does === 'emote') {
      const message = this.#post(channelId, said, seq, does, picked)
      return [messagePosted.make({ channelId, offset, message })]
    }
    const message: Message = { ...picked, ...changeOf(does, picked, said, seq) }
    this.messages[this.messages.indexOf(picked)] = message
    const change = does === 'edit' ? 'edited' : does === 'react' ? 'reacted' : 'deleted'
    return [messageChanged.make({ channelId, offset, message, change, by: uuidOf(1), emoji: null, isOn: true })]
  }

  #post(channelId: string, said: string, seq: number, does: string, picked: Message | undefined): Message {
    const number = (this.#numbers.get(channelId) ?? 0) + 1
    this.#numbers.set(channelId, number)
    const quoted = does === 'reply' && picked !== undefined ? quoteOf(picked) : null
    const message: Message = {
      ...{ ...nothing, messageId: `m-${seq}`, channelId, number, text: said, postedAt: EPOCH + seq * 1_000 },
      ...{ author: seq % 5 === 0 ? null : byUser(seq % 3), replyTo: quoted, mentions: quoted ? [uuidOf(9)] : [] },
      ...(does === 'emote' ? { media: { type: 'emote' as const, url: null, code: said } } : {}),
    }
    this.messages.push(message)
    return message
  }
}

const quoteOf = ({ messageId, author, text: said }: Message) => ({
  ...{ messageId, userId: author?.userId ?? null, username: author?.username ?? '', text: said },
})

function changeOf(does: string, { reactions }: Message, said: string, seq: number): Partial<Message> {
  if (does === 'edit') return { text: said, editedAt: EPOCH + seq * 1_000, language: 'en', status: 'flagged' }
  if (does === 'react') return { reactions: { ...reactions, '👍': (reactions['👍'] ?? 0) + 1 }, isPinned: true }
  return { deletedAt: EPOCH + seq * 1_000, status: 'removed', isPinned: false }
}

export type Records = readonly { readonly facts: readonly ChatFact[] }[]
export type ChatFact = ReturnType<typeof messagePosted.make> | ReturnType<typeof messageChanged.make>

export const factsOf = (records: Records, channelId: string) =>
  records.flatMap(({ facts }) => facts).filter((fact) => fact.channelId === channelId)
export const idOf = ({ message }: { message: Message }) => message.messageId

export function numberUpTo(records: Records, channelId: string, upTo: number): number {
  const posted = factsOf(records, channelId).filter(({ type, offset }) => type === messagePosted.type && offset <= upTo)
  return posted.at(-1)?.message.number ?? 0
}
