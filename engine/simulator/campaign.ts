/** Many runs: what they reached, what failed, and what must be reached for the campaign to count. */
import { faults } from './faults.js'
import { type RunOptions, type RunResult, simulate } from './run.js'

/** Paths that a campaign of some hundred seeds goes through; one that does not has lost a fault or a workload. */
export const requiredMarks: readonly string[] = [
  ...faults.map((fault) => `fault: ${fault}`),
  'a batch was tried again',
  'a client asked again',
  'a commit did not take place unheard',
  'a commit took place unheard',
  'a channel was read',
  'a client of the chat caught up',
  'a client of the chat found no server',
  'a client of the chat was told to resync',
  'a gateway made good what it had missed',
  'a gateway sent its clients away',
  'a message was said',
  'a member was read',
  'a message was posted',
  'a message was put off',
  'a message was restored',
  'a process stopped gracefully',
  'a process was killed',
  'a read was refused',
  'a refused row was parked',
  'a repeat was answered as before',
  'a repeat was found in the database',
  'a request found no server',
  'a slow reader of the chat was closed',
  'a slow socket was closed',
  'a socket got what it had missed',
  'a socket was told to resync',
  'a start applied records that the database lacked',
  'a start that failed',
  'a torn segment was removed',
  'a torn tail was cut',
  'an alarm was restored',
  'an evicted actor waited for the database',
  'damage stopped a start',
  'old segments were dropped',
  'records nobody was told of were lost',
  'the shard stopped by itself',
  'unavailable: journal_backlog',
  'unavailable: overloaded',
  'unavailable: storage_unavailable',
  'unavailable: write_behind_lag',
]

export interface Campaign {
  readonly runs: number
  readonly events: number
  readonly records: number
  readonly marks: ReadonlyMap<string, number>
  readonly failures: readonly { readonly seed: number; readonly check: string; readonly what: string }[]
}

/** The part of a result that is worth sending between threads. */
export type Tally = Pick<RunResult, 'seed' | 'failure' | 'marks' | 'events' | 'records'>

export async function runSeed(seed: number, options: Omit<RunOptions, 'seed'> = {}): Promise<Tally> {
  const { failure, marks, events, records } = await simulate({ ...options, seed })
  return { seed, failure, marks, events, records }
}

export class Tallies {
  #runs = 0
  #events = 0
  #records = 0
  readonly #marks = new Map<string, number>()
  readonly #failures: { seed: number; check: string; what: string }[] = []

  add({ seed, failure, marks, events, records }: Tally): void {
    this.#runs += 1
    this.#events += events
    this.#records += records
    for (const [mark, count] of marks) this.#marks.set(mark, (this.#marks.get(mark) ?? 0) + count)
    if (failure !== undefined) this.#failures.push({ seed, ...failure })
  }

  get campaign(): Campaign {
    const failures = [...this.#failures].sort((a, b) => a.seed - b.seed)
    return { runs: this.#runs, events: this.#events, records: this.#records, marks: this.#marks, failures }
  }
}

/** Marks that were not reached though they must be. */
export function missedMarks({ marks }: Campaign): string[] {
  return requiredMarks.filter((mark) => !marks.has(mark))
}

/** Failed checks end runs wherever they are found; promises nobody waits for must not end the process. */
export function survivingFailedChecks(): void {
  process.on('unhandledRejection', (error) => {
    if (error instanceof Error && error.name === 'CheckFailure') return
    throw error
  })
}
