/**
 * The server as it runs, process after process: the real shard on the real file journal and the real write-behind,
 * wired as the composition root wires them. A process dies at any await; the next one starts from what the disk and
 * the database hold.
 */
import type { LoyaltyProgram } from '../../actors/programs/loyalty.js'
import { JournalDamagedError } from '../../persistence/journal/errors.js'
import {
  type FileJournal,
  type FileJournalOptions,
  type OpenedJournal,
  openFileJournal,
} from '../../persistence/journal/file-journal.js'
import { JournalReader } from '../../persistence/journal/reader.js'
import { defaultProjectorLimits, type ProjectorLimits } from '../../persistence/projector/limits.js'
import type { FromWorker } from '../../persistence/projector/protocol.js'
import { Tail } from '../../persistence/projector/tail.js'
import { AssertionError } from '../assert.js'
import { defaultLimits, type ShardLimits } from '../limits.js'
import type { TurnRecord } from '../record.js'
import { Shard } from '../shard.js'
import type { Environment } from '../store.js'
import { Audit } from './audit.js'
import { checkDatabase } from './checks.js'
import { restoreFrom, storeOf } from './database-reads.js'
import type { SimulatedDisk } from './disk.js'
import type { Faults } from './faults.js'
import { History } from './history.js'
import type { SimulatedPostgres } from './postgres.js'
import { EPOCH, SHARD, smallProgram, uuid } from './program.js'
import { Random } from './random.js'
import { Life, type Scheduler } from './scheduler.js'
import type { Story } from './story.js'

export const JOURNAL = '/journal'
const THREAD_MICROS = [5, 500] as const
const RESTART_MICROS = [1_000, 5_000_000] as const
const TRUNCATE_EVERY_RECORDS = 20

export interface World {
  readonly seed: number
  readonly scheduler: Scheduler
  readonly faults: Faults
  readonly story: Story
  readonly disk: SimulatedDisk
  readonly postgres: SimulatedPostgres
}

export interface Running {
  readonly life: Life
  readonly program: LoyaltyProgram
  readonly shard: Shard
  readonly journal: FileJournal
  readonly tail: Tail
}

/** What hangs on the process that runs. */
export interface Follower {
  onStart(running: Running): void
  /** With each record that is told to subscribers. */
  onRecord(record: TurnRecord): void
  onEnd(): void
}

/** Small, so that every limit is met. */
function drawLimits(seed: number) {
  const random = new Random(seed, 'limits')
  const shard: ShardLimits = {
    ...defaultLimits,
    cachedActorsMax: random.pick([3, 6, 40]),
    awakeActorsMax: 2,
    idempotencyEntriesMax: random.pick([4, 30, 1_000]),
    lagRecordsMax: random.pick([30, 300, 10_000]),
    loadingInputsMax: random.pick([3, 20, 1_000]),
  }
  const journal = {
    segmentBytes: random.pick([2_048, 8_192, 65_536]),
    batchBytesMax: random.pick([1_024, 65_536]),
    backlogBytesMax: random.pick([12_000, 1_000_000]),
    retainBytes: random.pick([0, 16_384]),
  }
  const projector: ProjectorLimits = {
    ...defaultProjectorLimits,
    batchRecordsMax: random.pick([1, 3, 50]),
    lingerMs: random.pick([0, 25]),
    lingerRecordsMax: random.pick([1, 20]),
  }
  return { shard, journal, projector }
}

export class Deployment {
  running: Running | undefined
  /** A process is stopping; another will follow. */
  isStopping = false
  readonly followers: Follower[] = []
  readonly history: History
  readonly audit: Audit
  /** How far the server's clock is off, in milliseconds. */
  clockSkewMs = 0
  #life = new Life('process 0')
  #starts = 0
  #ids = 0
  readonly #limits
  readonly #random: Random
  readonly #environmentLife = new Life('timers')

  constructor(readonly world: World) {
    this.#limits = drawLimits(world.seed)
    this.#random = new Random(world.seed, 'deployment')
    this.history = new History(world.story)
    this.audit = new Audit(world.story)
    world.disk.onSync = () => this.history.onSync(world.disk)
  }

  get starts(): number {
    return this.#starts
  }

  now(): number {
    return EPOCH + Math.floor(this.world.scheduler.now / 1_000) + this.clockSkewMs
  }

  /** Starts a process; one that cannot start is followed by another. */
  start(): void {
    const { story } = this.world
    this.#starts += 1
    const life = new Life(`process ${this.#starts}`)
    this.#life = life
    this.#open(life).then(
      (running) => {
        this.running = running
        story.tell('server', `${life.name} runs from record ${running.shard.lastSeq}`)
        for (const follower of this.followers) follower.onStart(running)
      },
      (error: Error) => this.#failedToStart(life, error),
    )
  }

  #failedToStart(life: Life, error: Error): void {
    const { story } = this.world
    if (!life.isAlive) return
    story.tell('server', `${life.name} cannot start: ${error.message}`)
    story.check('only planted damage is found', !(error instanceof JournalDamagedError), () => error.message)
    story.check('a start can use what it finds', !(error instanceof AssertionError), () => String(error.stack))
    story.mark('a start that failed')
    this.kill('it could not start')
  }

  async #open(life: Life): Promise<Running> {
    const { postgres, disk, story } = this.world
    const program = smallProgram()
    const checkpoint = await postgres.call(life, () => {
      checkDatabase(story, postgres.tables, this.history.records)
      return restoreFrom(postgres.tables, program)
    })
    const files = disk.filesOf(life)
    let shard: Shard | undefined
    let tail: Tail | undefined
    const { journal, tail: cut } = await this.#openJournal({
      ...{ directory: JOURNAL, files, ...this.#limits.journal, knownDurableSeq: checkpoint.appliedSeq },
      scheduler: {
        soon: (task) => void this.world.scheduler.after(1, life, task),
        nowMs: () => this.world.scheduler.now / 1_000,
      },
      listener: {
        onDurable: (seq) => {
          shard?.durable(seq)
          this.#across(life, () => tail?.announce(seq))
        },
        onFailure: (error) => shard?.stop(error),
      },
    })
    if (cut !== null) story.mark(cut.offset === 0 ? 'a torn segment was removed' : 'a torn tail was cut')
    const watched = this.history.watch(journal, checkpoint.appliedSeq)
    this.audit.advance(this.history.bodies, this.history.records)
    for (const _ of checkpoint.alarms) story.mark('an alarm was restored')
    for (const _ of checkpoint.messages) story.mark('a message was restored')
    shard = new Shard(program.program, watched, storeOf(postgres, life), this.#environment(life), this.#limits.shard, {
      onFault: (error) => this.history.onFault(error),
      onRefused: (_command, code) => story.mark(`refused: ${code}`),
      onStopped: (error) => this.#stopped(life, error),
    })
    const { records } = await shard.recover(checkpoint)
    if (records > 0) story.mark('a start applied records that the database lacked')
    shard.subscribe((record) => {
      this.history.onPublished(record.seq)
      for (const follower of this.followers) follower.onRecord(record)
    })
    tail = this.#writeBehind(life, shard, journal)
    return { life, program, shard, journal, tail }
  }

  /** A flipped byte at rest must be noticed by the start, or make no difference; then it is as it was again. */
  async #openJournal(options: FileJournalOptions): Promise<OpenedJournal> {
    const { disk, story } = this.world
    disk.flipByte()
    try {
      return await openFileJournal(options)
    } catch (error) {
      if (!(error instanceof JournalDamagedError && disk.isFlipped)) throw error
      story.mark('damage stopped a start')
      story.tell('server', error.message)
      disk.restoreByte()
      return await openFileJournal(options)
    } finally {
      disk.restoreByte()
    }
  }

  #environment(life: Life): Environment {
    const { scheduler } = this.world
    return {
      now: () => this.now(),
      micros: () => scheduler.now,
      newId: () => uuid('1d', ++this.#ids),
      wakeAt: (at, callback) => scheduler.after((at - this.now()) * 1_000, life, callback),
    }
  }

  /** What core.ts does with the projector, which has a thread of its own there. */
  #writeBehind(life: Life, shard: Shard, journal: FileJournal): Tail {
    const { scheduler, postgres, disk, story, seed } = this.world
    const files = disk.filesOf(life)
    const random = new Random(seed, life.name)
    let truncatedSeq = shard.appliedSeq
    const onReport = (report: FromWorker) => {
      if (report.kind === 'retrying') story.mark('a batch was tried again')
      if (report.kind === 'parked') story.mark('a refused row was parked')
      if (report.kind !== 'applied') return
      shard.applied(report.appliedSeq)
      const { evicted_unapplied_actors: evicted = 0, postponed_messages: postponed = 0 } = shard.gauges()
      if (evicted > 0) story.mark('an evicted actor waited for the database')
      if (postponed > 0) story.mark('a message was put off')
      if (report.appliedSeq - truncatedSeq < TRUNCATE_EVERY_RECORDS) return
      truncatedSeq = report.appliedSeq
      const before = journal.stats.segments
      journal.truncate(truncatedSeq).then(
        () => journal.stats.segments < before && story.mark('old segments were dropped'),
        () => {},
      )
    }
    const environment = {
      connect: () => postgres.connect(life),
      openReader: (fromSeq: number) => new JournalReader({ directory: JOURNAL, files, fromSeq }),
      now: () => this.now(),
      elapsed: () => scheduler.now / 1_000,
      random: () => random.unit(),
      after: (ms: number, callback: () => void) => scheduler.after(ms * 1_000, life, callback),
      pause: () => scheduler.act(1, life, () => {}),
    }
    const tail = new Tail(SHARD, this.#limits.projector, environment, (report) => {
      this.#across(life, () => onReport(report))
    })
    tail.announce(journal.durableSeq)
    tail.run().catch((error: unknown) => this.history.onFault(error))
    return tail
  }

  /** To the other thread. */
  #across(life: Life, run: () => void): void {
    this.world.scheduler.after(this.#random.skewed(...THREAD_MICROS), life, run)
  }

  /** The shard cannot go on, so the process ends. */
  #stopped(life: Life, error: Error): void {
    const { scheduler, story } = this.world
    this.history.onStopped(error)
    story.mark('the shard stopped by itself')
    scheduler.after(0, life, () => this.kill(`the shard stopped: ${error.message}`))
  }

  /** The process ends in the middle of whatever it did. */
  kill(why: string): void {
    const { scheduler, story, postgres } = this.world
    if (!this.#life.isAlive) return
    this.#end(why)
    postgres.forget(this.#life)
    story.mark('a process was killed')
    scheduler.after(this.#random.skewed(...RESTART_MICROS), this.#environmentLife, () => this.start())
  }

  /** The machine goes with it. */
  losePower(): void {
    this.kill('the power is gone')
    this.world.disk.losePower()
  }

  /** Drains, as SIGTERM does, then starts again. */
  async stop(): Promise<void> {
    const { running } = this
    if (running === undefined) return
    const { shard, tail, journal, life } = running
    this.isStopping = true
    this.world.story.tell('server', 'stops')
    try {
      await shard.drain()
    } catch (error) {
      this.kill(`it could not stop: ${String(error)}`)
      return
    }
    tail.announce(journal.durableSeq)
    tail.drain()
    if (!life.isAlive) return
    this.world.story.mark('a process stopped gracefully')
    this.kill('it was stopped')
  }

  #end(why: string): void {
    const { story, disk } = this.world
    this.#life.isAlive = false
    this.running = undefined
    this.isStopping = false
    for (const follower of this.followers) follower.onEnd()
    story.tell('server', `${this.#life.name} ends: ${why}`)
    disk.restoreByte()
  }
}
