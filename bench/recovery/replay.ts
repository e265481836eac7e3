/** Journal replay alone: the records of a journal into a shard, as a start after a crash does it. */
import { createBlakjaks } from '../../actors/programs/blakjaks/program.js'
import type { Journal, JournalEntry } from '../../engine/journal.js'
import { Shard } from '../../engine/shard.js'
import { type FileJournal, openFileJournal } from '../../persistence/journal/file-journal.js'
import { emptyStore, HandClock, nothingApplied } from './scan-journal.js'

export interface Replay {
  readonly records: number
  readonly seconds: number
  readonly recordsPerSecond: number
  /** Of all threads, the garbage collector's too. */
  readonly cpuSeconds: number
  readonly bytesPerRecord: number
  /** Opening the journal: its newest segment is read and verified. */
  readonly openSeconds: number
  /** Resident memory of this process before and after. */
  readonly rssBefore: number
  readonly rssAfter: number
}

/** Replays what follows record `stockSeq`; what is up to there comes before, unmeasured. */
export async function replayJournal(directory: string, stockSeq: number): Promise<Replay> {
  const fail = (error: Error) => {
    throw error
  }
  const openedAt = performance.now()
  const { journal } = await openFileJournal({ directory, listener: { onDurable: () => {}, onFailure: fail } })
  const openSeconds = (performance.now() - openedAt) / 1_000
  const { program } = createBlakjaks()
  await new Shard(program, partOf(journal, stockSeq), emptyStore, new HandClock()).recover(nothingApplied)
  const rssBefore = process.memoryUsage.rss()
  const shard = new Shard(program, journal, emptyStore, new HandClock())
  const cpuBefore = process.cpuUsage()
  const startedAt = performance.now()
  const { records } = await shard.recover({ ...nothingApplied, appliedSeq: stockSeq })
  const seconds = (performance.now() - startedAt) / 1_000
  const { user, system } = process.cpuUsage(cpuBefore)
  const cpuSeconds = (user + system) / 1e6
  const rssAfter = process.memoryUsage.rss()
  const bytesPerRecord = journal.stats.diskBytes / journal.lastSeq
  await journal.close()
  return {
    records,
    seconds,
    recordsPerSecond: records / seconds,
    cpuSeconds,
    bytesPerRecord,
    openSeconds,
    rssBefore,
    rssAfter,
  }
}

/** The journal as it was when `lastSeq` was its last record. */
function partOf(journal: FileJournal, lastSeq: number): Journal {
  const refuse = () => {
    throw new Error('this journal is only read')
  }
  return {
    lastSeq,
    durableSeq: lastSeq,
    append: refuse,
    truncate: refuse,
    close: refuse,
    async *read(fromSeq: number): AsyncGenerator<readonly JournalEntry[]> {
      if (fromSeq > lastSeq) return
      for await (const entries of journal.read(fromSeq)) {
        yield entries.filter(({ seq }) => seq <= lastSeq)
        if ((entries.at(-1)?.seq ?? 0) >= lastSeq) return
      }
    },
  }
}
