/** What is measured, server against server: rounds are interleaved, so that a busy minute of the machine hits all alike. */
import type { Measured, Pace, Rig, Storm } from './rig.js'

const WARM_UP_MS = 1_000
/** One message is on its way to the audience while the next one waits at the server, which so never waits itself. */
const SATURATING: Pace = { underWay: 2 }
/** Those who come back have missed some, and none is so long away that it gets a resync. */
export const STORM_MESSAGES_PER_SECOND = 5
export const STORM_SLOW_EVERY = 10

export interface Rounds {
  readonly server: string
  readonly subscribers: number
  readonly rounds: readonly Measured[]
}

export interface Delivery extends Rounds {
  readonly perSecond: number
}

/** As many deliveries as each server manages, to `subscribers` in one room. */
export function fanOut(rigs: readonly Rig[], subscribers: number, rounds: number, ms: number): Promise<Rounds[]> {
  return interleaved('fan-out', rigs, subscribers, rounds, (rig) => rig.measure(SATURATING, WARM_UP_MS, ms))
}

/** How long messages take at a steady pace, to everybody there is. */
export async function delivery(
  rigs: readonly Rig[],
  subscribers: number,
  perSecond: number,
  rounds: number,
  ms: number,
): Promise<Delivery[]> {
  const what = `delivery of ${perSecond} a second`
  const measure = (rig: Rig) => rig.measure({ perSecond }, WARM_UP_MS, ms)
  return (await interleaved(what, rigs, subscribers, rounds, measure)).map((each) => ({ ...each, perSecond }))
}

async function interleaved(
  what: string,
  rigs: readonly Rig[],
  subscribers: number,
  rounds: number,
  measure: (rig: Rig) => Promise<Measured>,
): Promise<Rounds[]> {
  for (const rig of rigs) await rig.place(subscribers)
  const results = rigs.map(({ name }) => ({ server: name, subscribers, rounds: [] as Measured[] }))
  for (let round = 1; round <= rounds; round++) {
    for (const [index, rig] of rigs.entries()) {
      const measured = await measure(rig)
      results[index]?.rounds.push(measured)
      const { deliveriesPerSecond: rate, serverMicrosPerDelivery: cost } = measured
      const figures = `${Math.round(rate).toLocaleString('en-US')} deliveries/s, ${cost.toFixed(2)} µs each`
      process.stderr.write(`${what} to ${subscribers}, round ${round} of ${rounds}, ${rig.name}: ${figures}\n`)
    }
  }
  return results
}

export async function storms(rig: Rig, rounds: number): Promise<Storm[]> {
  const results: Storm[] = []
  await rig.place(rig.subscribers)
  for (let round = 1; round <= rounds; round++) {
    const storm = await rig.storm({ perSecond: STORM_MESSAGES_PER_SECOND }, STORM_SLOW_EVERY)
    results.push(storm)
    const { seconds, serverCores, generatorCores, findings } = storm
    const figures = `${seconds.toFixed(1)} s, CPU ${(serverCores * seconds).toFixed(1)} s of the server`
    const share = `${(generatorCores * seconds).toFixed(1)} s of the generator`
    process.stderr.write(`storm ${round} of ${rounds}: ${figures}, ${share}, ${JSON.stringify(findings)}\n`)
  }
  return results
}
