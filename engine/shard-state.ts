/**
 * Everything a shard decides on, and the one way it changes: by a committed turn, or by the same turn's record at
 * recovery (J3). Both leave the same state.
 */
import type { ActorType } from './actor.js'
import { Alarms } from './alarms.js'
import { assert } from './assert.js'
import type { Program } from './command.js'
import { IdempotencyWindow } from './idempotency.js'
import type { JournalEntry } from './journal.js'
import { Slabs } from './packed-values.js'
import type { Message, TurnRecord } from './record.js'
import { type RecoveryRecord, readForRecovery } from './recovery-record.js'
import { Residents } from './residents.js'
import type { Checkpoint } from './store.js'
import type { AnyTable, Table, View } from './table.js'
import type { Turn } from './turn.js'

export interface StateLimits {
  readonly cachedActorsMax: number
  readonly awakeActorsMax: number
  readonly idempotencyWindowMs: number
  readonly idempotencyEntriesMax: number
}

export class ShardState {
  readonly residents: Residents
  readonly idempotency: IdempotencyWindow
  readonly alarms = new Alarms()
  /** Told but not yet consumed. */
  readonly messages = new Map<string, Message>()
  readonly #types = new Map<string, ActorType>()
  readonly #tables = new Map<string, AnyTable>()
  /** By the type of fact they fold. */
  readonly #views = new Map<string, View[]>()
  readonly #foldedFacts: readonly string[]
  /** Replies of records that were read back. */
  readonly #replies = new Slabs()
  seq = 0
  appliedSeq = 0
  /** The time of the last input; time never goes back within a shard. */
  lastAt = 0

  constructor(
    readonly program: Program,
    limits: StateLimits,
  ) {
    for (const type of program.actors) this.#types.set(type.type, type)
    for (const table of program.tables) this.#tables.set(table.name, table)
    for (const view of program.views) {
      for (const type of view.facts) this.#views.set(type, [...(this.#views.get(type) ?? []), view])
    }
    this.#foldedFacts = [...this.#views.keys()]
    this.residents = new Residents(limits)
    this.idempotency = new IdempotencyWindow({
      windowMs: limits.idempotencyWindowMs,
      entriesMax: limits.idempotencyEntriesMax,
    })
  }

  get lagRecords(): number {
    return this.seq - this.appliedSeq
  }

  restore(checkpoint: Checkpoint): void {
    this.seq = checkpoint.appliedSeq
    this.lastAt = checkpoint.lastAt
    for (const { actor, image } of checkpoint.pinned) {
      const bytes = Buffer.from(image.buffer, image.byteOffset, image.length)
      this.residents.restore(actor, 'pinned', { bytes, start: 0, end: bytes.length }, checkpoint.appliedSeq)
    }
    for (const alarm of checkpoint.alarms) this.alarms.change(alarm)
    for (const message of checkpoint.messages) this.messages.set(message.id, message)
    for (const entry of checkpoint.idempotency) this.idempotency.restore(entry)
    this.applied(checkpoint.appliedSeq)
  }

  /** A turn that was just appended to the journal. */
  commit(turn: Turn, record: TurnRecord): void {
    const { seq, facts, images } = record
    for (const [index, { ref, state }] of turn.staged.entries()) {
      this.residents.set(ref.id, ref.of.residency, state, (images[index] as TurnRecord['images'][number]).image, seq)
    }
    const { at } = record.input
    this.#follow(record, at)
    for (const fact of facts) for (const view of this.#views.get(fact.type) ?? []) view.fold(fact, at, seq)
  }

  /** The records after the checkpoint, read back from the journal. */
  async recover(read: AsyncIterable<readonly JournalEntry[]>): Promise<void> {
    for await (const entries of read) for (const { body } of entries) this.#apply(body)
    this.residents.recovered()
  }

  #apply(body: Uint8Array): void {
    const record = readForRecovery(body, this.#foldedFacts, this.#replies)
    for (const { actor, image } of record.images) {
      const type = this.#types.get(actor.slice(0, actor.indexOf('/')))
      assert(type !== undefined, `record ${record.seq} holds ${actor}, whose type is not of ${this.program.name}`)
      this.residents.restore(actor, type.residency, image, record.seq)
    }
    const { seq, at } = record
    this.#follow(record, at)
    for (const fact of record.facts) for (const view of this.#views.get(fact.type) ?? []) view.restore(fact, at, seq)
  }

  /** Postgres holds everything up to `seq`. */
  applied(seq: number): void {
    assert(seq <= this.seq, `Postgres claims record ${seq}, but the last one is ${this.seq}`)
    this.appliedSeq = seq
    this.residents.applied(seq)
    this.idempotency.applied(seq)
    for (const view of this.program.views) view.applied(seq)
  }

  /** Whether a message or alarm still waits for its turn. */
  isPending(consumes: string): boolean {
    return this.messages.has(consumes) || this.alarms.isPending(consumes)
  }

  gauges(): Record<string, number> {
    const tables = this.program.tables.map((table) => [`table_bytes_${table.name}`, table.bytes] as const)
    return {
      ...this.residents.gauges(),
      ...Object.fromEntries(tables),
      idempotency_entries: this.idempotency.size,
      idempotency_entries_max: this.idempotency.limits.entriesMax,
      alarms: this.alarms.size,
      outstanding_messages: this.messages.size,
      last_seq: this.seq,
      applied_seq: this.appliedSeq,
      lag_records: this.lagRecords,
    }
  }

  /** Asserts that a record of this turn can be applied by recovery: one that cannot would end every start (J3). */
  assertRecoverable(turn: Turn): void {
    for (const { ref } of turn.staged) {
      assert(this.#types.has(ref.of.type), `${ref.id} is of a type that is not of ${this.program.name}`)
    }
    for (const { table } of turn.deltas) this.#table(table.name)
  }

  #follow(record: Omit<RecoveryRecord, 'at' | 'facts' | 'images'>, at: number): void {
    assert(record.seq === this.seq + 1, `record ${record.seq} follows ${this.seq}: one is missing`)
    for (const { table, delta } of record.deltas) this.#table(table).apply(delta)
    // First, or a turn that sets its own alarm anew for the same moment would lose it.
    if (record.consumed !== null && !this.messages.delete(record.consumed)) this.alarms.consume(record.consumed)
    for (const change of record.alarms) this.alarms.change(change)
    for (const message of record.messages) this.messages.set(message.id, message)
    if (record.idempotency !== null) this.idempotency.remember(record.idempotency, at, record.seq)
    this.seq = record.seq
    this.lastAt = at
  }

  #table(name: string): Table<unknown> {
    const table = this.#tables.get(name)
    assert(table !== undefined, `there is no table ${name} in ${this.program.name}`)
    return table as Table<unknown>
  }
}
