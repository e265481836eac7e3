/** The channels a member may read, by category, with what is unread in them. */
import { button, make } from './dom.js'

export interface ListedChannel {
  readonly id: string
  readonly name: string
  readonly description: string
  readonly icon: string
  readonly posting: string
  readonly is_active: boolean
  readonly unread: number
}

export interface Category {
  readonly name: string
  readonly channels: readonly ListedChannel[]
}

const UNREAD_SHOWN_MAX = 99

export class ChannelListView {
  constructor(
    readonly list: HTMLElement,
    readonly choose: (id: string) => void,
  ) {}

  draw(categories: readonly Category[], chosen: string, unreadOf: (channel: ListedChannel) => number): void {
    const focused = this.list.querySelector<HTMLElement>(':focus')?.dataset.channel
    this.list.replaceChildren(
      ...categories.map(({ name, channels }) => {
        const rows = channels.map((channel) => make('li', {}, this.#row(channel, chosen, unreadOf(channel))))
        return make('section', {}, make('h3', { text: name }), make('ul', {}, ...rows))
      }),
    )
    if (focused !== undefined) this.list.querySelector<HTMLElement>(`[data-channel="${focused}"]`)?.focus()
  }

  #row({ id, name, icon }: ListedChannel, chosen: string, unread: number): HTMLElement {
    const isChosen = id === chosen
    const row = button(
      { class: 'channel', onclick: () => this.choose(id) },
      make('span', { class: 'icon', text: icon }),
      make('span', { class: 'title', text: name }),
    )
    row.dataset.channel = id
    row.querySelector('.icon')?.setAttribute('aria-hidden', 'true')
    if (isChosen) row.setAttribute('aria-current', 'page')
    if (unread > 0 && !isChosen) {
      const text = unread > UNREAD_SHOWN_MAX ? `${UNREAD_SHOWN_MAX}+` : String(unread)
      row.append(make('span', { class: 'unread', text, label: `${unread} unread` }))
    }
    return row
  }
}
