/** Whether a text and its media may be said in a channel. Everything here throws and changes nothing. */
import { DomainError } from '../../engine/errors.js'
import type { Turn } from '../../engine/turn.js'
import { isAtLeast } from '../programs/tiers.js'
import { theChannels } from './channel-list.js'
import { type ChatterContext, tierAt } from './chatter.js'
import type { ChannelProfile, Message } from './facts.js'
import type { ChatRules } from './rules.js'
import { hasLink, isBlank, isEmotesOnly, sameness } from './text.js'
import { rulesHitBy } from './word-rules.js'

export type Media = Message['media']
export const noMedia: Media = { type: 'none', url: null, code: null }

/** What is the same for a reader is the same here: the text and what is shown with it, whatever it is called. */
export function samenessOf(text: string, { url, code }: Media): string {
  const shown = url?.replace(/[?#].*$/, '').toLowerCase() ?? code
  return shown === null ? sameness(text) : `${sameness(text)}\n${shown}`
}

/** Throws `text_too_long`, `message_empty`. */
export function checkText({ textLengthMax }: ChatRules, text: string, { type }: Media): void {
  if (text.length > textLengthMax) {
    throw invalid('text_too_long', `A message has at most ${textLengthMax} characters.`, 'text')
  }
  // BJ-T43
  if (type === 'none' && isBlank(text)) throw invalid('message_empty', 'There is nothing in it.', 'text')
}

/** Throws `media_invalid`, `emote_unknown`. */
export function checkMedia(turn: Turn, { mediaHosts }: ChatRules, { type, url, code }: Media): void {
  if (type === 'none') {
    // A client might show it all the same.
    if (url === null && code === null) return
    throw invalid('media_invalid', 'It says that there is nothing to show, and what.', 'media.type')
  }
  if (type !== 'emote' && code !== null) throw invalid('media_invalid', 'Only emotes have codes.', 'media.code')
  if (url !== null) {
    if (isFrom(mediaHosts[type], url)) return
    throw invalid('media_invalid', `A ${type} comes by https from ${mediaHosts[type].join(' or ')}.`, 'media.url')
  }
  const { emotes } = turn.context(theChannels)
  if (code === null) throw invalid('media_invalid', `A ${type} needs its url.`, 'media.url')
  if (emotes !== null && !emotes.includes(code)) {
    throw invalid('emote_unknown', `There is no emote ${code} that everybody has. Send its url.`, 'media.code')
  }
}

/** No user, no port, no characters that an address cannot have. */
const MEDIA_URL = /^https:\/\/((?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]+)\/[\w\-.~:/?#[\]@!$&'()*+,;=%]*$/i

function isFrom(hosts: readonly string[], url: string): boolean {
  const host = MEDIA_URL.exec(url)?.[1]?.toLowerCase()
  return host !== undefined && hosts.some((each) => host === each || host.endsWith(`.${each}`))
}

/**
 * The modes of the channel; moderators are above them. Throws `posting_closed`, `member_too_new`, `emote_only`,
 * `link_not_allowed`, `not_unique`.
 */
export function checkModes(
  turn: Turn,
  remembered: readonly string[],
  { posting, modes }: ChannelProfile,
  member: ChatterContext,
  text: string,
  media: Media,
): void {
  if (member.isAdmin) return
  if (posting === 'admins') throw forbidden('posting_closed', 'Only moderators write in this channel.')
  const newForMs = member.memberSince + modes.memberAgeSecondsMin * 1_000 - turn.at
  if (newForMs > 0) {
    const message = 'You are not a member for long enough to write in this channel.'
    throw new DomainError('forbidden', 'member_too_new', message, { retryAfterMs: newForMs })
  }
  const isEmote = media.type === 'emote' || media.type === 'none'
  if (modes.emoteOnly && !(isEmote && isEmotesOnly(text))) throw forbidden('emote_only', 'Only emotes for now.')
  if (modes.linksFrom !== null && !isAtLeast(tierAt(member, turn.at), modes.linksFrom) && hasLink(text)) {
    throw forbidden('link_not_allowed', `Links in this channel are for ${modes.linksFrom} and above.`)
  }
  if (modes.uniqueMessages && remembered.includes(samenessOf(text, media))) {
    throw forbidden('not_unique', 'Somebody said exactly this a moment ago.')
  }
}

/** Whether a word rule flags it. Throws `word_refused`. */
export function isFlaggedByWords(turn: Turn, member: ChatterContext, text: string): boolean {
  if (member.isAdmin) return false
  const tier = tierAt(member, turn.at)
  const hit = rulesHitBy(text, turn.context(theChannels).wordRules).filter(
    ({ exemptFrom }) => exemptFrom === null || !isAtLeast(tier, exemptFrom),
  )
  if (hit.some(({ action }) => action === 'refuse')) {
    throw new DomainError('unprocessable', 'word_refused', 'This cannot be said here.', { field: 'text' })
  }
  return hit.length > 0
}

const invalid = (code: string, message: string, field: string) =>
  new DomainError('unprocessable', code, message, { field })
const forbidden = (code: string, message: string) => new DomainError('forbidden', code, message)
