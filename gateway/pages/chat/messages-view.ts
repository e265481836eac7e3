/** The messages of a channel: rows that are kept while they look the same; the end stays in sight while it is. */
import type { Channel } from '../../client/channel.js'
import type { ChatMessage } from '../../client/channel-state.js'
import { make, show } from './dom.js'
import { messageRow, pendingRow, type RowContext } from './message-row.js'
import { dayOf } from './texts.js'

/** Messages of one author within this time are one group. */
const GROUP_MS = 5 * 60_000
const NEAR_END_PX = 60
const NEAR_BEGINNING_PX = 200

interface Shown {
  readonly row: HTMLElement
  readonly message: ChatMessage
  /** Everything the row depends on besides the message. */
  readonly look: string
}

export interface MessagesElements {
  /** What scrolls. */
  readonly log: HTMLElement
  readonly list: HTMLElement
  readonly empty: HTMLElement
  readonly toEnd: HTMLButtonElement
}

export class MessagesView {
  #channel: Channel | null = null
  #shown = new Map<string, Shown>()
  #isAtEnd = true
  #isLoading = false

  constructor(
    readonly elements: MessagesElements,
    readonly context: () => RowContext,
    signal: AbortSignal,
  ) {
    const { log, toEnd } = elements
    // What scrolls can be scrolled with the keyboard.
    log.tabIndex = 0
    log.addEventListener('scroll', () => this.#scrolled(), { passive: true, signal })
    log.addEventListener('keydown', (event) => this.#moveFocus(event), { signal })
    // Pictures that load late make it longer.
    log.addEventListener('load', () => this.#stay(), { capture: true, signal })
    toEnd.addEventListener('click', () => this.goToEnd(), { signal })
    const resized = new ResizeObserver(() => this.#stay())
    resized.observe(log)
    signal.addEventListener('abort', () => resized.disconnect())
  }

  get isAtEnd(): boolean {
    return this.#isAtEnd
  }

  /** Shows another channel, from its end. */
  open(channel: Channel): void {
    this.#channel = channel
    this.#shown.clear()
    this.#isAtEnd = true
    this.elements.list.replaceChildren()
    this.draw()
  }

  draw(): void {
    const channel = this.#channel
    if (channel === null) return
    const { log, list, empty } = this.elements
    const wasLive = list.childElementCount > 0
    // History and a whole channel are not read aloud, what is said from then on is.
    log.setAttribute('aria-busy', String(!wasLive || channel.status === 'joining'))
    const anchor = this.#isAtEnd ? null : this.#anchor()
    replaceWith(list, this.#rows(channel))
    show(empty, channel.messages.length + channel.pending.length === 0 && channel.status === 'live')
    const anchored = this.#shown.get(anchor?.id ?? '')?.row
    if (anchor !== null && anchored !== undefined) log.scrollTop += anchored.offsetTop - anchor.top
    this.#stay()
    if (log.scrollHeight <= log.clientHeight) this.#loadOlder()
  }

  #rows(channel: Channel): HTMLElement[] {
    const context = this.context()
    const rows: HTMLElement[] = []
    const shown = new Map<string, Shown>()
    let before: ChatMessage | null = null
    for (const message of channel.messages) {
      const isNewDay = before === null || !isSameDay(before, message)
      if (isNewDay) rows.push(make('li', { class: 'day', text: dayOf(message.created_at) }))
      const next = this.#row(channel, message, !isNewDay && isGrouped(before, message), context)
      shown.set(message.id, next)
      rows.push(next.row)
      before = message
    }
    this.#shown = shown
    rows.push(...channel.pending.map((pending) => pendingRow(pending, context)))
    return rows
  }

  #row(channel: Channel, message: ChatMessage, follows: boolean, context: RowContext): Shown {
    const reacted = channel.reactedWith(message.id)
    const translation = context.translations.of(message)
    const look = `${follows} ${[...reacted].join()} ${context.emotes.size} ${translation !== undefined}`
    const known = this.#shown.get(message.id)
    if (known?.message === message && known.look === look) return known
    const row = messageRow(message, { follows, reacted, translation }, context)
    if (known?.row.contains(document.activeElement) === true) queueMicrotask(() => row.focus({ preventScroll: true }))
    return { row, message, look }
  }

  goToEnd(): void {
    this.#isAtEnd = true
    this.#stay()
  }

  /** Shows a message that may be far away; false when it is not among those that are known. */
  goTo(id: string): boolean {
    const row = this.#shown.get(id)?.row
    if (row === undefined) return false
    this.#isAtEnd = false
    row.scrollIntoView({ block: 'center' })
    row.focus({ preventScroll: true })
    row.classList.add('found')
    row.addEventListener('animationend', () => row.classList.remove('found'), { once: true })
    return true
  }

  #stay(): void {
    const { log, toEnd } = this.elements
    if (this.#isAtEnd) log.scrollTop = log.scrollHeight
    show(toEnd, !this.#isAtEnd)
  }

  /** The first message in sight, and where it is. */
  #anchor(): { id: string; top: number } | null {
    const { log } = this.elements
    for (const [id, { row }] of this.#shown) {
      if (row.offsetTop + row.offsetHeight > log.scrollTop) return { id, top: row.offsetTop }
    }
    return null
  }

  #scrolled(): void {
    const { log } = this.elements
    this.#isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END_PX
    show(this.elements.toEnd, !this.#isAtEnd)
    if (log.scrollTop < NEAR_BEGINNING_PX) this.#loadOlder()
  }

  #loadOlder(): void {
    const channel = this.#channel
    if (channel === null || this.#isLoading || channel.status !== 'live' || !channel.hasOlder) return
    this.#isLoading = true
    const { log } = this.elements
    log.classList.add('loading')
    channel
      .loadOlder()
      // Scrolling again tries again.
      .catch(() => {})
      .finally(() => {
        this.#isLoading = false
        log.classList.remove('loading')
      })
  }

  /** Up and down go from message to message. */
  #moveFocus(event: KeyboardEvent): void {
    if (event.key !== 'ArrowUp' && event.key !== 'ArrowDown') return
    const rows = [...this.#shown.values()].map(({ row }) => row)
    const at = rows.findIndex((row) => row.contains(document.activeElement))
    const next = event.key === 'ArrowUp' ? (at === -1 ? rows.length - 1 : at - 1) : at + 1
    const row = at === -1 && event.key === 'ArrowDown' ? undefined : rows[next]
    if (row === undefined) return
    event.preventDefault()
    row.focus()
  }
}

const isSameDay = (one: ChatMessage, other: ChatMessage): boolean =>
  new Date(one.created_at).toDateString() === new Date(other.created_at).toDateString()

function isGrouped(before: ChatMessage | null, { user, created_at: at, reply_to: quote }: ChatMessage): boolean {
  if (before === null || quote !== null || before.user?.id !== user?.id) return false
  return Date.parse(at) - Date.parse(before.created_at) < GROUP_MS
}

/** Touches only what is different, so that focus, selection and pictures stay. */
function replaceWith(list: HTMLElement, rows: readonly HTMLElement[]): void {
  const wanted = new Set<Element>(rows)
  for (const child of [...list.children]) if (!wanted.has(child)) child.remove()
  let at: Element | null = list.firstElementChild
  for (const row of rows) {
    if (row === at) at = at.nextElementSibling
    else list.insertBefore(row, at)
  }
}
