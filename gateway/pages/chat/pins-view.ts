/** What is pinned in the channel, behind a button. */
import type { Channel } from '../../client/channel.js'
import { button, element, make, show } from './dom.js'
import { timeOf } from './texts.js'

const TEXT_SHOWN_MAX = 200

export class PinsView {
  #channel: Channel | null = null
  readonly #toggle = element('pins-toggle')
  readonly #list = element('pins')

  constructor(
    readonly goTo: (id: string) => void,
    signal: AbortSignal,
  ) {
    this.#toggle.addEventListener('click', () => this.#open(this.#list.hidden), { signal })
  }

  draw(channel: Channel): void {
    if (channel !== this.#channel) this.#open(false)
    this.#channel = channel
    show(this.#toggle, channel.pinCount > 0)
    this.#toggle.textContent = `📌 ${channel.pinCount}`
    this.#toggle.setAttribute('aria-label', `${channel.pinCount} pinned`)
    if (channel.pinCount === 0) this.#open(false)
    if (this.#list.hidden) return
    const rows = channel.pinned.map((message) => {
      const said = message.text === '' ? 'a picture' : message.text.slice(0, TEXT_SHOWN_MAX)
      const head = make('b', { text: message.user?.username ?? 'BlakJaks' })
      const when = make('time', { text: timeOf(message.created_at) })
      return make('li', {}, button({ onclick: () => this.goTo(message.id) }, head, when, make('span', { text: said })))
    })
    this.#list.replaceChildren(...rows)
  }

  #open(isOpen: boolean): void {
    show(this.#list, isOpen)
    this.#toggle.setAttribute('aria-expanded', String(isOpen))
    if (!isOpen || this.#channel === null) return
    this.draw(this.#channel)
    // What cannot be read now is missing from the list until it is opened again.
    this.#channel.loadPins().catch(() => {})
  }
}
