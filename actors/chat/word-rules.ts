/** Word rules, made ready once for as long as they hold: a message is held against all of them in one pass. */
import type { WordRule } from './facts.js'
import { patternWords, wordsOf } from './text.js'

interface ReadyRule {
  readonly rule: WordRule
  readonly words: readonly string[]
}

interface ReadyRules {
  /** By their first word. */
  readonly exact: ReadonlyMap<string, readonly ReadyRule[]>
  /** Those whose first word is only the beginning of one. */
  readonly prefix: readonly ReadyRule[]
}

const ready = new WeakMap<readonly WordRule[], ReadyRules>()

function readyOf(rules: readonly WordRule[]): ReadyRules {
  const known = ready.get(rules)
  if (known !== undefined) return known
  const exact = new Map<string, ReadyRule[]>()
  const prefix: ReadyRule[] = []
  for (const rule of rules) {
    const words = patternWords(rule.pattern)
    const [first = ''] = words
    if (first.endsWith('*')) prefix.push({ rule, words })
    else exact.set(first, [...(exact.get(first) ?? []), { rule, words }])
  }
  const made = { exact, prefix }
  ready.set(rules, made)
  return made
}

/** The rules whose words are in the text, one after the other. */
export function rulesHitBy(text: string, rules: readonly WordRule[]): readonly WordRule[] {
  if (rules.length === 0) return []
  const { exact, prefix } = readyOf(rules)
  const words = wordsOf(text)
  const hit = new Set<WordRule>()
  words.forEach((word, start) => {
    for (const each of [...(exact.get(word) ?? []), ...prefix]) {
      if (each.words.every((want, index) => isWord(words[start + index], want))) hit.add(each.rule)
    }
  })
  return [...hit]
}

function isWord(word: string | undefined, want: string): boolean {
  if (word === undefined) return false
  return want.endsWith('*') ? word.startsWith(want.slice(0, -1)) : word === want
}
