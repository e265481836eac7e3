/** Where one writes: a new message, a reply or an edit; with a picture by its address; with emotes. */
import type { ChatMessage } from '../../client/channel-state.js'
import { asChatError, type ChatError } from '../../client/errors.js'
import type { Draft } from '../../client/outbox.js'
import { button, element, make, show } from './dom.js'
import { type Emotes, emoteOf, lengthOf } from './texts.js'

export const TEXT_MAX = 2_000
const COUNTED_FROM = 1_500
const TICK_MS = 250
const EMOTES_SHOWN_MAX = 120

type Aim =
  | { readonly is: 'new' }
  | { readonly is: 'reply'; readonly to: ChatMessage }
  | { readonly is: 'edit'; readonly message: ChatMessage }

export interface ComposerOptions {
  readonly send: (draft: Draft) => Promise<unknown>
  readonly edit: (id: string, text: string) => Promise<unknown>
  readonly typing: () => void
  /** Of the last message of ours, to be edited. */
  readonly lastOfMine: () => ChatMessage | undefined
}

export class Composer {
  readonly #form = element('composer', HTMLFormElement)
  readonly #text = element('text', HTMLTextAreaElement)
  readonly #send = element('send', HTMLButtonElement)
  readonly #picture = element('picture-url', HTMLInputElement)
  readonly #emotes = element('emotes')
  #aim: Aim = { is: 'new' }
  #blockedUntil = 0
  #blockedBecause = ''
  #timer: number | undefined
  #closedBecause = ''

  constructor(
    readonly options: ComposerOptions,
    signal: AbortSignal,
  ) {
    const on = (target: HTMLElement, event: string, heard: (event: Event) => void) =>
      target.addEventListener(event, heard, { signal })
    on(this.#form, 'submit', (event) => {
      event.preventDefault()
      void this.#submit()
    })
    on(this.#text, 'input', () => {
      this.#draw()
      if (this.#text.value !== '') options.typing()
    })
    this.#text.addEventListener('keydown', (event) => this.#key(event), { signal })
    on(element('aim-cancel'), 'click', () => this.begin())
    on(element('add-picture'), 'click', () => this.#askPicture())
    on(element('add-emote'), 'click', () => show(this.#emotes, this.#emotes.hidden))
    on(this.#picture, 'input', () => this.#draw())
  }

  #askPicture(): void {
    const field = element('picture')
    show(field, field.hidden)
    if (!field.hidden) this.#picture.focus()
  }

  /** A new message. */
  begin(): void {
    if (this.#aim.is === 'edit') this.#text.value = ''
    this.#aimAt({ is: 'new' })
  }

  reply(to: ChatMessage): void {
    this.#aimAt({ is: 'reply', to })
    this.#text.focus()
  }

  edit(message: ChatMessage): void {
    this.#text.value = message.text
    this.#aimAt({ is: 'edit', message })
    this.#text.focus()
  }

  /** Nothing can be written in this channel; '' when something can. */
  close(because: string, placeholder: string): void {
    this.#closedBecause = because
    this.#text.placeholder = because === '' ? placeholder : because
    this.#text.disabled = because !== ''
    this.#draw()
  }

  offer(emotes: Emotes): void {
    show(element('add-emote'), emotes.size > 0)
    const choices = [...emotes.values()].slice(0, EMOTES_SHOWN_MAX).map((emote) => {
      const attributes = { label: `:${emote.code}:`, onclick: () => this.#insert(`:${emote.code}: `) }
      return button(attributes, emoteOf(emote))
    })
    this.#emotes.replaceChildren(...choices)
  }

  /** Says why something was refused, and how long to wait. */
  tell(error: ChatError): void {
    this.#blockedBecause = error.message
    this.#blockedUntil = error.retryAfterMs === null ? 0 : Date.now() + error.retryAfterMs
    this.#draw()
  }

  #aimAt(aim: Aim): void {
    this.#aim = aim
    show(element('aim'), aim.is !== 'new')
    const text = element('aim-text')
    if (aim.is === 'reply') {
      const said = aim.to.text === '' ? 'a picture' : aim.to.text
      text.replaceChildren('Reply to ', make('b', { text: aim.to.user?.username ?? 'BlakJaks' }), ` ${said}`)
    } else if (aim.is === 'edit') text.replaceChildren('Edit your message')
    this.#draw()
  }

  async #submit(): Promise<void> {
    const text = this.#text.value.trim()
    const url = this.#picture.value.trim()
    const aim = this.#aim
    if (this.#send.disabled) return
    this.#blockedBecause = ''
    if (aim.is === 'edit') {
      if (text === aim.message.text) this.begin()
      else await this.#tried(this.options.edit(aim.message.id, text).then(() => this.#clear()))
      return
    }
    const draft: Draft = {
      text,
      ...(url === '' ? {} : { media: { type: mediaTypeOf(url), url } }),
      ...(aim.is === 'reply' ? { reply_to: aim.to.id } : {}),
    }
    // It is in the list from now on, whatever becomes of it.
    const sending = this.options.send(draft)
    this.#clear()
    await this.#tried(sending)
  }

  async #tried(doing: Promise<unknown>): Promise<void> {
    try {
      await doing
    } catch (cause) {
      this.tell(asChatError(cause))
    }
  }

  #clear(): void {
    this.#text.value = ''
    this.#picture.value = ''
    show(element('picture'), false)
    show(this.#emotes, false)
    this.#aimAt({ is: 'new' })
  }

  #key(event: KeyboardEvent): void {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
      event.preventDefault()
      this.#form.requestSubmit()
    } else if (event.key === 'Escape') {
      this.begin()
    } else if (event.key === 'ArrowUp' && this.#text.value === '') {
      const last = this.options.lastOfMine()
      if (last === undefined) return
      event.preventDefault()
      this.edit(last)
    }
  }

  #insert(text: string): void {
    const { selectionStart: from, selectionEnd: to } = this.#text
    this.#text.setRangeText(text, from, to, 'end')
    this.#text.focus()
    this.#draw()
  }

  #draw(): void {
    const { value } = this.#text
    this.#text.style.height = 'auto'
    this.#text.style.height = `${this.#text.scrollHeight}px`
    const count = element('counter')
    count.textContent = `${value.length.toLocaleString('en-US')} / ${TEXT_MAX.toLocaleString('en-US')}`
    count.classList.toggle('near', value.length >= COUNTED_FROM)
    count.classList.toggle('over', value.length > TEXT_MAX)
    const waitMs = this.#blockedUntil - Date.now()
    const isEmpty = value.trim() === '' && this.#picture.value.trim() === ''
    this.#send.disabled = isEmpty || value.length > TEXT_MAX || waitMs > 0 || this.#closedBecause !== ''
    this.#send.textContent = waitMs > 0 ? lengthOf(waitMs) : this.#aim.is === 'edit' ? 'Save' : 'Send'
    this.#drawTrouble(waitMs)
  }

  /** The seconds left go down; when they are over, so is the trouble. */
  #drawTrouble(waitMs: number): void {
    if (this.#blockedUntil > 0 && waitMs <= 0) {
      this.#blockedUntil = 0
      this.#blockedBecause = ''
    }
    const trouble = element('trouble')
    if (trouble.textContent !== this.#blockedBecause) trouble.textContent = this.#blockedBecause
    window.clearTimeout(this.#timer)
    if (this.#blockedUntil > 0) this.#timer = window.setTimeout(() => this.#draw(), TICK_MS)
  }
}

/** The server knows which hosts are allowed for which; this is only which kind it is. */
function mediaTypeOf(url: string): 'gif' | 'emote' | 'image' {
  const host = URL.canParse(url) ? new URL(url).hostname : ''
  if (/(^|\.)giphy\.com$/.test(host)) return 'gif'
  return /(^|\.)7tv\.app$/.test(host) ? 'emote' : 'image'
}
