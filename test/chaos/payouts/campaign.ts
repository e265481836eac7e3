// Lives of wallets, one after another on each chain, until so many processes have died and so many blocks were replaced.
import { Random } from '../../../engine/simulator/random.js'
import { inScope, type Scope } from '../scope.js'
import { evmClimate } from './evm-climate.js'
import { type Climate, Life } from './life.js'
import { Reaper } from './reaper.js'
import { solanaClimate } from './solana-climate.js'
import { Tally } from './tally.js'

const REORGS_A_LIFE = 4
/** A campaign that does not get to its end has a fault of its own. */
const LIVES_MAX = 10_000

export interface CampaignOptions {
  readonly crashes: number
  readonly reorgs: number
  readonly seed: number
  /** After each life: how many deaths and reorganisations there were so far. */
  readonly onProgress: (done: number) => void
}

export interface ChainResult {
  readonly chain: Climate['name']
  readonly tally: Tally
  /** Deaths by step and kind. */
  readonly struck: ReadonlyMap<string, number>
}

/** Half of it on the real anvil, half on the real Solana VM, at the same time. Each ends when something does not add up. */
export async function campaign(scope: Scope, options: CampaignOptions): Promise<readonly ChainResult[]> {
  const { crashes, reorgs, onProgress } = options
  const tallies = { evm: new Tally(), solana: new Tally() }
  const progress = () => {
    const all = Object.values(tallies)
    onProgress(all.reduce((sum, tally) => sum + tally.crashes + tally.reorganisations, 0))
  }
  const half = { crashes: Math.ceil(crashes / 2), reorgs: Math.ceil(reorgs / 2) }
  const otherHalf = { crashes: crashes - half.crashes, reorgs: reorgs - half.reorgs }
  return Promise.all([
    live(await evmClimate(scope), tallies.evm, { ...options, ...half, onProgress: progress }),
    live(await solanaClimate(scope), tallies.solana, { ...options, ...otherHalf, onProgress: progress }),
  ])
}

async function live(climate: Climate, tally: Tally, options: CampaignOptions): Promise<ChainResult> {
  const { crashes, reorgs, seed, onProgress } = options
  const reaper = new Reaper(new Random(seed, `deaths on ${climate.name}`))
  const isDone = () => tally.crashes >= crashes && tally.reorganisations >= reorgs
  for (let life = 1; life <= LIVES_MAX && !isDone() && tally.problems.length === 0; life++) {
    const random = new Random(seed, `life ${life} on ${climate.name}`)
    reaper.left = Math.max(0, crashes - tally.crashes)
    const left = Math.max(0, reorgs - tally.reorganisations)
    const plan = { climate, random, reaper, tally, reorgs: Math.min(REORGS_A_LIFE, left) }
    try {
      await inScope((scope) => Life.lead(scope, plan))
    } catch (error) {
      const what = error instanceof Error ? String(error.stack) : String(error)
      tally.problems.push(`${climate.name}, life ${life}: ${what}`)
    }
    onProgress(0)
  }
  return { chain: climate.name, tally, struck: reaper.struck }
}
