/** The badge of a tier (BJ-CHAT-19); its colour comes from the style sheet. */
import { drawing, make } from './dom.js'

const SPADE =
  'M12 2C9.2 6 4 9 4 13.4a4.1 4.1 0 0 0 7 2.9c-.2 2.2-1 4.2-2.5 5.7h7c-1.5-1.5-2.3-3.5-2.5-5.7a4.1 4.1 0 0 0 7-2.9C20 9 14.8 6 12 2Z'
const DIAMOND = 'M12 1.5 20 12l-8 10.5L4 12Z'
const CLUB =
  'M12 2a4.3 4.3 0 0 1 3.7 6.5A4.3 4.3 0 1 1 13 15.8c.2 2.4 1 4.5 2.5 6.2h-7c1.5-1.7 2.3-3.8 2.5-6.2a4.3 4.3 0 1 1-2.7-7.3A4.3 4.3 0 0 1 12 2Z'
const QUEEN =
  'M2.5 8.5 7 12.2 12 3l5 9.2 4.5-3.7L19.4 18H4.6L2.5 8.5ZM4.8 19.6h14.4V22H4.8v-2.4ZM12 1.2a1.5 1.5 0 1 1 0 3 1.5 1.5 0 0 1 0-3Z'

const badges: Readonly<Record<string, { readonly path: string; readonly title: string }>> = {
  standard: { path: SPADE, title: 'Standard' },
  vip: { path: DIAMOND, title: 'VIP' },
  high_roller: { path: CLUB, title: 'High Roller' },
  whale: { path: QUEEN, title: 'Whale' },
}

export function badgeOf(tier: string): HTMLElement {
  const badge = badges[tier] ?? { path: SPADE, title: tier }
  const made = make('span', { class: 'badge', title: badge.title }, drawing(badge.path, ''))
  made.dataset.tier = tier
  made.setAttribute('role', 'img')
  made.setAttribute('aria-label', badge.title)
  return made
}
