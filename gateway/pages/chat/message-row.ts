/** One message, as it looks; what can be done with it is asked of whoever shows it. */
import type { ChatMessage } from '../../client/channel-state.js'
import type { PendingMessage } from '../../client/outbox.js'
import { avatarOf } from './avatars.js'
import { badgeOf } from './badges.js'
import { button, make } from './dom.js'
import { type ToolActions, toolsOf } from './message-tools.js'
import type { Me } from './session.js'
import { type Emotes, emoteOf, nodesOf, timeOf } from './texts.js'
import type { Translation, Translations } from './translations.js'

export interface RowActions extends ToolActions {
  goTo(id: string): void
  retry(clientId: string): void
  discard(clientId: string): void
}

export interface RowContext {
  readonly me: Me
  readonly emotes: Emotes
  readonly translations: Pick<Translations, 'of'>
  readonly actions: RowActions
}

export interface RowLook {
  /** Right after another one of the same author. */
  readonly follows: boolean
  readonly reacted: ReadonlySet<string>
  readonly translation: Translation | undefined
}

export function messageRow(message: ChatMessage, look: RowLook, context: RowContext): HTMLElement {
  const { user, is_system_message: isSystem } = message
  const row = make('li', { class: isSystem ? 'message system' : 'message' })
  row.dataset.id = message.id
  row.tabIndex = -1
  row.classList.toggle('follows', look.follows)
  row.classList.toggle('mine', user?.id === context.me.id)
  row.classList.toggle('for-me', message.mentions.includes(context.me.id))
  if (message.reply_to !== null) row.append(quoteOf(message.reply_to, context.actions))
  row.append(headOf(message), bodyOf(message, context))
  if (look.translation !== undefined) row.append(translationOf(look.translation, context))
  const reactions = reactionsOf(message, look.reacted, context.actions)
  if (reactions !== null) row.append(reactions)
  const tools = toolsOf(message, { ...look, isTranslated: look.translation !== undefined }, context)
  if (tools !== null) row.append(tools)
  return row
}

function headOf({ user, created_at: at }: ChatMessage): HTMLElement {
  const when = make('time', { text: timeOf(at) })
  when.dateTime = at
  if (user === null) return make('p', { class: 'head' }, make('b', { class: 'name', text: 'BlakJaks' }), when)
  const name = make('b', { class: 'name', text: user.username })
  const staff = user.is_admin ? [make('span', { class: 'staff', text: 'Moderator' })] : []
  return make('p', { class: 'head' }, avatarOf(user.id, user.username), badgeOf(user.tier), name, ...staff, when)
}

function bodyOf(message: ChatMessage, { emotes, me }: RowContext): HTMLElement {
  const text = make('p', { class: 'text' }, ...nodesOf(message.text, emotes, me.username))
  if (message.edited_at !== null) {
    const edited = make('small', { class: 'edited', text: 'edited', title: timeOf(message.edited_at) })
    text.append(' ', edited)
  }
  if (message.pinned) text.append(' ', make('small', { class: 'edited', text: '📌', title: 'Pinned' }))
  const media = mediaOf(message, emotes)
  return media === null ? text : make('div', { class: 'body' }, ...(message.text === '' ? [] : [text]), media)
}

function translationOf({ text, language, from }: Translation, { emotes, me }: RowContext): HTMLElement {
  const said = make('span', {}, ...nodesOf(text, emotes, me.username))
  said.lang = language
  return make('p', { class: 'text translation' }, said, make('small', { text: `Translated from ${from}` }))
}

/** Where it may come from is said by the page's content security policy; what does not load is a link. */
function mediaOf(message: ChatMessage, emotes: Emotes): HTMLElement | null {
  const { media_type: type, media_url: url, emote_code: code } = message
  if (type === 'none') return null
  const known = code === null ? undefined : emotes.get(code)
  if (known !== undefined) return emoteOf(known)
  if (url === null || !url.startsWith('https://')) return make('span', { text: code === null ? '' : `:${code}:` })
  const image = make('img', { class: type === 'emote' ? 'emote' : 'picture' })
  image.alt = `${type === 'gif' ? 'GIF' : 'Picture'} from ${message.user?.username ?? 'BlakJaks'}`
  image.loading = 'lazy'
  image.referrerPolicy = 'no-referrer'
  image.addEventListener('error', () => {
    const link = make('a', { class: 'gone', text: `${image.alt} (it does not load)` })
    link.href = url
    link.target = '_blank'
    link.rel = 'noopener noreferrer nofollow ugc'
    image.replaceWith(link)
  })
  image.src = url
  return image
}

function quoteOf({ id, username, text }: NonNullable<ChatMessage['reply_to']>, actions: RowActions): HTMLElement {
  const said = text === '' ? 'a picture' : text
  const attributes = { class: 'quote', label: `Reply to ${username}: ${said}`, onclick: () => actions.goTo(id) }
  return button(attributes, make('b', { text: username }), make('span', { text: said }))
}

function reactionsOf(message: ChatMessage, mine: ReadonlySet<string>, actions: RowActions): HTMLElement | null {
  const entries = Object.entries(message.reactions)
  if (entries.length === 0) return null
  const chips = entries.map(([emoji, count]) => {
    const on = mine.has(emoji)
    const attributes = {
      class: 'chip',
      label: `${emoji} ${count}${on ? ', yours too' : ''}`,
      onclick: () => actions.react(message, emoji, !on),
    }
    const chip = button(attributes, make('span', { text: emoji }), make('span', { text: String(count) }))
    chip.setAttribute('aria-pressed', String(on))
    return chip
  })
  return make('div', { class: 'reactions' }, ...chips)
}

/** Something we said that is not in the channel yet. */
export function pendingRow({ client_id: id, draft, since, state, error }: PendingMessage, context: RowContext) {
  const { me, emotes } = context
  const row = make('li', { class: 'message mine pending' })
  row.dataset.clientId = id
  row.dataset.state = state
  const when = make('time', { text: timeOf(since) })
  const name = make('b', { class: 'name', text: me.username })
  row.append(
    make('p', { class: 'head' }, avatarOf(me.id, me.username), badgeOf(me.tier), name, when),
    make('p', { class: 'text' }, ...nodesOf(draft.text, emotes, me.username)),
  )
  if (draft.media?.url !== undefined) row.append(make('p', { class: 'text soft', text: draft.media.url }))
  const how = make('p', { class: 'how' })
  row.append(how)
  if (state !== 'failed') {
    how.textContent = state === 'sending' ? 'Sending…' : (error?.message ?? 'Waits for the connection')
    return row
  }
  how.append(
    make('span', { text: error?.message ?? 'Not sent.' }),
    button({ text: 'Try again', onclick: () => context.actions.retry(id) }),
    button({ text: 'Discard', onclick: () => context.actions.discard(id) }),
  )
  return row
}
