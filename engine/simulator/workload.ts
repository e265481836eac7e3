/** What clients will ask for in a run: drawn before it begins, so that steps can be left out without moving others. */
import type { TierName } from '../../actors/user/facts.js'
import { type ChatStep, chatWeights, drawChatStep, drawRushStep, isChatKind } from './chat-wishes.js'
import { allCodes, CHANNELS, DAY_MS, HOUR_MS, MINUTE_MS } from './program.js'
import { Random } from './random.js'

export const MEMBERS = 5

export type Step = { readonly afterMicros: number } & (
  | { readonly kind: 'scan'; readonly member: number; readonly code: string; readonly isKeyed: boolean }
  | { readonly kind: 'look'; readonly member: number }
  | { readonly kind: 'fund'; readonly dollars: bigint; readonly reference: string }
  | { readonly kind: 'sell'; readonly tins: number; readonly reference: string; readonly buyer: number | null }
  | { readonly kind: 'unlock'; readonly compType: UnlockedType }
  | { readonly kind: 'threshold'; readonly compType: UnlockedType; readonly tins: number }
  | { readonly kind: 'tier'; readonly member: number; readonly tier: TierName | null }
  | { readonly kind: 'suspend'; readonly member: number }
  | { readonly kind: 'return'; readonly member: number }
  | {
      readonly kind: 'codes'
      readonly codes: readonly string[]
      readonly status: 'manufactured' | 'invalidated' | 'generated'
    }
  | { readonly kind: 'fail login'; readonly member: number }
  | { readonly kind: 'come back'; readonly member: number }
  | ChatStep
)
export type UnlockedType = 'crypto_100' | 'crypto_1k' | 'casino' | 'crypto_10k' | 'trip'

const compTypes = ['crypto_100', 'crypto_1k', 'casino', 'crypto_10k', 'trip'] as const
const tiers = [null, 'standard', 'vip', 'high_roller', 'whale'] as const
const pausesMs = [1, 5 * MINUTE_MS, 20 * MINUTE_MS, HOUR_MS - 1, HOUR_MS, 9 * DAY_MS, 40 * DAY_MS] as const
const weights = {
  ...{ scan: 60, look: 8, fund: 6, sell: 6, unlock: 1, threshold: 1, tier: 2, suspend: 1, return: 5, codes: 2 },
  'fail login': 6,
  'come back': 4,
  ...chatWeights,
} as const
const kinds = (Object.keys(weights) as (keyof typeof weights)[]).flatMap((kind) =>
  Array.from({ length: weights[kind] }, () => kind),
)

/** Where somebody comes back, others talk meanwhile. */
const RUSH_STEPS = 6
const RUSH_PAUSE_MICROS = 500

/** Most steps come in bursts; some after minutes or days. */
function drawPause(random: Random): number {
  if (random.chance(0.08)) return random.pick(pausesMs) * 1_000
  return random.chance(0.5) ? random.int(0, 300) : random.skewed(300, 3_000_000)
}

export function drawSteps(seed: number, count: number): Step[] {
  const random = new Random(seed, 'workload')
  let fresh = 0
  let rushing = 0
  let rushedTo = 0
  return Array.from({ length: count }, (): Step => {
    if (rushing > 0) {
      rushing -= 1
      const afterMicros = random.int(0, RUSH_PAUSE_MICROS)
      return { afterMicros, ...drawRushStep(random, random.int(0, MEMBERS - 1), rushedTo) }
    }
    const afterMicros = drawPause(random)
    const member = random.int(0, MEMBERS - 1)
    const kind = random.pick(kinds)
    if (isChatKind(kind)) return { afterMicros, ...drawChatStep(random, kind, member) }
    switch (kind) {
      case 'come back':
        rushing = RUSH_STEPS
        rushedTo = random.int(0, CHANNELS.length - 1)
        return { kind, afterMicros, member }
      case 'scan': {
        const code = random.chance(0.7) ? (allCodes[fresh++] ?? random.pick(allCodes)) : random.pick(allCodes)
        return { kind, afterMicros, member, code, isKeyed: random.chance(0.85) }
      }
      case 'fund': {
        const dollars = random.pick([60n, 100n, 150n, 1_000n, 9_999n, 20_000n])
        return { kind, afterMicros, dollars, reference: `deposit ${random.int(0, 11)}` }
      }
      case 'sell': {
        const buyer = random.chance(0.7) ? member : null
        return { kind, afterMicros, tins: random.int(1, 16), reference: `sale ${random.int(0, 15)}`, buyer }
      }
      case 'unlock':
        return { kind, afterMicros, compType: random.pick(compTypes) }
      case 'threshold':
        return { kind, afterMicros, compType: random.pick(compTypes), tins: random.int(1, 16) }
      case 'tier':
        return { kind, afterMicros, member, tier: random.pick(tiers) }
      case 'codes': {
        const codes = Array.from({ length: random.int(1, 4) }, () => random.pick(allCodes))
        return { kind, afterMicros, codes, status: random.pick(['manufactured', 'invalidated', 'generated'] as const) }
      }
      default:
        return { kind, afterMicros, member }
    }
  })
}
