/** The program every run is about: the loyalty actors under rules so small that a few dozen scans meet all of them. */
import { createHash } from 'node:crypto'
import { codesFromRandom, formatCode } from '../../actors/codes/code-text.js'
import { packCodes } from '../../actors/codes/commands.js'
import { blakjaksRules } from '../../actors/programs/blakjaks/rules.js'
import { createLoyaltyProgram, type LoyaltyProgram } from '../../actors/programs/loyalty.js'
import { SMALL_SCANS_PER_HOUR, smallMilestones, smallTiers, smallUnlocks } from './loyalty-oracle.js'

export const MINUTE_MS = 60_000
export const HOUR_MS = 60 * MINUTE_MS
export const DAY_MS = 24 * HOUR_MS
/** When every run begins. */
export const EPOCH = Date.parse('2026-02-20T00:00:00Z')
export const USDT = 1_000_000n
export const SHARD = 'small'
export const LOCK_MS = 5 * MINUTE_MS

/** One for everybody, one that a tier opens and closes, and the one where the system speaks. */
const channels = blakjaksRules.chat.channels
  .filter(({ id }) => id === 'general' || id === 'high-roller-lounge' || id === blakjaksRules.chat.system.channel)
  .map((each) => ({ ...each, description: '', icon: '' }))
export const CHANNELS: readonly string[] = channels.map(({ id }) => id)

export const smallProgram = (): LoyaltyProgram =>
  createLoyaltyProgram('small', {
    ...blakjaksRules,
    tiers: smallTiers,
    milestones: smallMilestones,
    unlocks: smallUnlocks,
    velocity: { scansMax: SMALL_SCANS_PER_HOUR, windowMs: HOUR_MS },
    login: { failuresMax: 2, windowMs: HOUR_MS, lockMs: LOCK_MS },
    sessionMs: 10_000 * DAY_MS,
    chat: {
      ...blakjaksRules.chat,
      channels,
      retentionMs: 10_000 * DAY_MS,
      // Time stands still while a clock that went back catches up: clients are soon told to wait for longer than they do.
      escalation: { ...blakjaksRules.chat.escalation, intervalMaxMs: 5 * MINUTE_MS },
    },
  })

/** For the names and inputs of its commands and queries, and its rules: what has state here is nobody's. */
export const programWithoutState = smallProgram()

/** A UUID that counts up; the prefix tells what it numbers. */
export const uuid = (prefix: string, count: number) =>
  `${prefix.padEnd(8, '0')}-0000-4000-8000-${count.toString(16).padStart(12, '0')}`

/** How many codes of each status every run begins with. */
export const codeCounts = { manufactured: 90, generated: 4, invalidated: 4 } as const
export type MadeStatus = keyof typeof codeCounts
export const statuses = Object.keys(codeCounts) as readonly MadeStatus[]

export interface MadeCodes {
  readonly status: MadeStatus
  readonly packed: Uint8Array<ArrayBuffer>
  readonly texts: readonly string[]
}

/** The same codes in every run; what differs is what becomes of them. */
export const madeCodes: readonly MadeCodes[] = statuses.map((status) => {
  const count = codeCounts[status]
  const random = createHash('shake256', { outputLength: count * 8 })
    .update(status)
    .digest()
  const drawn = codesFromRandom(random, false)
  const texts = Array.from({ length: count }, (_, at) => formatCode(drawn[at * 2] ?? 0, drawn[at * 2 + 1] ?? 0))
  return { status, packed: Uint8Array.from(packCodes(drawn)), texts }
})

/** Then come two codes that were never made. */
export const allCodes: readonly string[] = [
  ...madeCodes.flatMap(({ texts }) => texts),
  '7777-7777-7777',
  'WXYZ-WXYZ-WXYZ',
]
