// A journal, a database of its own and a projector between them.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { ActorId } from '../../engine/actor.js'
import type { Fact } from '../../engine/fact.js'
import { packRecord, type TurnRecord } from '../../engine/record.js'
import { openFileJournal } from '../../persistence/journal/file-journal.js'
import type { Sql } from '../../persistence/postgres/connection.js'
import { migrate } from '../../persistence/postgres/migrations.js'
import type { ProjectorLimits } from '../../persistence/projector/limits.js'
import { Projector } from '../../persistence/projector/projector.js'
import type { FromWorker } from '../../persistence/projector/protocol.js'
import { tailEnvironment } from '../../persistence/projector/surroundings.js'
import { Tail } from '../../persistence/projector/tail.js'
import { schemaFolder } from '../../persistence/schema-folder.js'
import { open, recordingLog, silent } from './postgres.js'

export const SHARD = 'main'
/** The time of record 0, in milliseconds. */
export const EPOCH = Date.UTC(2026, 9, 1)

export const uuidOf = (number: number) => `00000000-0000-4000-8000-${number.toString(16).padStart(12, '0')}`
export const actorId = (text: string) => text as ActorId

export type Parts = Partial<Omit<TurnRecord, 'seq' | 'input'>>

/** A record with the parts given and nothing else; its input came `seq` seconds after EPOCH. */
export function recordOf(seq: number, parts: Parts): TurnRecord {
  const who = { role: 'member' as const, userId: uuidOf(1), sessionId: 's' }
  return {
    seq,
    input: { id: uuidOf(1_000_000 + seq), at: EPOCH + seq * 1_000, command: 'test', args: {}, who },
    facts: [],
    postings: [],
    images: [],
    deltas: [],
    alarms: [],
    messages: [],
    consumed: null,
    idempotency: null,
    ...parts,
  }
}

export interface ScanParts {
  readonly ordinal: number
  readonly [field: string]: unknown
}

/** An accepted scan of code row `ordinal`, by one of ten members. */
export function scanFact({ ordinal, ...rest }: ScanParts): Fact {
  const fact = {
    type: 'scan.accepted',
    scanId: uuidOf(2_000_000 + ordinal),
    userId: uuidOf(ordinal % 10),
    ordinal,
    codeRow: ordinal,
    codeHi: 7,
    codeLo: ordinal,
    sku: 'BJ-MINT-12',
    method: 'qr',
    quarter: '2026-Q4',
    quarterScans: 3,
    tier: 'vip',
    lat: 40.7128,
    lng: -74.006,
    deviceId: 'phone',
    deviceFingerprint: 5,
    ip: '203.0.113.7',
    clientAt: EPOCH,
    compType: null,
    compAmount: 0n,
    milestone: null,
    ...rest,
  }
  return fact
}

/** What a scan leaves behind: its row, its member's image, the counter's image. */
export const scanParts = (ordinal: number): Parts => ({
  facts: [scanFact({ ordinal })],
  images: [
    { actor: actorId(`user/${uuidOf(ordinal % 10)}`), image: Buffer.from(`user after ${ordinal}`) },
    { actor: actorId('counter/scans'), image: Buffer.from(`counter at ${ordinal}`) },
  ],
})

/** Records that scan one code each. */
export const scansOf = (count: number): Parts[] => Array.from({ length: count }, (_, index) => scanParts(index + 1))

const packedCodes = (count: number) => {
  const codes = Buffer.alloc(count * 8)
  for (let row = 0; row < count; row++) codes.writeBigUInt64BE((7n << 32n) | BigInt(row), row * 8)
  return codes
}
/** The code book with `count` manufactured codes, as deltas. */
export const codesMade = (count: number): Parts => ({
  deltas: [
    { table: 'codes', delta: { op: 'append', batch: 1, codes: packedCodes(count) } },
    { table: 'codes', delta: { op: 'status', runs: [0, count], status: 'manufactured' } },
  ],
})

let databases = 0

/** A migrated database of its own. */
export async function freshDatabase(test: Test, admin: Sql, serverUrl: string): Promise<{ sql: Sql; url: string }> {
  const name = `projected_${++databases}`
  await admin.unsafe(`create database ${name}`)
  const url = serverUrl.replace(/[^/]+$/, name)
  const sql = open(test, url, 4)
  await migrate(sql, schemaFolder, silent)
  return { sql, url }
}

/** A journal in a directory of its own. */
export async function freshJournal(test: Test) {
  const directory = await mkdtemp(join(tmpdir(), 'comptroller-projector-'))
  const waiting: (() => void)[] = []
  const listener = {
    onDurable: () => waiting.forEach((check) => void check()),
    onFailure: (error: Error) => test.fail(error.message),
  }
  const { journal } = await openFileJournal({ directory, listener })
  const close = async () => {
    await journal.close()
    await rm(directory, { recursive: true, force: true })
  }
  test.teardown(close)
  const durable = (seq: number) =>
    new Promise<void>((resolve) => {
      const check = () => journal.durableSeq >= seq && resolve()
      waiting.push(check)
      check()
    })
  /** Appends the records that follow and waits until they are durable. */
  const write = async (records: readonly Parts[]): Promise<TurnRecord[]> => {
    const written = records.map((parts, index) => recordOf(journal.lastSeq + 1 + index, parts))
    for (const record of written) journal.append(record.seq, packRecord(record))
    await durable(journal.lastSeq)
    return written
  }
  return { directory, journal, write, close }
}

export interface Place {
  readonly url: string
  readonly directory: string
}

/** A projector in its worker, and a way to wait for what it applies. */
export function startProjector(test: Test, { url, directory }: Place, limits: Partial<ProjectorLimits> = {}) {
  const { log, lines } = recordingLog()
  const projector = new Projector({ url, directory, shard: SHARD, log, limits })
  test.teardown(() => projector.stop({ drain: false }))
  const applied = (seq: number) =>
    new Promise<void>((resolve) => {
      const check = (appliedSeq: number) => appliedSeq >= seq && resolve()
      projector.onApplied((report) => check(report.appliedSeq))
      check(projector.stats.appliedSeq)
    })
  projector.start()
  return { projector, applied, lines }
}

/** Applies a journal up to `throughSeq` on this thread. */
export async function applyAll(setup: Place & { limits: ProjectorLimits }, throughSeq: number) {
  const reports: FromWorker[] = []
  const environment = tailEnvironment({ shard: SHARD, ...setup })
  const tail = new Tail(SHARD, setup.limits, environment, (report) => reports.push(report))
  tail.announce(throughSeq)
  tail.drain()
  await tail.run()
  return reports
}
