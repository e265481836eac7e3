/** What can be seen from a text alone, in time linear in its length whatever it says. */

const MENTION = /(?<![\p{L}\p{N}_.@])@([\p{L}\p{N}_.-]{1,50})/gu
const LINK =
  /\b(?:https?:\/\/|www\.)\S+|\b[a-z0-9-]{1,63}\.(?:com|net|org|io|gg|xyz|co|me|tv|ru|info|app|link|shop|site|online)\b/i
const EMOTE_CODE = /^:[A-Za-z0-9_-]{2,64}:$/
const PICTURE = String.raw`\p{Extended_Pictographic}(?:\ufe0f|\p{Emoji_Modifier})?`
const FLAG = String.raw`\p{Regional_Indicator}{2}|\u{1f3f4}[\u{e0030}-\u{e007a}]{2,6}\u{e007f}`
const EMOJI = String.raw`(?:${FLAG}|[#*0-9]\ufe0f?\u20e3|${PICTURE}(?:\u200d${PICTURE})*)`
const ONE_EMOJI = new RegExp(`^${EMOJI}$`, 'u')
const EMOJI_ONLY = new RegExp(`^${EMOJI}+$`, 'u')
/** Shows nothing by itself, wherever it stands. */
const UNSEEN = /[\p{Default_Ignorable_Code_Point}\p{Cf}]/gu
const SPACES = /[\s\p{Cc}\u2800]+/gu
const SPACES_AND_PUNCTUATION = /[\s\p{Cc}\p{P}\u2800]+/gu
const WORDS = /[\p{L}\p{N}_']+/gu

/** Nothing that a reader would see. */
export const isBlank = (text: string): boolean => text.replace(UNSEEN, '').replace(SPACES, '') === ''

/** What may be usernames that are mentioned, each once, in the order they come (BJ-CHAT-16). */
export function mentionsIn(text: string, max: number): readonly string[] {
  const names = new Set<string>()
  for (const [, name = ''] of text.matchAll(MENTION)) {
    if (names.size >= max) break
    names.add(name)
  }
  return [...names]
}

/** A name that ends its sentence; it is looked for when nobody is called as it stands there. */
export const withoutFullStop = (name: string): string => name.replace(/[.-]+$/, '')

export const hasLink = (text: string): boolean => LINK.test(text)

/** Nothing but emotes and emoji. */
export function isEmotesOnly(text: string): boolean {
  return text.split(/\s+/).every((word) => word === '' || EMOTE_CODE.test(word) || EMOJI_ONLY.test(word))
}

/** The emote codes of a text, without colons. */
export function emotesIn(text: string): readonly string[] {
  return text.split(/\s+/).flatMap((word) => (EMOTE_CODE.test(word) ? [word.slice(1, -1)] : []))
}

/** Two texts that a reader would call the same have the same one; empty when there is nothing to see. */
export function sameness(text: string): string {
  const seen = text.normalize('NFKC').toLowerCase().replace(UNSEEN, '')
  return seen.replace(SPACES_AND_PUNCTUATION, ' ').trim() || seen.replace(SPACES, '')
}

/** At most so many UTF-16 units, in whole characters: half of one cannot be kept. */
export function startOf(text: string, lengthMax: number): string {
  return text.slice(0, lengthMax).replace(/[\ud800-\udbff]$/, '')
}

/** Whether one reaction is one emoji. */
export const isEmoji = (text: string): boolean => text.length <= 20 && ONE_EMOJI.test(text)

/** Whether words of the text match the pattern; `*` at the end of a word of it stands for any rest. */
export function matchesWords(text: string, pattern: string): boolean {
  const words = wordsOf(text)
  const wanted = pattern.normalize('NFKC').toLowerCase().split(/\s+/)
  return words.some((_, start) => wanted.every((want, index) => isWord(words[start + index], want)))
}

function wordsOf(text: string): readonly string[] {
  return text.normalize('NFKC').toLowerCase().match(WORDS) ?? []
}

function isWord(word: string | undefined, want: string): boolean {
  if (word === undefined) return false
  return want.endsWith('*') ? word.startsWith(want.slice(0, -1)) : word === want
}
