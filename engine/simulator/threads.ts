/** Spreads the seeds of a campaign over threads. */
import { Worker } from 'node:worker_threads'
import { type Campaign, Tallies, type Tally } from './campaign.js'

/** A run leaves much behind that the next one has no use for. */
const YOUNG_GENERATION_MB = 64

/** `onRun` is called with the number of runs made so far and the seeds that failed. */
export async function runOnThreads(
  seeds: { readonly first: number; readonly count: number },
  threads: number,
  onRun: (runs: number, failed: readonly number[]) => void = () => {},
): Promise<Campaign> {
  const tallies = new Tallies()
  let next = seeds.first
  const end = seeds.first + seeds.count
  let runs = 0
  const failed: number[] = []
  const work = () =>
    new Promise<void>((resolve, reject) => {
      const worker = new Worker(new URL('./worker.js', import.meta.url), {
        resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
      })
      const giveNext = () => {
        if (next < end) worker.postMessage(next++)
        else worker.terminate().then(() => resolve(), reject)
      }
      worker.on('error', reject)
      worker.on('message', (tally: Tally) => {
        tallies.add(tally)
        runs += 1
        if (tally.failure !== undefined) failed.push(tally.seed)
        onRun(runs, failed)
        giveNext()
      })
      giveNext()
    })
  await Promise.all(Array.from({ length: Math.min(threads, seeds.count) }, work))
  return tallies.campaign
}
