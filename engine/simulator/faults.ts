/** What can go wrong in a run, and what of it the seed has chosen. */
import { Random } from './random.js'

/** How often each happens where it can, at its strongest. */
const strongest = {
  // Of the server's process and machine; per event.
  kill: 0.0015,
  'power loss': 0.0015,
  'graceful stop': 0.0007,
  // Of the disk; per call.
  'slow disk': 0.3,
  'short read': 0.3,
  'short write': 0.01,
  'failed write': 0.01,
  'failed sync': 0.015,
  'disk full': 0.01,
  // Per start.
  'flipped bit': 0.5,
  // Of Postgres; per call.
  'slow database': 0.3,
  'database down': 0.01,
  'lost connection': 0.03,
  'lost commit answer': 0.1,
  // Of rows.
  'refused row': 0.05,
  // Of clients; per request.
  'lost request': 0.1,
  'lost answer': 0.15,
  'doubled request': 0.2,
  'late repeat': 0.1,
  'doubled report': 0.5,
  'slow socket': 0.3,
  // Of the clock; per operation.
  'clock back': 0.05,
  'clock forward': 0.05,
  // Of the connections of the chat; per packet.
  'lost packet': 0.05,
  'late packet': 0.2,
  'broken connection': 0.03,
  'slow reader': 0.2,
  // Of the bus to a gateway of its own; per message, and per batch of facts.
  'lost on the bus': 0.1,
  'gateway death': 0.1,
} as const

export type Fault = keyof typeof strongest
export const faults = Object.keys(strongest) as readonly Fault[]

/** Each fault is off in half of the runs: some troubles only show where others are absent. */
export class Faults {
  readonly #rates = new Map<Fault, number>()
  readonly #draws = new Map<Fault, Random>()
  /** Off from here on: what was hurt must now heal. */
  areOver = false

  constructor(
    seed: number,
    without: ReadonlySet<Fault>,
    readonly note: (fault: Fault) => void,
  ) {
    const swarm = new Random(seed, 'swarm')
    for (const fault of faults) {
      const isOn = swarm.chance(0.5)
      const strength = swarm.unit()
      if (isOn && !without.has(fault)) this.#rates.set(fault, strongest[fault] * strength)
      this.#draws.set(fault, new Random(seed, fault))
    }
  }

  isOn(fault: Fault): boolean {
    return this.#rates.has(fault)
  }

  rate(fault: Fault): number {
    return this.#rates.get(fault) ?? 0
  }

  /** Draws for itself, so that leaving one fault out does not move the others. */
  random(fault: Fault): Random {
    return this.#draws.get(fault) as Random
  }

  /** Whether it strikes now. */
  strikes(fault: Fault): boolean {
    const rate = this.#rates.get(fault)
    if (rate === undefined || this.areOver || !this.random(fault).chance(rate)) return false
    this.note(fault)
    return true
  }
}
