/**
 * `npm run chaos:payouts`: wallets on real chains whose processes die and whose blocks are replaced, and real servers that
 * are killed while they pay. Every payout is paid once, or held, or failed; the books balance to the unit.
 */
import { Command } from 'commander'
import { count, wholeNumber } from '../../cli/options.js'
import type { ChainResult } from './payouts/campaign.js'
import { footOf, isSound, tableOf, write } from './payouts/report.js'
import { payouts } from './phases/payouts.js'
import { wallets } from './phases/wallets.js'
import { leaveNothingBehind, runPhase } from './run-phase.js'

interface Options {
  readonly crashes: number
  readonly reorgs: number
  readonly kills: number
  readonly seed: number
  readonly keep?: boolean
  readonly write?: string
}

const options = new Command('chaos:payouts')
  .description('Hurts payouts at every step on real chains, and checks that each is paid exactly once or not at all.')
  .option('--crashes <n>', 'deaths of a process that pays, half of them on each chain', count, 1_000)
  .option('--reorgs <n>', 'blocks replaced, 1 to 9 deep, half of them on each chain', count, 200)
  .option('--kills <n>', 'kill -9 of a whole server under load; 0 starts none', wholeNumber, 20)
  .option('--seed <n>', 'repeats what a run did when', count, Math.floor(Date.now() / 1_000))
  .option('--keep', 'keep the data of the servers')
  .option('--write <folder>', 'where chaos-payouts.md goes')
  .addHelpText('after', '\nEnds with 1 when anything was paid twice or lost, or does not add up.')
  .parse()
  .opts<Options>()

const { crashes, reorgs, kills, seed, keep: keepsAll = false } = options
leaveNothingBehind()
const chains: ChainResult[] = []
const onResults = (results: readonly ChainResult[]) => void chains.push(...results)
const ofWallets = await runPhase(wallets({ reorgs, onResults }), { seed, cycles: crashes + reorgs, keepsAll })
const ofServers = kills === 0 ? null : await runPhase(payouts, { seed, cycles: kills, keepsAll })
const summary = { chains, wallets: ofWallets, servers: ofServers }
process.stdout.write(`\n${tableOf(summary)}\n\n${footOf(summary)}\n`)
if (options.write !== undefined) {
  const command = `npm run chaos:payouts -- --crashes ${crashes} --reorgs ${reorgs} --kills ${kills} --seed ${seed}`
  await write(summary, options.write, command)
}
process.exit(isSound(summary) ? 0 : 1)
