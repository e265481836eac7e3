/** A day: how busy each hour is, what members do in it, and when the live event is on. */

/** By hour, as a share of the busiest one: low at night, a hump at noon, a peak in the evening. */
export const busyness: readonly number[] = [
  0.16, 0.1, 0.07, 0.05, 0.05, 0.07, 0.12, 0.2, 0.3, 0.36, 0.42, 0.5, 0.6, 0.55, 0.5, 0.5, 0.55, 0.65, 0.8, 0.95, 1,
  0.85, 0.5, 0.28,
]
export const HOURS = busyness.length

/** The hours in which the event is live. */
export const EVENT_FROM = 19
export const EVENT_UNTIL = 22

export const kinds = ['scan', 'profile', 'recent scans', 'stats', 'transactions', 'channel page'] as const
export type Kind = (typeof kinds)[number]

/** Of a hundred requests, spread evenly: the same order every time. */
export const mix: Readonly<Record<Kind, number>> = {
  scan: 40,
  profile: 22,
  'recent scans': 14,
  stats: 10,
  transactions: 4,
  'channel page': 10,
}

/** Messages for each request over HTTP. */
export const MESSAGES_PER_REQUEST = 0.05

/** The kinds in an order in which each comes as evenly as it can. */
export function deckOf(shares: Readonly<Record<Kind, number>>): Kind[] {
  const total = kinds.reduce((sum, kind) => sum + shares[kind], 0)
  const owed = Object.fromEntries(kinds.map((kind) => [kind, 0])) as Record<Kind, number>
  return Array.from({ length: total }, () => {
    for (const kind of kinds) owed[kind] += shares[kind]
    const due = kinds.reduce((most, kind) => (owed[kind] > owed[most] ? kind : most))
    owed[due] -= total
    return due
  })
}

/** Scans of a whole day whose busiest hour has `peak` requests a second and takes `hourMs`. */
export function scansOf(peak: number, hourMs: number): number {
  const total = kinds.reduce((sum, kind) => sum + mix[kind], 0)
  const requests = busyness.reduce((sum, share) => sum + share, 0) * peak * (hourMs / 1_000)
  return Math.ceil((requests * mix.scan) / total)
}
