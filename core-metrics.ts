/** Gauges and histograms of the core, for `/metrics` (B1: every limit has its gauge). */
import { Counter, collectDefaultMetrics, Gauge, type Registry } from 'prom-client'
import type { ShardObserver } from './engine/shard.js'
import { type Tally, TallyHistogram } from './gateway/tally-histogram.js'

const microBounds = [
  1, 2, 3, 4, 5, 7, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150, 200, 300, 500, 700, 1_000, 2_000, 5_000, 10_000,
  50_000, 100_000,
]
const recordBounds = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000]

export class CoreMetrics {
  readonly #turns: TallyHistogram
  readonly #turnsByCommand = new Map<string, Tally>()
  readonly #refused: Counter<'command' | 'code'>
  readonly #faults: Counter<'command'>
  readonly #flushMicros: Tally
  readonly #flushRecords: Tally

  constructor(readonly registry: Registry) {
    collectDefaultMetrics({ register: registry })
    const registers = [registry]
    this.#turns = new TallyHistogram(
      'comptroller_turn_microseconds',
      'The decision alone: from having the actors in memory to the record handed to the journal',
      microBounds,
      registry,
    )
    const flush = 'comptroller_journal_flush'
    this.#flushMicros = new TallyHistogram(
      `${flush}_microseconds`,
      'Write and sync of a batch',
      microBounds,
      registry,
    ).of({})
    this.#flushRecords = new TallyHistogram(`${flush}_records`, 'Records in a batch', recordBounds, registry).of({})
    this.#refused = new Counter({
      name: 'comptroller_commands_refused_total',
      help: 'Commands refused by a rule',
      labelNames: ['command', 'code'],
      registers,
    })
    this.#faults = new Counter({
      name: 'comptroller_turn_faults_total',
      help: 'Turns that threw something unexpected; they left no trace',
      labelNames: ['command'],
      registers,
    })
  }

  /** {@link exposeGauges} on this registry. */
  gauges(area: string, help: string, read: () => Readonly<Record<string, number>>): void {
    exposeGauges(this.registry, area, help, read)
  }

  onFlush(records: number, micros: number): void {
    this.#flushRecords.observe(records)
    this.#flushMicros.observe(micros)
  }

  observer(report: { fault(error: unknown, command: string): void; stopped(error: Error): void }): ShardObserver {
    return {
      onTurn: (command, micros) => {
        let tally = this.#turnsByCommand.get(command)
        if (tally === undefined) {
          tally = this.#turns.of({ command })
          this.#turnsByCommand.set(command, tally)
        }
        tally.observe(micros)
      },
      onRefused: (command, code) => this.#refused.inc({ command, code }),
      onFault: (error, command) => {
        this.#faults.inc({ command })
        report.fault(error, command)
      },
      onStopped: (error) => report.stopped(error),
    }
  }
}

/** Shows every gauge that `read` returns under `comptroller_<area>_<name>`. */
export function exposeGauges(
  registry: Registry,
  area: string,
  help: string,
  read: () => Readonly<Record<string, number>>,
): void {
  const known = new Map<string, Gauge>()
  for (const name of Object.keys(read())) {
    const fullName = `comptroller_${area}_${name.replaceAll(/[^a-zA-Z0-9_]/g, '_')}`
    known.set(
      name,
      new Gauge({
        name: fullName,
        help: `${help}: ${name.replaceAll('_', ' ')}`,
        registers: [registry],
        collect() {
          this.set(read()[name] ?? Number.NaN)
        },
      }),
    )
  }
}
