/** What can be seen from a text alone, in time linear in its length whatever it says. */

const MENTION = /(?<![\p{L}\p{N}_.@])@([\p{L}\p{N}_.-]{1,50})/gu
/** Endings of addresses that are rarely the first word of a sentence after a full stop without a space. */
const ENDINGS =
  'com|net|org|edu|gov|io|gg|xyz|co|me|tv|ru|info|app|dev|link|shop|store|site|online|club|live|bet|casino|biz|pro|ai|cc|ly|uk|de|eu|fr|ca|au|nl|pl|cn|jp|br'
/** With a scheme; by its ending; or with any ending, when a path or a port follows. */
const LINK = new RegExp(
  [
    String.raw`\b[a-z][a-z0-9+.-]{0,20}:\/\/\S|\bwww\.\S`,
    String.raw`[\p{L}\p{N}-]\.(?:${ENDINGS})(?![\p{L}\p{N}-])`,
    String.raw`[\p{L}\p{N}-]\.\p{L}[\p{L}\p{N}-]{1,62}(?:\/|:\d)`,
  ].join('|'),
  'u',
)
const EMOTE_CODE = /^:[A-Za-z0-9_-]{2,64}:$/
const PICTURE = String.raw`\p{Extended_Pictographic}(?:\ufe0f|\p{Emoji_Modifier})?`
const FLAG = String.raw`\p{Regional_Indicator}{2}|\u{1f3f4}[\u{e0030}-\u{e007a}]{2,6}\u{e007f}`
const EMOJI = String.raw`(?:${FLAG}|[#*0-9]\ufe0f?\u20e3|${PICTURE}(?:\u200d${PICTURE})*)`
const ONE_EMOJI = new RegExp(`^${EMOJI}$`, 'u')
const EMOJI_ONLY = new RegExp(`^${EMOJI}+$`, 'u')
const BEYOND_ASCII = /\P{ASCII}/u
const PLAINLY_SEEN = /[a-z0-9]/i
/** Shows nothing by itself, wherever it stands. */
const UNSEEN = /[\p{Default_Ignorable_Code_Point}\p{Cf}]/gu
const SPACES = /[\s\p{Cc}\u2800]+/gu
const SPACES_AND_PUNCTUATION = /[\s\p{Cc}\p{P}\u2800]+/gu
const WORD = String.raw`[\p{L}\p{M}\p{N}]+(?:'[\p{L}\p{M}\p{N}]+)*`
const WORDS = new RegExp(WORD, 'gu')
const PATTERN_WORDS = new RegExp(String.raw`${WORD}\*?`, 'gu')
/** Marks that go with letters of any script; those of one script are part of its words. */
const OVERLAYS = /\p{Script=Inherited}/gu

/** As a reader sees it, in one of the ways it can be written. In ASCII there is only one, and nothing unseen. */
function plainOf(text: string): string {
  if (!BEYOND_ASCII.test(text)) return text.toLowerCase()
  return text.normalize('NFKC').toLowerCase().replace(UNSEEN, '')
}

/** Nothing that a reader would see. */
export function isBlank(text: string): boolean {
  return !PLAINLY_SEEN.test(text) && text.replace(UNSEEN, '').replace(SPACES, '') === ''
}

/** What may be usernames that are mentioned, each once, in the order they come (BJ-CHAT-16). */
export function mentionsIn(text: string, max: number): readonly string[] {
  if (!text.includes('@')) return []
  const names = new Set<string>()
  for (const [, name = ''] of text.matchAll(MENTION)) {
    if (names.size >= max) break
    names.add(name)
  }
  return [...names]
}

/** A name that ends its sentence; it is looked for when nobody is called as it stands there. */
export const withoutFullStop = (name: string): string => name.replace(/[.-]+$/, '')

export const hasLink = (text: string): boolean => LINK.test(plainOf(text).replaceAll('。', '.'))

/** Nothing but emotes and emoji. */
export function isEmotesOnly(text: string): boolean {
  return text.split(/\s+/).every((word) => word === '' || EMOTE_CODE.test(word) || EMOJI_ONLY.test(word))
}

/** Two texts that a reader would call the same have the same one; empty when there is nothing to see. */
export function sameness(text: string): string {
  const seen = plainOf(text)
  return seen.replace(SPACES_AND_PUNCTUATION, ' ').trim() || seen.replace(SPACES, '')
}

/** At most so many UTF-16 units, in whole characters: half of one cannot be kept. */
export function startOf(text: string, lengthMax: number): string {
  return text.slice(0, lengthMax).replace(/[\ud800-\udbff]$/, '')
}

/** Whether one reaction is one emoji. */
export const isEmoji = (text: string): boolean => text.length <= 20 && ONE_EMOJI.test(text)

/** The words of a text, however they are dressed. */
export const wordsOf = (text: string): readonly string[] => undressed(text).match(WORDS) ?? []

/** The words of a rule; `*` at the end of one stands for any rest. */
export const patternWords = (pattern: string): readonly string[] => undressed(pattern).match(PATTERN_WORDS) ?? []

/** Whether it can ever match: it has words, and `*` is nowhere but at their ends. */
export function isWordPattern(pattern: string): boolean {
  return (
    patternWords(pattern).length > 0 && !/(?:^|[^\p{L}\p{M}\p{N}])\*|\*[\p{L}\p{M}\p{N}*]/u.test(undressed(pattern))
  )
}

function undressed(text: string): string {
  const plain = plainOf(text)
  return BEYOND_ASCII.test(plain) ? plain.replace(OVERLAYS, '').replaceAll('\u2019', "'") : plain
}
