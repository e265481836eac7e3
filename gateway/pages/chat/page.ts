/** Puts the parts of the page together, for one session. */
import type { Channel } from '../../client/channel.js'
import type { ChatMessage } from '../../client/channel-state.js'
import type { ChatClient } from '../../client/chat-client.js'
import { asChatError, ChatError } from '../../client/errors.js'
import { avatarOf } from './avatars.js'
import { badgeOf } from './badges.js'
import { Banner, ModerationNotice } from './banner.js'
import { type Category, ChannelListView, type ListedChannel } from './channel-list-view.js'
import { Composer } from './composer.js'
import { Deeds } from './deeds.js'
import { element, make, show } from './dom.js'
import type { RowActions, RowContext } from './message-row.js'
import { MessagesView } from './messages-view.js'
import { PinsView } from './pins-view.js'
import { Rooms } from './rooms.js'
import type { Me, Session } from './session.js'
import type { Emote, Emotes } from './texts.js'
import { Translations } from './translations.js'

const LIST_EVERY_MS = 30_000
const FIRST_CHANNEL = 'general'
const TYPISTS_NAMED_MAX = 3
/** Reading along is told once in a while, not with every message. */
const READ_EVERY_MS = 2_000
/** Pages of history that are read to find a message. */
const PAGES_SEARCHED_MAX = 10
/** What the server did not say is asked again. */
const REACTIONS_AGAIN_MS = 5_000

export class ChatPage {
  readonly #list: ChannelListView
  readonly #messages: MessagesView
  readonly #composer: Composer
  readonly #pins: PinsView
  readonly #rooms: Rooms
  readonly #banner = new Banner()
  readonly #translations: Translations
  readonly #deeds: Deeds
  readonly #abort = new AbortController()
  #emotes: Emotes = new Map()
  #categories: readonly Category[] = []
  #listTimer: number | undefined
  #readTimer: number | undefined
  #reactionsAfter = 0
  #isDrawing = false

  constructor(
    readonly client: ChatClient,
    readonly session: Session,
    readonly me: Me,
  ) {
    this.#translations = new Translations((...asked) => client.request(...asked))
    this.#deeds = new Deeds(client)
    const changed = (channel: Channel) => this.#changed(channel)
    this.#rooms = new Rooms({ client, changed, back: (missed) => this.#banner.back(missed) })
    this.#list = new ChannelListView(element('channels'), (id) => this.#go(id))
    const [log, list, empty] = [element('log'), element('messages'), element('empty')]
    const toEnd = element('to-end', HTMLButtonElement)
    this.#messages = new MessagesView({ log, list, empty, toEnd }, () => this.#context(), this.#abort.signal)
    this.#pins = new PinsView((id) => this.#actions.goTo(id), this.#abort.signal)
    this.#composer = new Composer(
      {
        send: async (draft) => {
          this.#messages.goToEnd()
          await this.#rooms.current?.send(draft)
        },
        edit: async (id, text) => this.#rooms.current?.edit(id, text),
        typing: () => this.#rooms.current?.tellTyping(),
        lastOfMine: () => this.#rooms.current?.messages.findLast(({ user }) => user?.id === this.me.id),
      },
      this.#abort.signal,
    )
  }

  begin(): void {
    const { signal } = this.#abort
    const notice = new ModerationNotice()
    const { id, username, tier } = this.me
    element('me').replaceChildren(avatarOf(id, username), badgeOf(tier), make('b', { text: username }))
    this.client.on('state', (state) => this.#banner.connection(state))
    this.client.on('moderation', (what) => notice.tell(what))
    this.client.on('mention', () => void this.#readList())
    this.client.on('channel:changed', () => void this.#readList())
    this.client.on('channel:closed', () => void this.#readList())
    addEventListener('hashchange', () => this.#open(), { signal })
    addEventListener('focus', () => this.#read(), { signal })
    element('log-out').addEventListener('click', () => void this.#logOut(), { signal })
    element('menu').addEventListener('click', () => this.#drawer(true), { signal })
    element('scrim').addEventListener('click', () => this.#drawer(false), { signal })
    addEventListener('keydown', ({ key }) => key === 'Escape' && this.#drawer(false), { signal })
    this.#listTimer = window.setInterval(() => !document.hidden && void this.#readList(), LIST_EVERY_MS)
    this.#open()
    void this.#readList()
    void this.#readEmotes()
  }

  end(): void {
    this.#abort.abort()
    this.#banner.stop()
    window.clearInterval(this.#listTimer)
    window.clearTimeout(this.#readTimer)
  }

  #go(id: string): void {
    if (location.hash.slice(1) === id) this.#open()
    else location.hash = id
  }

  /** The channel in the address. */
  #open(): void {
    const id = decodeURIComponent(location.hash.slice(1)) || FIRST_CHANNEL
    this.#drawer(false)
    if (this.#rooms.current?.id === id && this.#rooms.current.status !== 'closed') return
    const channel = this.#rooms.open(id)
    this.#composer.begin()
    this.#messages.open(channel)
    this.#draw(channel)
  }

  /** Many changes come at once when one has been away: they are drawn together. */
  #changed(channel: Channel): void {
    if (this.#isDrawing) return
    this.#isDrawing = true
    requestAnimationFrame(() => {
      this.#isDrawing = false
      const { current } = this.#rooms
      if (current !== undefined && channel === current) this.#draw(current)
      else this.#drawList()
    })
  }

  #draw(channel: Channel): void {
    this.#messages.draw()
    this.#pins.draw(channel)
    this.#drawHead(channel)
    this.#drawTyping(channel)
    this.#drawList()
    this.#read()
    this.#loadReactions(channel)
  }

  #loadReactions(channel: Channel): void {
    if (channel.status !== 'live' || Date.now() < this.#reactionsAfter) return
    channel.loadReactions().catch(() => {
      this.#reactionsAfter = Date.now() + REACTIONS_AGAIN_MS
    })
  }

  #drawHead(channel: Channel): void {
    const listed = this.#listed(channel.id)
    const name = listed?.name ?? channel.id
    element('channel-name').textContent = listed === undefined ? name : `${listed.icon} ${name}`
    element('channel-about').textContent = listed?.description ?? ''
    document.title = `${name} · Comptroller`
    const { count, sample } = channel.presence
    const present = element('present')
    show(present, count > 0)
    present.textContent = `${count.toLocaleString('en-US')} here`
    present.title = sample.join(', ')
    const isReadOnly = listed?.posting === 'admins' && !this.me.is_admin
    const closed = channel.closedBecause?.message ?? (isReadOnly ? 'Only moderators write here.' : '')
    this.#composer.close(closed, `Write to ${name}`)
  }

  #drawTyping(channel: Channel): void {
    const others = channel.typing.filter(({ user_id: id }) => id !== this.me.id).map(({ username }) => username)
    const named = others.slice(0, TYPISTS_NAMED_MAX).join(', ')
    const more = others.length > TYPISTS_NAMED_MAX ? ' and others' : ''
    const text = others.length === 0 ? '' : `${named}${more} ${others.length === 1 ? 'is' : 'are'} writing…`
    if (element('typing').textContent !== text) element('typing').textContent = text
  }

  #drawList(): void {
    const unreadOf = ({ id, unread }: ListedChannel) => this.#rooms.known(id)?.unread ?? unread
    this.#list.draw(this.#categories, this.#rooms.current?.id ?? '', unreadOf)
    const isUnread = this.#categories.some(({ channels }) =>
      channels.some((each) => each.id !== this.#rooms.current?.id && unreadOf(each) > 0),
    )
    element('menu').classList.toggle('unread', isUnread)
  }

  /** What is in sight is read. */
  #read(): void {
    const { current } = this.#rooms
    if (current === undefined || current.unread === 0 || !this.#messages.isAtEnd || !document.hasFocus()) return
    if (this.#readTimer !== undefined) return
    this.#readTimer = window.setTimeout(() => {
      this.#readTimer = undefined
      this.#read()
    }, READ_EVERY_MS)
    // Another time: it stays unread.
    current.markRead().catch(() => {})
  }

  #listed(id: string): ListedChannel | undefined {
    return this.#categories.flatMap(({ channels }) => channels).find((each) => each.id === id)
  }

  async #readList(): Promise<void> {
    try {
      const { categories } = (await this.client.get('/v1/social/channels')) as { categories: readonly Category[] }
      this.#categories = categories
        .map(({ name, channels }) => ({ name, channels: channels.filter((each) => each.is_active) }))
        .filter(({ channels }) => channels.length > 0)
    } catch {
      return // what is there stays; it is read again soon
    }
    const { current } = this.#rooms
    if (current === undefined) return
    this.#drawList()
    this.#drawHead(current)
  }

  async #readEmotes(): Promise<void> {
    const answer = await this.client.get('/v1/social/emotes').catch(() => ({ emotes: [] }))
    const { emotes } = answer as { emotes: readonly Emote[] }
    this.#emotes = new Map(emotes.map((emote) => [emote.code, emote]))
    this.#composer.offer(this.#emotes)
    this.#messages.draw()
  }

  async #logOut(): Promise<void> {
    // The server ends the connection; where it cannot be reached, we do.
    await this.session.end().catch(() => location.reload())
  }

  #drawer(isOpen: boolean): void {
    element('chat').classList.toggle('drawer', isOpen)
    element('menu').setAttribute('aria-expanded', String(isOpen))
    if (isOpen) element('channels').querySelector('button')?.focus()
  }

  #context(): RowContext {
    return { me: this.me, emotes: this.#emotes, translations: this.#translations, actions: this.#actions }
  }

  readonly #actions: RowActions = {
    reply: (message) => this.#composer.reply(message),
    edit: (message) => this.#composer.edit(message),
    remove: (message) => void this.#try(this.#rooms.current?.remove(message.id)),
    react: (message, emoji, on) => void this.#try(this.#react(message, emoji, on)),
    translate: (message, on) => void this.#try(this.#translate(message, on)),
    report: (message) => void this.#try(this.#tellOf(this.#deeds.report(message))),
    pin: (message, on) => void this.#try(this.#deeds.pin(message, on)),
    takeAway: (message) => void this.#try(this.#deeds.takeAway(message)),
    timeOut: (message) => void this.#try(this.#tellOf(this.#deeds.timeOut(message))),
    goTo: (id) => void this.#try(this.#goTo(id)),
    retry: (clientId) => this.#rooms.current?.retry(clientId),
    discard: (clientId) => this.#rooms.current?.discard(clientId),
  }

  /** Also to one that has to be read first. */
  async #goTo(id: string): Promise<void> {
    const { current } = this.#rooms
    for (let page = 0; page < PAGES_SEARCHED_MAX && current?.message(id) === undefined; page++) {
      if (current?.hasOlder !== true) break
      await current.loadOlder()
    }
    if (current !== this.#rooms.current) return
    this.#messages.draw()
    if (!this.#messages.goTo(id)) throw new ChatError('message_unknown', 'That message is gone, or too far back.')
  }

  async #react({ id }: ChatMessage, emoji: string, on: boolean): Promise<void> {
    await this.#rooms.current?.react(id, emoji, on)
  }

  async #translate(message: ChatMessage, on: boolean): Promise<void> {
    if (on) await this.#translations.ask(message)
    else this.#translations.forget(message)
    this.#messages.draw()
  }

  async #tellOf(doing: Promise<string | null>): Promise<void> {
    const done = await doing
    if (done !== null) this.#banner.tell(done)
  }

  async #try(doing: Promise<unknown> | undefined): Promise<void> {
    try {
      await doing
    } catch (cause) {
      this.#composer.tell(asChatError(cause))
    }
  }
}
