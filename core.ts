/**
 * The core of one program, without its gateway: Postgres, recovery, journal, shard, projector. Used by the server and
 * by command-line tools that work on a stopped server's data.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { scanCounter } from './actors/counter/machine.js'
import { createBlakjaks } from './actors/programs/blakjaks/program.js'
import type { LoyaltyProgram } from './actors/programs/loyalty.js'
import type { CoreMetrics } from './core-metrics.js'
import { defineQuery, system } from './engine/command.js'
import { DomainError } from './engine/errors.js'
import { defaultLimits, type ShardLimits } from './engine/limits.js'
import { asError } from './engine/outcome.js'
import { Shard } from './engine/shard.js'
import type { Checkpoint, Environment } from './engine/store.js'
import { environment } from './environment.js'
import { CodeGenerator } from './gateway/drivers/code-generator.js'
import { ChatRetention } from './persistence/chat-retention.js'
import { assertRoomToStart, DiskGuard, type DiskSpace, type DiskUse, realDisk } from './persistence/disk-guard.js'
import { JournalFailedError } from './persistence/journal/failure.js'
import { type FileJournal, openFileJournal } from './persistence/journal/file-journal.js'
import type { JournalFiles } from './persistence/journal/files.js'
import { ParkedRows } from './persistence/parked-rows.js'
import { connect, isConnectionError, type Sql, type Transaction } from './persistence/postgres/connection.js'
import { startEmbeddedPostgres } from './persistence/postgres/embedded.js'
import { acquireShardLock } from './persistence/postgres/locks.js'
import { migrate } from './persistence/postgres/migrations.js'
import { Session, type Transactions } from './persistence/postgres/session.js'
import { Projector } from './persistence/projector/projector.js'
import { readCheckpoint } from './persistence/restore/checkpoint.js'
import { restoreCodeBook } from './persistence/restore/code-book.js'
import { restoreDirectory } from './persistence/restore/directory.js'
import { restoreOpenPayouts } from './persistence/restore/open-payouts.js'
import { restoreOpenWithdrawals } from './persistence/restore/open-withdrawals.js'
import { restoreRecentMessages } from './persistence/restore/recent-messages.js'
import { bothInOneSnapshot } from './persistence/restore/snapshot.js'
import { restoreUnfundedComps } from './persistence/restore/unfunded-comps.js'
import { schemaFolder } from './persistence/schema-folder.js'
import { PostgresStore } from './persistence/store.js'
import type { Settings } from './settings.js'

const SHARD = 'blakjaks'
const CONNECTIONS_MAX = 8
const TRUNCATE_EVERY_RECORDS = 50_000

export { environment }

export interface Core {
  readonly shard: Shard
  readonly program: LoyaltyProgram
  /** The clock that everything goes by. */
  readonly environment: Environment
  readonly generator: CodeGenerator
  readonly journal: FileJournal
  readonly projector: Projector
  readonly disk: DiskGuard
  readonly parked: ParkedRows
  readonly sql: Sql
  /** Accepted scans at start. */
  readonly scansSoFar: number
  /** Stops admitting, drains, flushes, writes behind, stops what it started. */
  stop(): Promise<void>
}

/** What the core stands on, where it is not the real thing; tests have their own. */
export interface CorePorts {
  readonly space?: DiskSpace
  readonly journalFiles?: JournalFiles
  readonly environment?: Environment
  /** A fresh one; BlakJaks unless it is given. */
  readonly program?: LoyaltyProgram
}

const scansAccepted = defineQuery({
  name: 'counter.scans',
  actors: () => [],
  read: (scope, _: Record<string, never>) => scope.context(scanCounter).value,
})

/**
 * Brings the core up from what Postgres and the journal hold. `onFatal` is called once when it cannot go on: the
 * process should end then, and the next start recovers.
 */
export async function openCore(
  settings: Settings,
  log: Logger,
  metrics: CoreMetrics,
  onFatal: (error: Error) => void,
  ports: CorePorts = {},
): Promise<Core> {
  const closing: Closing = []
  try {
    await assertRoomToStart(diskUse(settings), settings.DISK_FREE_BYTES_MIN, ports.space ?? realDisk)
    return await open(settings, log, metrics, onFatal, ports, closing)
  } catch (error) {
    await closeAll(closing)
    throw isConnectionError(error) ? withoutPostgres(error) : error
  }
}

function withoutPostgres(error: unknown): DomainError {
  const what = `Postgres went away, or was not there, while the server started (${asError(error).message}).`
  const message = `${what} Nothing is lost. See that Postgres runs, then start again.`
  return new DomainError('unavailable', 'postgres_unavailable', message)
}

/** What to close, in the order it was opened. */
type Closing = (() => Promise<unknown>)[]

async function closeAll(closing: Closing): Promise<void> {
  for (let close = closing.pop(); close !== undefined; close = closing.pop()) await close()
}

async function open(
  settings: Settings,
  log: Logger,
  metrics: CoreMetrics,
  onFatal: (error: Error) => void,
  ports: CorePorts,
  closing: Closing,
): Promise<Core> {
  const url = settings.DATABASE_URL ?? (await embeddedPostgres(settings, log, closing))
  await mkdir(settings.DATA_DIR, { recursive: true, mode: 0o711 })
  const sql = connect(url, { max: CONNECTIONS_MAX, applicationName: 'comptroller' })
  closing.push(() => sql.end({ timeout: 5 }))
  const lock = await acquireShardLock(url, SHARD)
  closing.push(() => lock.release())
  lock.lost.then(onFatal, onFatal)
  const { environment: world = environment, program: loyalty = createBlakjaks() } = ports
  const limits = limitsOf(settings)
  const [starting, beside] = await Promise.all([openStarting(url, closing), openStarting(url, closing)])
  await migrate(starting, schemaFolder, log)
  const startedAt = performance.now()
  const checkpoint = await restore([starting, beside], loyalty, limits)
  await Promise.all([starting.end(), beside.end()])
  const restoredAt = performance.now()
  const journalDirectory = join(settings.DATA_DIR, 'journal')
  const projector = new Projector({ url, directory: journalDirectory, shard: SHARD, log })
  let listening: Shard | undefined
  const { journal, tail } = await openFileJournal({
    directory: journalDirectory,
    segmentBytes: settings.JOURNAL_SEGMENT_BYTES,
    retainBytes: settings.JOURNAL_RETAIN_BYTES,
    backlogBytesMax: settings.JOURNAL_BACKLOG_BYTES_MAX,
    knownDurableSeq: checkpoint.appliedSeq,
    listener: {
      onFlush: (records, _bytes, micros) => metrics.onFlush(records, micros),
      onDurable: (seq) => {
        listening?.durable(seq)
        projector.announce(seq)
      },
      onFailure: (error) =>
        listening?.stop(new JournalFailedError(error, journalDirectory, settings.DISK_FREE_BYTES_MIN)),
    },
    ...(ports.journalFiles === undefined ? {} : { files: ports.journalFiles }),
  })
  closing.push(() => journal.close())
  if (tail !== null) log.warn(tail, 'a crash left a half-written batch in the journal; it was cut')

  const shard = new Shard(
    loyalty.program,
    journal,
    new PostgresStore(sql, SHARD),
    world,
    limits,
    metrics.observer({
      fault: (error, command) => log.error({ err: error, command }, 'a turn failed unexpectedly; it left no trace'),
      stopped: onFatal,
    }),
  )
  const { records } = await shard.recover(checkpoint)
  log.info(
    {
      records,
      restoreMs: Math.round(restoredAt - startedAt),
      recoverMs: Math.round(performance.now() - restoredAt),
      members: loyalty.directory.memberCount,
      codes: loyalty.book.size,
    },
    'recovered',
  )
  listening = shard
  const parked = new ParkedRows(sql, url, SHARD, log)
  await parked.follow(projector)
  closing.push(async () => parked.stop())
  followJournal(projector, shard, journal, log)
  closing.push(() => projector.stop({ drain: true }))
  const disk = await guardDisk(settings, log, ports, shard, projector)
  closing.push(async () => disk.stop())
  const retention = new ChatRetention({
    ...{ sql, shard: SHARD, retentionMs: loyalty.rules.chat.retentionMs, environment: world, log },
    mayWrite: () => projector.stats.state !== 'paused',
  })
  retention.start()
  closing.push(() => retention.stop())
  const generator = new CodeGenerator(shard, loyalty, log)
  await generator.start()
  await shard.execute(loyalty.chat.commands.channels.openDefaults, { args: {}, who: system })
  closing.push(() => shard.drain())
  return {
    shard,
    program: loyalty,
    environment: world,
    generator,
    journal,
    projector,
    disk,
    parked,
    sql,
    scansSoFar: await shard.query(scansAccepted, {}),
    stop: () => closeAll(closing),
  }
}

function diskUse({ DATA_DIR, DATABASE_URL }: Settings): DiskUse {
  return { dataDirectory: DATA_DIR, embedsPostgres: DATABASE_URL === undefined }
}

/** While disk space is short nothing new is decided, so that what was decided can be written. */
async function guardDisk(
  settings: Settings,
  log: Logger,
  ports: CorePorts,
  shard: Shard,
  projector: Projector,
): Promise<DiskGuard> {
  const guard = new DiskGuard({
    ...diskUse(settings),
    freeBytesMin: settings.DISK_FREE_BYTES_MIN,
    checkIntervalMs: settings.DISK_CHECK_INTERVAL_MS,
    space: ports.space ?? realDisk,
    log,
    onLevel: (level) => {
      if (level === 'ample') shard.admission.open()
      else shard.admission.close(() => guard.refusal())
      // A Postgres elsewhere has a disk of its own, and what it takes frees ours.
      if (diskUse(settings).embedsPostgres) projector.pause(level === 'critical')
    },
  })
  await guard.start()
  return guard
}

function limitsOf(settings: Settings): ShardLimits {
  return {
    ...defaultLimits,
    cachedActorsMax: settings.CACHED_ACTORS_MAX,
    idempotencyEntriesMax: settings.IDEMPOTENCY_ENTRIES_MAX,
    lagRecordsMax: settings.LAG_RECORDS_MAX,
    loadingInputsMax: settings.LOADING_INPUTS_MAX,
  }
}

async function embeddedPostgres(settings: Settings, log: Logger, closing: Closing): Promise<string> {
  const postgres = await startEmbeddedPostgres({ dataDirectory: settings.DATA_DIR, log })
  closing.push(() => postgres.stop())
  return postgres.url
}

async function openStarting(url: string, closing: Closing): Promise<Session> {
  const session = await Session.open(url, 'comptroller start')
  closing.push(() => session.end())
  return session
}

/** Fills the tables and reads the rest of what Postgres holds, all of one moment. */
function restore(
  sessions: readonly [Transactions, Transactions],
  { program, book, directory, unfunded, open: openPayouts, openWithdrawals, chat }: LoyaltyProgram,
  limits: ShardLimits,
): Promise<Checkpoint> {
  const pinned = program.actors.filter(({ residency }) => residency === 'pinned').map(({ type }) => type)
  const readAll = async (tx: Transaction) => {
    await restoreCodeBook(tx, book)
    await restoreUnfundedComps(tx, unfunded)
    await restoreOpenPayouts(tx, openPayouts)
    await restoreOpenWithdrawals(tx, openWithdrawals)
    await restoreRecentMessages(tx, chat.recentMessages)
    return readCheckpoint(tx, SHARD, pinned, limits)
  }
  // We are busy with the codes, Postgres with sorting the members.
  return bothInOneSnapshot(sessions, readAll, (tx) => restoreDirectory(tx, directory))
}

/** Starts the projector; what it has applied frees memory and, now and then, journal. */
function followJournal(projector: Projector, shard: Shard, journal: FileJournal, log: Logger): void {
  let truncatedSeq = shard.appliedSeq
  projector.onApplied(({ appliedSeq }) => {
    shard.applied(appliedSeq)
    if (appliedSeq - truncatedSeq < TRUNCATE_EVERY_RECORDS) return
    truncatedSeq = appliedSeq
    journal.truncate(appliedSeq).catch((error: unknown) => log.error({ err: error }, 'old journal cannot be removed'))
  })
  projector.start()
  projector.announce(journal.durableSeq)
}
