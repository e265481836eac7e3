/** What can be done with a message: beside it while it is looked at, the rarer things behind `More`. */
import type { ChatMessage } from '../../client/channel-state.js'
import { button, make, show } from './dom.js'

export interface ToolActions {
  reply(message: ChatMessage): void
  edit(message: ChatMessage): void
  remove(message: ChatMessage): void
  react(message: ChatMessage, emoji: string, on: boolean): void
  translate(message: ChatMessage, on: boolean): void
  report(message: ChatMessage): void
  pin(message: ChatMessage, on: boolean): void
  takeAway(message: ChatMessage): void
  timeOut(message: ChatMessage): void
}

export interface ToolContext {
  readonly me: { readonly id: string; readonly is_admin: boolean }
  readonly actions: ToolActions
}

export interface ToolLook {
  readonly reacted: ReadonlySet<string>
  readonly isTranslated: boolean
}

const EDIT_WITHIN_MS = 5 * 60_000
const REACTIONS = ['👍', '❤️', '😂', '🎉', '😮', '🙏']

/** Null when there is nothing. */
export function toolsOf(message: ChatMessage, look: ToolLook, context: ToolContext): HTMLElement | null {
  const tools = make('div', { class: 'tools' })
  tools.setAttribute('role', 'group')
  tools.setAttribute('aria-label', `What to do with the message of ${message.user?.username ?? 'BlakJaks'}`)
  if (!message.is_system_message) tools.append(...commonTools(message, look, context))
  const rare = rareTools(message, look, context)
  if (rare.length > 0) tools.append(...menuOf(rare))
  return tools.childElementCount === 0 ? null : tools
}

function commonTools(message: ChatMessage, { reacted }: ToolLook, { me, actions }: ToolContext): HTMLElement[] {
  const tools = REACTIONS.map((emoji) => {
    const on = !reacted.has(emoji)
    const label = `${on ? 'React with' : 'Take back'} ${emoji}`
    const made = button({ class: 'emoji', text: emoji, label, onclick: () => actions.react(message, emoji, on) })
    made.setAttribute('aria-pressed', String(!on))
    return made
  })
  tools.push(button({ text: 'Reply', onclick: () => actions.reply(message) }))
  if (message.user?.id !== me.id) return tools
  if (Date.now() - Date.parse(message.created_at) < EDIT_WITHIN_MS) {
    tools.push(button({ text: 'Edit', onclick: () => actions.edit(message) }))
  }
  tools.push(sureButton('Delete', () => actions.remove(message)))
  return tools
}

function rareTools(message: ChatMessage, { isTranslated }: ToolLook, { me, actions }: ToolContext): HTMLElement[] {
  const { user, text, pinned } = message
  const isTheirs = user !== null && user.id !== me.id
  const tools: HTMLElement[] = []
  if (isTheirs && text !== '') {
    const does = isTranslated ? 'Show the original' : 'Translate'
    tools.push(button({ text: does, onclick: () => actions.translate(message, !isTranslated) }))
  }
  if (isTheirs) tools.push(button({ text: 'Report…', onclick: () => actions.report(message) }))
  if (!me.is_admin) return tools
  tools.push(button({ text: pinned ? 'Unpin' : 'Pin', onclick: () => actions.pin(message, !pinned) }))
  if (isTheirs && !user.is_admin) {
    tools.push(button({ class: 'danger', text: 'Time out…', onclick: () => actions.timeOut(message) }))
  }
  if (user?.id !== me.id) tools.push(sureButton('Delete', () => actions.takeAway(message)))
  return tools
}

/** Is pressed twice. */
function sureButton(text: string, does: () => void): HTMLButtonElement {
  const made = button({ class: 'danger', text })
  made.addEventListener('click', (event) => {
    if (made.textContent === 'Really?') {
      does()
      return
    }
    made.textContent = 'Really?'
    // The menu it is in stays open.
    event.stopPropagation()
  })
  made.addEventListener('blur', () => {
    made.textContent = text
  })
  return made
}

function menuOf(tools: readonly HTMLElement[]): [HTMLElement, HTMLElement] {
  const menu = make('div', { class: 'more' }, ...tools)
  const toggle = button({ text: 'More' })
  const open = (isOpen: boolean) => {
    show(menu, isOpen)
    toggle.setAttribute('aria-expanded', String(isOpen))
    menu.classList.remove('up')
    // Not below what is in sight.
    const end = menu.closest('.log')?.getBoundingClientRect().bottom ?? Number.POSITIVE_INFINITY
    if (isOpen) menu.classList.toggle('up', menu.getBoundingClientRect().bottom > end)
  }
  open(false)
  toggle.addEventListener('click', () => open(menu.hidden))
  menu.addEventListener('click', () => open(false))
  menu.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return
    open(false)
    toggle.focus()
  })
  menu.addEventListener('focusout', ({ relatedTarget }) => {
    if (relatedTarget instanceof Node && !menu.contains(relatedTarget) && relatedTarget !== toggle) open(false)
  })
  return [toggle, menu]
}
