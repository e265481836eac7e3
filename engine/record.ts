/** The journal entry of one turn, and its bytes. The layout is versioned: records outlive the code that wrote them. */
import { Packr } from 'msgpackr'
import type { ActorId, ActorState } from './actor.js'
import { assert } from './assert.js'
import type { Role } from './command.js'
import { commonWords } from './common-words.js'
import type { ErrorDetails, ErrorKind } from './errors.js'
import type { Fact } from './fact.js'
import type { Posting } from './ledger.js'
import type { PackedBytes } from './packed-values.js'
import { Packer } from './packer.js'
import { Unpacker } from './unpacker.js'

export interface Input {
  readonly id: string
  /** Server time in milliseconds, never going backwards within a shard. */
  readonly at: number
  readonly command: string
  readonly args: unknown
  readonly who: { readonly role: Role; readonly userId: string; readonly sessionId: string }
}

export interface Alarm {
  readonly actor: ActorId
  readonly name: string
  /** Absolute deadline in milliseconds. */
  readonly at: number
  readonly command: string
  readonly args: unknown
}

/** `at: null` clears the alarm of that actor and name. */
export type AlarmChange = Alarm | { readonly actor: ActorId; readonly name: string; readonly at: null }

/** A command told to another actor; it becomes its own turn. */
export interface Message {
  /** `seq.n` of the turn that told it. */
  readonly id: string
  readonly command: string
  readonly args: unknown
}

export type StoredOutcome =
  | { readonly ok: true; readonly reply?: unknown }
  | {
      readonly ok: false
      readonly error: {
        readonly kind: ErrorKind
        readonly code: string
        readonly message: string
        readonly details: ErrorDetails
      }
    }

/** What ties a record to the repeat it must recognise. */
export interface Idempotency {
  readonly key: string
  /** Digest of the request body: the same key with another body is a conflict. */
  readonly fingerprint: string
  readonly outcome: StoredOutcome
  /** Natural keys are kept for ever, client keys for the window. */
  readonly forever: boolean
}

export interface TurnRecord {
  readonly seq: number
  readonly input: Input
  readonly facts: readonly Fact[]
  readonly postings: readonly Posting[]
  /** The new image of each actor the turn changed. */
  readonly images: readonly { readonly actor: ActorId; readonly image: Uint8Array }[]
  readonly deltas: readonly { readonly table: string; readonly delta: unknown }[]
  readonly alarms: readonly AlarmChange[]
  readonly messages: readonly Message[]
  /** The message or alarm (`actor#name@at`) this turn consumed. */
  readonly consumed: string | null
  readonly idempotency: Idempotency | null
}

/** 2 tells common words by number; 1 is read too. */
const RECORD_VERSION = 2
const msgpackr = new Packr({
  useRecords: false,
  moreTypes: false,
  encodeUndefinedAsNil: true,
  // Minor units of a coin with eighteen decimals pass 64 bits soon.
  useBigIntExtension: true,
  // What is unpacked is kept, the buffer it was read into is not.
  copyBuffers: true,
})

const packer = new Packer((value) => msgpackr.pack(value), commonWords)
const unpacker = new Unpacker((bytes) => msgpackr.unpack(bytes))

/**
 * Packs plain data: numbers, strings, bigints, bytes, arrays, objects. The bytes depend only on the value (T5).
 * Not restored as they were: undefined (null), Map, Set, typed arrays other than bytes, class instances.
 */
export function pack(value: unknown): Uint8Array {
  return packer.pack(value)
}

export function unpack<Value>(bytes: Uint8Array): Value {
  return unpacker.unpack(bytes) as Value
}

export function unpackBytes<Value>({ bytes, start, end }: PackedBytes): Value {
  return unpack<Value>(bytes.subarray(start, end))
}

export function packImage(state: ActorState): Uint8Array {
  return pack([state.value, state.context, state.accounts])
}

export function unpackImage(bytes: Uint8Array): ActorState {
  const [value, context, accounts] = unpack<[ActorState['value'], unknown, ActorState['accounts']]>(bytes)
  return { value, context, accounts }
}

/** The layout of both versions. */
type PackedRecord = readonly [
  version: number,
  seq: number,
  input: readonly [string, number, string, unknown, Role, string, string],
  facts: TurnRecord['facts'],
  postings: TurnRecord['postings'],
  images: readonly (readonly [ActorId, Uint8Array])[],
  deltas: readonly (readonly [string, unknown])[],
  alarms: TurnRecord['alarms'],
  messages: TurnRecord['messages'],
  consumed: string | null,
  idempotency: Idempotency | null,
]

export function packRecord(record: TurnRecord): Uint8Array {
  const { input } = record
  const packed: PackedRecord = [
    RECORD_VERSION,
    record.seq,
    [input.id, input.at, input.command, input.args, input.who.role, input.who.userId, input.who.sessionId],
    record.facts,
    record.postings,
    record.images.map(({ actor, image }) => [actor, image]),
    record.deltas.map(({ table, delta }) => [table, delta]),
    record.alarms,
    record.messages,
    record.consumed,
    record.idempotency,
  ]
  return pack(packed)
}

export function assertReadable(version: number): void {
  const isReadable = version === 1 || version === RECORD_VERSION
  assert(isReadable, `journal record has version ${version}, this program reads ${RECORD_VERSION}`)
}

export function unpackRecord(bytes: Uint8Array): TurnRecord {
  const [version, seq, input, facts, postings, images, deltas, alarms, messages, consumed, idempotency] =
    unpack<PackedRecord>(bytes)
  assertReadable(version)
  const [id, at, command, args, role, userId, sessionId] = input
  return {
    seq,
    input: { id, at, command, args, who: { role, userId, sessionId } },
    facts,
    postings,
    images: images.map(([actor, image]) => ({ actor, image })),
    deltas: deltas.map(([table, delta]) => ({ table, delta })),
    alarms,
    messages,
    consumed,
    idempotency,
  }
}
