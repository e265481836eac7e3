/** Members as the initials of their names, each in a colour that is always theirs; it comes from the style sheet. */
import { make } from './dom.js'

const HUES = 8
const INITIALS_MAX = 2

export function avatarOf(id: string, username: string): HTMLElement {
  const made = make('span', { class: 'avatar', text: initialsOf(username) })
  made.dataset.hue = String(hueOf(id))
  // The name is right beside it.
  made.setAttribute('aria-hidden', 'true')
  return made
}

function initialsOf(username: string): string {
  const words = username.split(/[\s._-]+/).filter((word) => word !== '')
  return words
    .slice(0, INITIALS_MAX)
    .map(([first = '']) => first)
    .join('')
    .toUpperCase()
}

function hueOf(id: string): number {
  let sum = 0
  for (let at = 0; at < id.length; at++) sum = (sum * 31 + id.charCodeAt(at)) % 65_521
  return sum % HUES
}
