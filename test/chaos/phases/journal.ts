/** J2: bytes of the journal are flipped and its files cut short; each is noticed or does no harm. */
import { damageCampaign, outcomes } from '../journal-damage.js'
import type { Phase } from '../phase.js'

const TRUNCATIONS_ONE_IN = 6

export const journal: Phase = {
  name: 'journal',
  what: 'bytes flipped (five in six) and files cut short (one in six) in journals at rest',
  cycles: 12_000,
  run: async ({ cycles, seed, report }) => {
    const truncations = Math.floor(cycles / TRUNCATIONS_ONE_IN)
    const summary = await damageCampaign({
      flips: cycles - truncations,
      truncations,
      seed,
      onProgress: () => report.fault(),
    })
    for (const outcome of outcomes) {
      report.figures[`flips ${outcome}`] = summary.flips[outcome]
      report.figures[`truncations ${outcome}`] = summary.truncations[outcome]
    }
    report.figures['named by journal verify, not by the start'] = summary.namedByVerifyOnly
    report.figures['known by Postgres only'] = summary.knownByPostgresOnly
    report.check('journal', summary.failures)
  },
}
