/**
 * A record as recovery reads it (J3): what is only kept stays packed, and what recovery has no use for is stepped over.
 * Most images and replies are never looked at before they are overwritten or forgotten; unpacking them all, and what so
 * many objects cost the garbage collector, took several times as long as everything else.
 */
import type { ActorId } from './actor.js'
import { assert } from './assert.js'
import { type PackedBytes, PackedValues, Slabs } from './packed-values.js'
import { assertReadable, type Idempotency, type StoredOutcome, type TurnRecord, unpackBytes } from './record.js'

/** Of `facts` and `images` the bytes are those that were read; they must be copied to be kept. */
export type RecoveryRecord = Omit<TurnRecord, 'input' | 'facts' | 'images' | 'postings'> & {
  /** The time of its input. */
  readonly at: number
  readonly facts: readonly PackedFact[]
  readonly images: readonly { readonly actor: ActorId; readonly image: PackedBytes }[]
}

const RECORD_PARTS = 11
const none: readonly never[] = []

/** A fact, still packed. */
export class PackedFact implements PackedBytes {
  constructor(
    readonly type: string,
    readonly bytes: Buffer,
    readonly start: number,
    readonly end: number,
  ) {}

  /** A field that is a text. */
  text(field: string): string {
    const values = new PackedValues(this.bytes, this.start)
    assert(values.enterField(field), `a fact has no ${field}`)
    return values.text()
  }

  copyInto(slabs: Slabs): PackedFact {
    const { bytes, start, end } = slabs.copy(this)
    return new PackedFact(this.type, bytes, start, end)
  }

  unpack<Fact extends { readonly type: string }>(): Fact {
    return unpackBytes<Fact>(this)
  }
}

/** Reads a record; of its facts only those of the types given. A reply is copied into `replies`. */
export function readForRecovery(body: Uint8Array, factTypes: readonly string[], replies = new Slabs()): RecoveryRecord {
  const values = new PackedValues(asBuffer(body), 0)
  const parts = values.enterArray()
  const version = values.number()
  assertReadable(version)
  assert(parts === RECORD_PARTS, `a record has ${parts} parts`)
  const seq = values.number()
  const at = timeOf(values)
  const facts = factsOf(values, factTypes)
  values.stepOver() // postings
  const images = imagesOf(values)
  const deltas = listOf<[string, unknown]>(values).map(([table, delta]) => ({ table, delta }))
  const alarms = listOf<TurnRecord['alarms'][number]>(values)
  const messages = listOf<TurnRecord['messages'][number]>(values)
  const consumed = values.skipNil() ? null : values.text()
  const idempotency = values.skipNil() ? null : idempotencyOf(values, replies)
  return { seq, at, facts, images, deltas, alarms, messages, consumed, idempotency }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** The time of the input that is next: its second value. */
function timeOf(values: PackedValues): number {
  const count = values.enterArray()
  values.stepOver()
  const at = values.number()
  for (let left = count - 2; left > 0; left--) values.stepOver()
  return at
}

function factsOf(values: PackedValues, types: readonly string[]): readonly PackedFact[] {
  const { bytes } = values
  let facts: PackedFact[] | undefined
  for (let left = values.enterArray(); left > 0; left--) {
    const start = values.at
    const type = values.enterField('type') ? types.find((each) => values.isText(each)) : undefined
    values.at = start
    values.stepOver()
    if (type === undefined) continue
    facts ??= []
    facts.push(new PackedFact(type, bytes, start, values.at))
  }
  return facts ?? none
}

function imagesOf(values: PackedValues): RecoveryRecord['images'] {
  const images = []
  for (let left = values.enterArray(); left > 0; left--) {
    values.enterArray()
    images.push({ actor: values.text() as ActorId, image: values.binary() })
  }
  return images
}

/** The array that is next, unpacked; it is mostly empty. */
function listOf<Part>(values: PackedValues): readonly Part[] {
  const { bytes, at: start } = values
  values.stepOver()
  const end = values.at
  return end === start + 1 ? none : unpackBytes<Part[]>({ bytes, start, end })
}

function idempotencyOf(values: PackedValues, replies: Slabs): Idempotency {
  let key = ''
  let fingerprint = ''
  let forever = false
  let outcome: PackedBytes | undefined
  for (let left = values.enterMap(); left > 0; left--) {
    if (values.skipText('key')) key = values.text()
    else if (values.skipText('fingerprint')) fingerprint = values.text()
    else if (values.skipText('forever')) forever = values.boolean()
    else {
      assert(values.skipText('outcome'), 'a repeat has a field that is not known')
      const start = values.at
      values.stepOver()
      outcome = replies.copy({ bytes: values.bytes, start, end: values.at })
    }
  }
  assert(outcome !== undefined, 'a repeat has no outcome')
  const { bytes, start, end } = outcome
  return new PackedIdempotency(key, fingerprint, forever, bytes, start, end)
}

/** Its reply is rarely asked for: only who did not hear of it asks again. */
class PackedIdempotency implements Idempotency {
  constructor(
    readonly key: string,
    readonly fingerprint: string,
    readonly forever: boolean,
    private readonly bytes: Buffer,
    private readonly start: number,
    private readonly end: number,
  ) {}

  get outcome(): StoredOutcome {
    const { bytes, start, end } = this
    return unpackBytes({ bytes, start, end })
  }
}
