/** Word rules, made ready once for as long as they hold: a message is held against all of them in one pass. */
import type { WordRule } from './facts.js'
import { patternWords, wordsOf } from './text.js'

interface Want {
  readonly text: string
  /** It stands for every word that begins so. */
  readonly isBeginning: boolean
}

interface ReadyRule {
  readonly rule: WordRule
  readonly wants: readonly Want[]
}

const none: readonly ReadyRule[] = []
/** By the first letter of their first word. */
type ReadyRules = ReadonlyMap<string, readonly ReadyRule[]>
const ready = new WeakMap<readonly WordRule[], ReadyRules>()

function readyOf(rules: readonly WordRule[]): ReadyRules {
  const known = ready.get(rules)
  if (known !== undefined) return known
  const made = new Map<string, ReadyRule[]>()
  for (const rule of rules) {
    const wants = patternWords(rule.pattern).map((word) => {
      const isBeginning = word.endsWith('*')
      return { text: isBeginning ? word.slice(0, -1) : word, isBeginning }
    })
    const letter = wants[0]?.text.charAt(0) ?? ''
    made.set(letter, [...(made.get(letter) ?? []), { rule, wants }])
  }
  ready.set(rules, made)
  return made
}

/** The rules whose words are in the text, one after the other. */
export function rulesHitBy(text: string, rules: readonly WordRule[]): readonly WordRule[] {
  if (rules.length === 0) return []
  const byLetter = readyOf(rules)
  const words = wordsOf(text)
  const hit = new Set<WordRule>()
  words.forEach((word, start) => {
    for (const { rule, wants } of byLetter.get(word.charAt(0)) ?? none) {
      if (wants.every((want, index) => isWanted(words[start + index], want))) hit.add(rule)
    }
  })
  return [...hit]
}

function isWanted(word: string | undefined, { text, isBeginning }: Want): boolean {
  if (word === undefined) return false
  return isBeginning ? word.startsWith(text) : word === text
}
