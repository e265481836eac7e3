/** The targets of the whole benchmark, and which of them a run met. */

export interface Target {
  readonly name: string
  readonly target: string
  /** Null when it was not measured: `note` says why. */
  readonly measured: number | null
  readonly ok: boolean | null
  readonly note?: string
}

interface Goal {
  readonly name: string
  readonly target: string
  readonly isMet: (value: number) => boolean
  /** The part that measures it. */
  readonly part: string
}

export const goals = {
  sustainedRatio: {
    name: 'sustained scans a second, against the conventional transaction, 64 connections, drain counted',
    target: 'at least 10 times',
    isMet: (ratio) => ratio >= 10,
    part: 'scan',
  },
  burstRatio: {
    name: 'scans a second in a burst of 5 s, against the conventional transaction, 64 connections',
    target: 'at least 15 times',
    isMet: (ratio) => ratio >= 15,
    part: 'scan',
  },
  sustainedP99Ratio: {
    name: 'answer p99 sustained, against that of the conventional transaction',
    target: 'at most 0.25',
    isMet: (ratio) => ratio <= 0.25,
    part: 'scan',
  },
  burstP99Ratio: {
    name: 'answer p99 in the burst, against that of the conventional transaction',
    target: 'at most 0.25',
    isMet: (ratio) => ratio <= 0.25,
    part: 'scan',
  },
  ceilingRatio: {
    name: 'requests a second in the burst, against the ceiling, 64 connections',
    target: 'at least 0.3',
    isMet: (ratio) => ratio >= 0.3,
    part: 'scan',
  },
  decisionP99Micros: {
    name: 'decision p99 at 80 % of saturation, µs',
    target: 'under 50',
    isMet: (micros) => micros < 50,
    part: 'scan',
  },
  decisionP999Micros: {
    name: 'decision p99.9 at 80 % of saturation, µs',
    target: 'under 500',
    isMet: (micros) => micros < 500,
    part: 'scan',
  },
  durableP99Ms: {
    name: 'durable answer p99 at half of saturation, open loop, ms',
    target: 'under 5',
    isMet: (ms) => ms < 5,
    part: 'scan',
  },
  longestPauseMs: {
    name: 'longest garbage collection pause of any run, ms',
    target: 'at most 10, or explained',
    isMet: (ms) => ms <= 10,
    part: 'scan',
  },
  writeBehindSeconds: {
    name: 'write-behind at 15,000 scans a second for 5 minutes: seconds behind at the end',
    target: 'at most 5',
    isMet: (seconds) => seconds <= 5,
    part: 'write-behind',
  },
  writeBehindAnswered: {
    name: 'the same: share of the scans that were accepted',
    target: 'all',
    isMet: (share) => share === 1,
    part: 'write-behind',
  },
  memoryGrowth: {
    name: 'the same: server memory in the last minute, against that in the second',
    target: 'at most 1.1 times',
    isMet: (ratio) => ratio <= 1.1,
    part: 'write-behind',
  },
  bytesPerUser: {
    name: 'bytes of a cached user at rest',
    target: 'under 500',
    isMet: (bytes) => bytes < 500,
    part: 'growth',
  },
  bytesPerCode: { name: 'bytes of a code', target: 'under 16', isMet: (bytes) => bytes < 16, part: 'growth' },
  readySeconds: {
    name: 'ready with 1 million users and 10 million codes, seconds',
    target: 'under 10',
    isMet: (seconds) => seconds < 10,
    part: 'growth',
  },
} as const satisfies Readonly<Record<string, Goal>>

export type GoalName = keyof typeof goals

/** Every goal, met, missed or not measured. */
export function targetsOf(
  measured: Readonly<Partial<Record<GoalName, number>>>,
  notes: Readonly<Partial<Record<GoalName, string>>> = {},
): Target[] {
  return Object.entries<Goal>(goals).map(([key, { name, target, isMet, part }]) => {
    const value = measured[key as GoalName]
    const note = notes[key as GoalName]
    return value === undefined || Number.isNaN(value)
      ? { name, target, measured: null, ok: null, note: `not measured in this mode: it is of the part ${part}` }
      : { name, target, measured: value, ok: isMet(value), ...(note === undefined ? {} : { note }) }
  })
}
