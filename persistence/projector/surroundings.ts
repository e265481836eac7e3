/** The write-behind's real surroundings: Postgres, journal files, the clock. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { JournalReader } from '../journal/reader.js'
import type { TailEnvironment } from './port.js'
import { PostgresProjection } from './postgres-projection.js'
import type { WorkerSetup } from './protocol.js'

export function tailEnvironment({ url, directory, shard, limits }: WorkerSetup): TailEnvironment {
  return {
    connect: () => PostgresProjection.open(url, shard, limits),
    openReader: (fromSeq) => new JournalReader({ directory, fromSeq }),
    now: () => Date.now(),
    elapsed: () => performance.now(),
    random: () => Math.random(),
    after: (ms, callback) => {
      const timer = setTimeout(callback, ms)
      return () => clearTimeout(timer)
    },
    pause: () => nextTurn(),
  }
}
