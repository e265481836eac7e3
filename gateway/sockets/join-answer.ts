/** What is told to a client that joins a channel: in words that were made for those before it. */
import type { Message } from '../../actors/chat/facts.js'
import type { ChannelView } from '../../actors/chat/queries.js'
import { messageText } from '../chat-json.js'
import type { Changed, ChannelFeeds } from './channel-feeds.js'
import type { ServerSocket } from './client-out.js'
import { ReadyJson } from './ready-json.js'

/** Shorter ones are not worth a way of their own. */
const SHARED_BYTES_MIN = 4_096

/** Whether what a channel has pinned may have changed with this message. */
export const concernsPins = ({ messageId, isPinned }: Message, pins: readonly string[]) =>
  isPinned || pins.includes(messageId)

/** Each message once, as it is last, in the order they changed. */
function byChange(earlier: readonly Changed[], later: readonly Changed[]): readonly Changed[] {
  if (later.length === 0) return earlier
  const ids = new Set(later.map(({ message }) => message.messageId))
  return [...earlier.filter(({ message }) => !ids.has(message.messageId)), ...later]
}

/** What the engine answers: every message that was posted or changed after one offset, up to another. */
export interface Answered {
  readonly channel: string
  readonly after: number
  readonly upTo: number
  readonly messages: readonly Changed[]
}

/**
 * X1 Everything that was posted or changed after an offset up to now, of what was published here and of what the engine
 * answered, whichever of them is ahead; null when something between them is not known.
 */
export function missedSince(feeds: ChannelFeeds, offset: number, answered: Answered): readonly Changed[] | null {
  const { channel, after, upTo, messages } = answered
  const told = feeds.since(channel, after > offset ? offset : upTo)
  if (told === null) return null
  if (after <= offset) return byChange(messages, told)
  const toldUpTo = feeds.offsetOf(channel) ?? 0
  return byChange(
    told,
    messages.filter((each) => each.offset > toldUpTo),
  )
}

/** Each message once, as it is last, by number. */
export function byNumber(messages: readonly Changed[], later: readonly Changed[]): readonly Changed[] {
  if (later.length === 0) return messages
  const latest = new Map(later.map((each) => [each.message.messageId, each]))
  const known = messages.map((each) => latest.get(each.message.messageId) ?? each)
  // What is older than the first one would leave a hole after it.
  const last = messages.at(-1)?.message.number ?? 0
  const newer = later.filter(({ message }) => message.number > last)
  return [...known, ...newer.sort((one, other) => one.message.number - other.message.number)]
}

export function postedAfter(oldest: number, messages: readonly Changed[]): readonly Changed[] {
  const isKept = ({ message }: Changed) => message.postedAt > oldest
  return messages.every(isKept) ? messages : messages.filter(isKept)
}

/** As many, from the last back, as fit into `bytesMax`. */
export function fitting(messages: readonly Changed[], bytesMax: number): readonly Changed[] {
  if (wordingOf(messages).length <= bytesMax) return messages
  let bytes = 0
  let from = messages.length
  for (const { message } of messages.toReversed()) {
    bytes += Buffer.byteLength(messageText(message))
    if (bytes > bytesMax) break
    from -= 1
  }
  return messages.slice(from)
}

/** A list of messages in words. The same list is told to many who come back together: to them as bytes. */
class Wording {
  readonly text: string
  readonly length: number
  #told = 0
  #bytes: Buffer | null = null

  constructor(messages: readonly Changed[]) {
    const texts = messages.map(({ offset, message }) => `${messageText(message).slice(0, -1)},"offset":${offset}}`)
    this.text = `[${texts.join(',')}]`
    this.length = Buffer.byteLength(this.text)
  }

  /** Null the first time, which may be the last, and where it is short. */
  shared(): Buffer | null {
    this.#told += 1
    if (this.#told === 1 || this.length < SHARED_BYTES_MIN) return null
    this.#bytes ??= Buffer.from(this.text)
    return this.#bytes
  }
}

const wordings = new WeakMap<readonly Changed[], Wording>()

function wordingOf(messages: readonly Changed[]): Wording {
  let wording = wordings.get(messages)
  if (wording === undefined) {
    wording = new Wording(messages)
    wordings.set(messages, wording)
  }
  return wording
}

export interface JoinAnswer extends Pick<ChannelView, 'epoch' | 'offset' | 'pins' | 'unread'> {
  readonly channel: string
  readonly messages: readonly Changed[]
  readonly isResync: boolean
}

export function joinAnswer(answer: JoinAnswer, to: ServerSocket): ReadyJson {
  const { channel, epoch, offset, unread, pins, messages, isResync } = answer
  const before = `${JSON.stringify({ channel, epoch, offset, unread, pins }).slice(0, -1)},"messages":`
  const after = isResync ? ',"resync":true}' : '}'
  const wording = wordingOf(messages)
  const bytes = wording.shared()
  return new ReadyJson(`${before}${wording.text}${after}`, bytes === null ? null : { bytes, before, after, to })
}
