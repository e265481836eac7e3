/** S1 to S4: pipelines of payouts die at their calls to the world while their chains, real ones, are reorganised and lie. */
import { type ChainResult, campaign } from '../payouts/campaign.js'
import type { Phase } from '../phase.js'

const REORGS_ONE_IN = 6

export interface WalletsOptions {
  /** Of all faults; a sixth without it. */
  readonly reorgs?: number
  readonly onResults?: (results: readonly ChainResult[]) => void
}

export const wallets = ({ reorgs: wanted, onResults = () => {} }: WalletsOptions = {}): Phase => ({
  name: 'wallets',
  what: 'wallets on both chains: the process dies (five in six), blocks are replaced (one in six)',
  cycles: 120,
  run: async ({ cycles, seed, scope, report }) => {
    const reorgs = wanted ?? Math.floor(cycles / REORGS_ONE_IN)
    const onProgress = (done: number) => {
      while (report.faults < done) report.fault()
    }
    const results = await campaign(scope, { crashes: cycles - reorgs, reorgs, seed, onProgress })
    onResults(results)
    for (const { chain, tally } of results) {
      const { crashes, reorganisations, withConflict, requested, paid, failed, held } = tally
      report.figures[`${chain}: deaths`] = crashes
      report.figures[`${chain}: reorgs, with a conflict`] = `${reorganisations}, ${withConflict}`
      report.figures[`${chain}: payouts requested, paid, failed, held`] = `${requested}, ${paid}, ${failed}, ${held}`
    }
    report.check(
      'wallets',
      results.flatMap(({ tally }) => tally.problems),
    )
  },
})
