/** How the connection is, in words; and what a moderator has decided about us. */
import type { ChatEvents } from '../../client/events.js'
import type { LinkState } from '../../client/link.js'
import { element, show } from './dom.js'
import { lengthOf, momentOf } from './texts.js'

const NEWS_SHOWN_MS = 8_000
const TICK_MS = 500

type Moderation = Parameters<ChatEvents['moderation']>[0]

export class Banner {
  #state: LinkState = { is: 'idle' }
  #newsTimer: number | undefined
  #wasOnline = false
  readonly #ticking = window.setInterval(() => {
    if (this.#state.is === 'waiting') this.#draw()
  }, TICK_MS)

  stop(): void {
    window.clearInterval(this.#ticking)
    window.clearTimeout(this.#newsTimer)
    show(element('banner'), false)
  }

  connection(state: LinkState): void {
    this.#state = state
    if (state.is === 'online') this.#wasOnline = true
    this.#draw()
  }

  /** A channel is up to date again after an absence. */
  back(missed: number): void {
    this.tell(missed === 0 ? 'Back. Nothing was missed.' : `Back, ${missed.toLocaleString('en-US')} missed.`)
  }

  /** Something that was done. */
  tell(text: string): void {
    this.#say(text, 'good')
    window.clearTimeout(this.#newsTimer)
    this.#newsTimer = window.setTimeout(() => {
      this.#newsTimer = undefined
      this.#draw()
    }, NEWS_SHOWN_MS)
  }

  #draw(): void {
    const pill = element('state')
    pill.dataset.state = this.#state.is === 'online' ? 'live' : 'connecting'
    element('state-text').textContent = this.#state.is === 'online' ? 'Live' : this.#wasOnline ? 'Away' : 'Connecting…'
    if (this.#state.is === 'online') {
      if (this.#newsTimer === undefined) show(element('banner'), false)
      return
    }
    if (!this.#wasOnline) return
    window.clearTimeout(this.#newsTimer)
    this.#newsTimer = undefined
    this.#say(this.#awayText(), 'away')
  }

  #awayText(): string {
    if (!navigator.onLine) return 'You are offline. What you write is sent when you are back.'
    if (this.#state.is !== 'waiting') return 'Reconnecting…'
    return `Reconnecting… next try in ${lengthOf(this.#state.untilMs - Date.now())}`
  }

  #say(text: string, kind: 'good' | 'away'): void {
    const banner = element('banner')
    banner.dataset.kind = kind
    if (banner.textContent !== text) banner.textContent = text
    show(banner, true)
  }
}

const DONE = {
  muted: 'You are muted',
  timed_out: 'A moderator has timed you out',
  banned: 'A moderator has banned you',
}

export class ModerationNotice {
  #timer: number | undefined

  tell({ action, until, because }: Moderation): void {
    const notice = element('notice')
    window.clearTimeout(this.#timer)
    if (action === 'lifted') {
      notice.textContent = 'You may write again.'
      this.#hideIn(NEWS_SHOWN_MS)
    } else {
      const end = until === null ? '' : ` until ${momentOf(until)}`
      notice.textContent = `${DONE[action]}${end}.${because === null ? '' : ` Reason: ${because}`}`
      if (until !== null) this.#hideIn(Date.parse(until) - Date.now())
    }
    show(notice, true)
  }

  #hideIn(ms: number): void {
    const longestMs = 2 ** 31 - 1
    this.#timer = window.setTimeout(() => show(element('notice'), false), Math.min(ms, longestMs))
  }
}
