/**
 * One member's client of the chat: the real one.
 *
 * Whenever it shows something, that is what the records on the disk say for its position (J1, X1): no message is missing
 * since it began, none is there twice, none that was deleted, and each reads as it did then. At rest, that is everything
 * (X2), and what it was asked to say was said once.
 */
import type { Channel } from '../../gateway/client/channel.js'
import type { ChatMessage, Position } from '../../gateway/client/channel-state.js'
import { ChatClient } from '../../gateway/client/chat-client.js'
import { asChatError, type ChatError } from '../../gateway/client/errors.js'
import type { Sent } from '../../gateway/client/outbox.js'
import type { Principal } from '../../gateway/http/toolkit/principal.js'
import type { ChatClients } from './chat-clients.js'
import { JOINED_MIN } from './chat-gateway.js'
import type { Held } from './chat-oracle.js'
import type { Cable } from './chat-wire.js'
import { shownText } from './chat-words.js'
import { CHANNELS } from './program.js'
import { CheckFailure, show } from './story.js'

/** Something a client was asked to say once. */
export interface Saying {
  readonly name: string
  readonly text: string
  readonly channelId: string
  readonly outcome: Sent | ChatError | undefined
}

/** What was looked at last in a channel. */
interface Look {
  position: Position | null
  messages: readonly ChatMessage[]
  /** Messages from this number on are due. */
  from: number
}

export class Chatter {
  readonly sayings: Saying[] = []
  readonly #client: ChatClient
  readonly #name: string
  readonly #looks = new Map<Channel, Look>()
  #cable: Cable | undefined

  constructor(
    readonly all: ChatClients,
    readonly who: Principal,
    name: string,
  ) {
    this.#name = name
    const { scheduler } = all.world
    const { wire, random } = all
    this.#client = new ChatClient({
      url: '',
      token: () => '',
      newId: () => all.newId(),
      wire: wire.wireOf(who, name, (cable) => {
        this.#cable = cable
        cable.onRead = () => this.#checkHeard(cable)
      }),
      timers: {
        now: () => scheduler.now / 1_000,
        after: (ms, run) => scheduler.after(ms * 1_000, wire.life, run),
        random: () => random.unit(),
      },
    })
  }

  get channels(): readonly Channel[] {
    return this.#client.channels
  }

  /** Nothing was lost on its way here that was not made good. */
  get isWhole(): boolean {
    return this.#cable?.isWhole !== false
  }

  /** Loses the connection, and looks into every channel; those that were closed to it may be open now. */
  comeBack(): void {
    this.#client.networkLost()
    for (const id of CHANNELS) this.#follow(this.#client.join(id))
    this.#client.connect()
  }

  #follow(channel: Channel): void {
    if (this.#looks.has(channel)) return
    this.#looks.set(channel, { position: null, messages: [], from: 0 })
    channel.on('changed', () => {
      if (channel.status === 'live') this.#look(channel)
    })
  }

  say(channelId: string, text: string): void {
    const channel = this.#client.channels.find(({ id }) => id === channelId)
    if (channel === undefined) return
    const at = this.sayings.length
    const saying = { name: `${this.#name} says ${text}`, text, channelId }
    this.sayings.push({ ...saying, outcome: undefined })
    channel.send({ text }).then(
      (sent) => {
        this.sayings[at] = { ...saying, outcome: sent }
      },
      (cause: unknown) => {
        this.sayings[at] = { ...saying, outcome: asChatError(cause) }
      },
    )
  }

  /** Whether it waits for nothing. */
  get isSettled(): boolean {
    const isAt = this.#client.channels.every(({ status }) => status === 'live' || status === 'closed')
    return isAt && this.#cable?.isQuiet === true && this.sayings.every(({ outcome }) => outcome !== undefined)
  }

  /** X1 What it was told of is shown, or asked for. */
  #checkHeard({ heard }: Cable): void {
    for (const { id, status, position } of this.#client.channels) {
      const [at, told] = [position?.offset ?? 0, heard.get(id) ?? 0]
      this.all.world.story.check('a chat shows what it was told of', status !== 'live' || at >= told, () => {
        return `${this.#name} is at ${at} in ${id} and was told of ${told}`
      })
    }
  }

  checkRest(): void {
    const { story } = this.all.world
    for (const channel of this.#client.channels) {
      if (channel.status === 'closed') continue
      const offset = this.all.oracle.channel(channel.id)?.offset
      const isUpToDate = channel.status === 'live' && channel.position?.offset === offset
      story.check('a chat has come back', isUpToDate || !this.isWhole, () => {
        return `${this.#name} is ${channel.status} at ${channel.position?.offset} of ${offset} in ${channel.id}`
      })
      if (isUpToDate) this.#check(channel)
    }
  }

  #look(channel: Channel): void {
    try {
      this.#check(channel)
    } catch (error) {
      // The story has it; here it would end the process.
      if (!(error instanceof CheckFailure)) throw error
    }
  }

  /** X1 J1 */
  #check(channel: Channel): void {
    const look = this.#looks.get(channel)
    const { position, messages } = channel
    const isSame = look?.position === position && look?.messages === messages
    if (look === undefined || position === null || isSame) return
    const { story } = this.all.world
    const told = this.all.oracle.channel(channel.id)
    const isKept = position.epoch === told?.epoch && position.offset <= told.offset
    story.check('a chat shows only what is on the disk', isKept, () => {
      return `${this.#name} is at ${show(position)} in ${channel.id}, ${show(told)} is on the disk`
    })
    if (told === undefined) return
    const held = told.at(position.offset)
    const isNew = look.position === null || this.#cable?.beginnings.delete(channel.id) === true
    if (isNew) look.from = messages[0]?.number ?? 0
    const wrong = (isNew ? tooFew(messages, held) : null) ?? differenceOf(channel, look.from, held)
    Object.assign(look, { position, messages })
    story.check('a chat shows every message once, as it is', wrong === null, () => {
      return `${this.#name} at ${position.offset} in ${channel.id}: ${wrong}`
    })
  }
}

function tooFew(shown: readonly ChatMessage[], { messages, deleted }: Held): string | null {
  const least = Math.min(messages.length, Math.max(0, JOINED_MIN - deleted))
  return shown.length < least ? `${shown.length} of ${messages.length} messages` : null
}

/** What is wrong with what is shown; null when nothing is. */
function differenceOf({ messages: shown, pinned, pinCount }: Channel, from: number, held: Held): string | null {
  const due = held.messages.filter(({ number }) => number >= from)
  for (let at = 0; at < Math.max(due.length, shown.length); at++) {
    const [one, other] = [shown[at], due[at]]
    const text = one && shownText(one)
    if (text !== other?.text) return `it shows ${text}, the records say ${other?.text}`
  }
  const pinnedIds = pinned.map(({ id }) => id)
  const duePins = held.pins.filter((id) => pinnedIds.includes(id))
  if (pinCount !== held.pins.length || pinnedIds.join() !== duePins.join()) {
    return `${pinCount} pins, among them ${pinnedIds}; the records say ${held.pins}`
  }
  return null
}
