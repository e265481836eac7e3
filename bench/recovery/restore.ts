/** What a start reads from Postgres, part by part, in a process of its own: time, processor time and memory of each. */
import { createBlakjaks } from '../../actors/programs/blakjaks/program.js'
import { IdempotencyWindow } from '../../engine/idempotency.js'
import { defaultLimits } from '../../engine/limits.js'
import { connect, type Transaction } from '../../persistence/postgres/connection.js'
import { readCheckpoint } from '../../persistence/restore/checkpoint.js'
import { restoreCodeBook } from '../../persistence/restore/code-book.js'
import { restoreDirectory } from '../../persistence/restore/directory.js'
import { inOneSnapshot } from '../../persistence/restore/snapshot.js'
import { restoreUnfundedComps } from '../../persistence/restore/unfunded-comps.js'
import { SHARD } from './stock.js'

export interface Part {
  readonly seconds: number
  /** Of this process alone, its garbage collector included. */
  readonly cpuSeconds: number
  /** What it keeps, after a collection of garbage. */
  readonly keptBytes: number
}

export interface RestoreParts {
  readonly codes: number
  readonly members: number
  readonly keys: number
  readonly codeBytes: number
  readonly directoryBytes: number
  readonly parts: Readonly<Record<string, Part>>
}

/** Needs `--expose-gc`. */
export async function restoreInParts(url: string): Promise<RestoreParts> {
  const { program, book, directory, unfunded } = createBlakjaks()
  const sql = connect(url, { max: 1, applicationName: 'comptroller bench' })
  const parts: Record<string, Part> = {}
  const window = new IdempotencyWindow({
    windowMs: defaultLimits.idempotencyWindowMs,
    entriesMax: defaultLimits.idempotencyEntriesMax,
  })
  const pinned = program.actors.filter(({ residency }) => residency === 'pinned').map(({ type }) => type)
  try {
    await inOneSnapshot(sql, async (tx: Transaction) => {
      parts.code_book = await measured(() => restoreCodeBook(tx, book))
      parts.directory = await measured(() => restoreDirectory(tx, directory))
      parts.unfunded_comps = await measured(() => restoreUnfundedComps(tx, unfunded))
      parts.pinned_actors_and_keys = await measured(async () => {
        const { idempotency } = await readCheckpoint(tx, SHARD, pinned)
        for (const entry of idempotency) window.restore(entry)
      })
    })
  } finally {
    await sql.end()
  }
  return {
    codes: book.size,
    members: directory.memberCount,
    keys: window.size,
    codeBytes: book.bytes,
    directoryBytes: directory.bytes,
    parts,
  }
}

async function measured(work: () => Promise<unknown>): Promise<Part> {
  const before = keptBytes()
  const cpuBefore = process.cpuUsage()
  const startedAt = performance.now()
  await work()
  const seconds = (performance.now() - startedAt) / 1_000
  const { user, system } = process.cpuUsage(cpuBefore)
  return { seconds, cpuSeconds: (user + system) / 1e6, keptBytes: keptBytes() - before }
}

/** Objects and buffers in use. */
export function keptBytes(): number {
  globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}
