/**
 * Runs the inputs of a journal again, one after the other, and compares what comes of them.
 *
 * T5 The same inputs give the same records, byte for byte. For audit and simulation: recovery applies images and runs
 * no business code (J3).
 */
import type { ActorRef } from './actor.js'
import { assert } from './assert.js'
import { Commands, type Program, Refusal } from './command.js'
import { DomainError } from './errors.js'
import { makeRecord, type Outcome, type Pending } from './outcome.js'
import { packRecord, type TurnRecord, unpackRecord } from './record.js'
import { ShardState } from './shard-state.js'
import { Turn } from './turn.js'

export class Replay {
  readonly state: ShardState
  readonly #commands: Commands

  /** `program` must be fresh: its tables and views are filled by the replay. Keeps every actor in memory. */
  constructor(
    readonly program: Program,
    actorsMax = 1_000_000,
  ) {
    this.#commands = new Commands(program)
    const window = { idempotencyWindowMs: Number.MAX_SAFE_INTEGER, idempotencyEntriesMax: Number.MAX_SAFE_INTEGER }
    this.state = new ShardState(program, { cachedActorsMax: actorsMax, awakeActorsMax: actorsMax, ...window })
  }

  /** Takes the next record of the journal, from the first one on. Returns the record its input gives now. */
  run(body: Uint8Array): { readonly record: TurnRecord; readonly isSame: boolean } {
    const journaled = unpackRecord(body)
    const pending = this.#pendingOf(journaled)
    const turn = new Turn(this.state.seq + 1, journaled.input, pending.refs, this.state.residents)
    const record = makeRecord(pending, turn, handle(this.#commands, pending, turn))
    const bytes = packRecord(record)
    this.state.commit(turn, record)
    return { record, isSame: Buffer.compare(bytes, body) === 0 }
  }

  #pendingOf({ input, consumed, idempotency, seq }: TurnRecord): Pending {
    const command = this.#commands.named(input.command)
    const args = input.args as never
    assert(consumed === null || this.state.isPending(consumed), `record ${seq} consumes ${consumed}, which is not due`)
    const refs: readonly ActorRef[] = command.actors(args, input.who)
    return {
      ...{ command, args, refs, consumes: consumed, done: () => {} },
      who: input.who,
      key: idempotency?.key,
      fingerprint: idempotency?.fingerprint ?? '',
    }
  }
}

function handle(commands: Commands, pending: Pending, turn: Turn): Outcome<unknown> {
  try {
    const result = commands.handle(pending.command, turn, pending.args)
    return result instanceof Refusal ? { ok: false, error: result.error } : { ok: true, reply: result }
  } catch (error) {
    if (!(error instanceof DomainError)) throw error
    turn.discard()
    return { ok: false, error }
  }
}
