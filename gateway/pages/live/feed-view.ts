import type { Position } from './follower.js'

export interface FeedItem extends Position {
  readonly kind: string
  readonly text: string
  readonly at: string
  /** Of a scan item: how many scans it tells of. */
  readonly count?: number
}

const SHOWN_MAX = 60
const SECOND_MS = 1_000
const MINUTE_MS = 60 * SECOND_MS
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS

/** What happened, newest first. Scans that follow each other are one row, so that prizes stay in sight. */
export class FeedView {
  constructor(readonly list: HTMLElement) {}

  show(items: readonly FeedItem[], instead: boolean, nowMs: number): void {
    if (instead) this.list.replaceChildren()
    for (const item of items) this.#add(item, !instead, nowMs)
    while (this.list.children.length > SHOWN_MAX) this.list.lastElementChild?.remove()
  }

  /** Brings the times up to date. */
  age(nowMs: number): void {
    for (const time of this.list.querySelectorAll('time')) {
      const text = ago(nowMs - Date.parse(time.dateTime))
      if (time.textContent !== text) time.textContent = text
    }
  }

  #add(item: FeedItem, isNew: boolean, nowMs: number): void {
    const newest = this.list.firstElementChild
    if (item.kind !== 'scan' || !(newest instanceof HTMLElement) || newest.dataset.kind !== 'scan') {
      this.list.prepend(rowOf(item, isNew, nowMs))
      return
    }
    const count = Number(newest.dataset.count) + (item.count ?? 1)
    const row = rowOf({ ...item, count, text: `${count.toLocaleString('en-US')} tins scanned` }, false, nowMs)
    newest.replaceWith(row)
  }
}

function rowOf({ kind, text, at, count }: FeedItem, isNew: boolean, nowMs: number): HTMLElement {
  const what = document.createElement('span')
  what.textContent = text
  const when = document.createElement('time')
  when.dateTime = at
  when.textContent = ago(nowMs - Date.parse(at))
  const row = document.createElement('li')
  row.dataset.kind = kind
  if (kind === 'scan') row.dataset.count = String(count ?? 1)
  row.classList.toggle('new', isNew)
  row.append(what, when)
  return row
}

function ago(ms: number): string {
  if (ms < 2 * SECOND_MS) return 'now'
  if (ms < MINUTE_MS) return `${Math.floor(ms / SECOND_MS)}s ago`
  if (ms < HOUR_MS) return `${Math.floor(ms / MINUTE_MS)}m ago`
  return ms < DAY_MS ? `${Math.floor(ms / HOUR_MS)}h ago` : `${Math.floor(ms / DAY_MS)}d ago`
}
