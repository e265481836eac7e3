/**
 * What a gateway owes a socket, whatever client is at its other end: looked at where it leaves the gateway.
 *
 * X1 A join with a position is answered by exactly what changed since, or says that it is a new beginning; without one it
 * gives the last messages; what is said from then on begins right after it. X2 As long as the socket is in a channel,
 * nothing is skipped and nothing comes twice.
 */
import type { JoinAnswer, Position } from '../../gateway/client/channel-state.js'
import { JOINED_MIN } from './chat-gateway.js'
import type { ChannelStory, ChatOracle } from './chat-oracle.js'
import { shownText } from './chat-words.js'
import { type Story, show } from './story.js'

/** Offsets that were said to the socket in one stay in a channel. */
interface Said {
  readonly first: number
  last: number
}

type Place = Position & { readonly channel: string }

export class Owed {
  readonly #said = new Map<string, Said>()

  constructor(
    readonly story: Story,
    readonly oracle: ChatOracle,
    readonly name: string,
  ) {}

  /** An event leaves the gateway. */
  said(event: string, data: object): void {
    if (event === 'channel:closed' && 'channel' in data) this.#said.delete(String(data.channel))
    if (!('channel' in data && 'offset' in data)) return
    const { channel, offset } = data as Place
    const said = this.#said.get(channel)
    this.story.check('a gateway skips nothing', said === undefined || offset === said.last + 1, () => {
      return `${this.name} was told of ${offset} in ${channel} after ${said?.last}`
    })
    if (said === undefined) this.#said.set(channel, { first: offset, last: offset })
    else said.last = offset
  }

  /** An answer to a join leaves it; `asked` is the position the client has. */
  answered(asked: Position | null, answer: JoinAnswer): void {
    const { channel, epoch, offset } = answer
    const { story, name } = this
    const told = this.oracle.channel(channel)
    const isKept = told !== undefined && told.epoch === epoch && offset <= told.offset
    story.check('a chat shows only what is on the disk', isKept, () => `${name} is told of ${offset} in ${channel}`)
    if (told === undefined) return
    const isNew = asked === null || answer.resync === true
    const wrong = isNew ? wrongInBeginning(told, answer) : wrongInCatchUp(told, asked, answer)
    story.check('a join gives exactly what is due', wrong === null, () => {
      return `${name} joins ${channel} from ${show(asked)} at ${offset}: ${wrong}`
    })
    const said = this.#said.get(channel)
    if (said === undefined) this.#said.set(channel, { first: offset + 1, last: offset })
    else {
      story.check('a gateway skips nothing', said.first <= offset + 1, () => {
        return `${name} is at ${offset} in ${channel} and was told from ${said.first} on`
      })
    }
  }
}

/** The last messages without holes, and the pins. */
function wrongInBeginning(told: ChannelStory, { offset, messages, pins }: JoinAnswer): string | null {
  const held = told.at(offset)
  const found = messages.flatMap(({ offset: _, ...message }) => {
    return message.deleted_at === null ? [shownText(message)] : []
  })
  const least = Math.min(held.messages.length, Math.max(0, JOINED_MIN - held.deleted))
  if (found.length < least) return `${found.length} of ${held.messages.length} messages`
  const due = held.messages.slice(held.messages.length - found.length).map(({ text }) => text)
  if (found.join() !== due.join()) return `${show(found)}, due are ${show(due)}`
  return pins.join() === held.pins.join() ? null : `pins ${pins}, due are ${held.pins}`
}

/** Each message that changed, as it is now, in the order they changed. */
function wrongInCatchUp(told: ChannelStory, asked: Position, { epoch, offset, messages, pins }: JoinAnswer) {
  if (asked.epoch !== epoch || asked.offset > offset) return 'the position is of another stream'
  const found = messages.map(({ offset: changed, ...message }) => {
    return `${changed} ${message.deleted_at === null ? shownText(message) : null}`
  })
  const due = told.changed(asked.offset, offset).map((each) => `${each.offset} ${each.text}`)
  if (found.join() !== due.join()) return `${show(found)}, due are ${show(due)}`
  const duePins = told.at(offset).pins
  return pins.join() === duePins.join() ? null : `pins ${pins}, due are ${duePins}`
}
