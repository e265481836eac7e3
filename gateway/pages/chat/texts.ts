/** What members write, as nodes: links, mentions and emotes stand out, everything else is text. */
import { make } from './dom.js'

export interface Emote {
  /** Written `:code:`. */
  readonly code: string
  readonly url: string
}

/** By code. */
export type Emotes = ReadonlyMap<string, Emote>

const SPECIAL = /(https?:\/\/[^\s<>"']+)|(@[a-z0-9_.]{2,30})|:([\w()-]{2,40}):/gi
const TRAILING = /[.,;:!?)\]]+$/

export function nodesOf(text: string, emotes: Emotes, myName: string): (Node | string)[] {
  const nodes: (Node | string)[] = []
  let done = 0
  for (const found of text.matchAll(SPECIAL)) {
    const [whole, url, mention, code = ''] = found
    const node = url !== undefined ? linkOf(url) : mention !== undefined ? mentionOf(mention, myName) : emotes.get(code)
    if (node === undefined) continue
    nodes.push(text.slice(done, found.index))
    if (node instanceof Node) nodes.push(node)
    else nodes.push(emoteOf(node))
    done = found.index + (url === undefined ? whole.length : url.replace(TRAILING, '').length)
  }
  nodes.push(text.slice(done))
  return nodes.filter((node) => node !== '')
}

function linkOf(text: string): HTMLAnchorElement {
  const url = text.replace(TRAILING, '')
  const link = make('a', { text: url })
  link.href = url
  link.target = '_blank'
  link.rel = 'noopener noreferrer nofollow ugc'
  return link
}

function mentionOf(text: string, myName: string): HTMLElement {
  const isMe = text.slice(1).replace(/\.$/, '').toLowerCase() === myName.toLowerCase()
  return make('b', { class: isMe ? 'mention me' : 'mention', text })
}

export function emoteOf({ code, url }: Emote): HTMLImageElement {
  const image = make('img', { class: 'emote', title: `:${code}:` })
  image.alt = `:${code}:`
  image.loading = 'lazy'
  image.referrerPolicy = 'no-referrer'
  image.src = url
  return image
}

const timeFormat = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' })
const dayFormat = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' })

export const timeOf = (iso: string | number): string => timeFormat.format(new Date(iso))
export const dayOf = (iso: string | number): string => dayFormat.format(new Date(iso))

/** Today only the time. */
export function momentOf(iso: string): string {
  const isToday = new Date(iso).toDateString() === new Date().toDateString()
  return isToday ? timeOf(iso) : `${timeOf(iso)} on ${dayOf(iso)}`
}

/** `42 s`, `5 min`. */
export function lengthOf(ms: number): string {
  const seconds = Math.max(1, Math.ceil(ms / 1_000))
  return seconds < 120 ? `${seconds} s` : `${Math.ceil(seconds / 60)} min`
}
