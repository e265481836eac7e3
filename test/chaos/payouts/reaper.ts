// Kills the process at its calls to the world: at any of them, and at those more that were struck less.
import type { Random } from '../../../engine/simulator/random.js'
import { deathsAt } from '../../support/payout-deaths.js'
import type { Death } from '../../support/payouts.js'

/** Calls between two deaths, so that now and then something gets done. */
const GAP_MAX = 30
/** Where it was struck less often, it may be at any call. */
const RARE_BELOW = 2
/** One half at the most; at a point that was struck eight times, a quarter. */
const HALVED_AT = 4

export class Reaper {
  /** Deaths by step and kind. */
  readonly struck = new Map<string, number>()
  #gap = 0

  /** How many are still to die. Two calls at once may be struck by one death. */
  left = 0

  constructor(private readonly random: Random) {}

  readonly plan = (step: string): Death | null => {
    const deaths = deathsAt(step)
    for (const death of deaths) this.struck.set(`${step} ${death}`, this.#times(step, death))
    if (this.left <= 0) return null
    const death = this.random.pick(deaths)
    const times = this.#times(step, death)
    if (this.#gap-- > 0 && times >= RARE_BELOW) return null
    if (!this.random.chance(HALVED_AT / (2 * HALVED_AT + times))) return null
    this.struck.set(`${step} ${death}`, times + 1)
    this.left -= 1
    this.#gap = this.random.int(0, GAP_MAX)
    return death
  }

  #times(step: string, death: Death): number {
    return this.struck.get(`${step} ${death}`) ?? 0
  }
}
