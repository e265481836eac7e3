/**
 * A record as recovery reads it (J3): what only is kept stays packed, and what it has no use for is stepped over.
 * Most images and replies are never looked at before they are overwritten or forgotten, and unpacking them, with what
 * a full heap costs the garbage collector, took five times as long as everything else.
 */
import type { ActorId } from './actor.js'
import { assert } from './assert.js'
import { PackedValues } from './packed-values.js'
import { type Idempotency, RECORD_VERSION, type StoredOutcome, type TurnRecord, unpack } from './record.js'

export type RecoveryRecord = Omit<TurnRecord, 'input' | 'facts' | 'postings'> & {
  /** The time of its input. */
  readonly at: number
  readonly facts: readonly PackedFact[]
}

/** A fact of a record that is read back, still packed in a buffer that will be used again. */
export class PackedFact {
  constructor(readonly bytes: Buffer) {}

  get type(): string | undefined {
    return this.text('type')
  }

  /** A field that is a text; undefined if there is none. */
  text(field: string): string | undefined {
    const values = new PackedValues(this.bytes)
    return values.enterField(field) ? values.text() : undefined
  }

  unpack<Of extends { readonly type: string }>(): Of {
    return unpack<Of>(this.bytes)
  }

  copy(): PackedFact {
    return new PackedFact(Buffer.from(this.bytes))
  }
}

const none: readonly never[] = []

/** Reads a record; of its facts only those that `isFolded` by a view. Images are views into `body`. */
export function readForRecovery(body: Uint8Array, isFolded: (factType: string) => boolean): RecoveryRecord {
  const values = new PackedValues(Buffer.from(body.buffer, body.byteOffset, body.byteLength))
  const parts = values.enterArray()
  const version = values.number()
  assert(
    version === RECORD_VERSION && parts === 11,
    `journal record has version ${version}, this program reads ${RECORD_VERSION}`,
  )
  const seq = values.number()
  const at = timeOf(values)
  const facts = factsOf(values, isFolded)
  values.skip() // postings
  const images = imagesOf(values)
  const deltas = partsOf<[string, unknown]>(values).map(([table, delta]) => ({ table, delta }))
  const alarms = partsOf<TurnRecord['alarms'][number]>(values)
  const messages = partsOf<TurnRecord['messages'][number]>(values)
  const consumed = values.skipNil() ? null : values.text()
  const idempotency = values.skipNil() ? null : idempotencyOf(values)
  return { seq, at, facts, images, deltas, alarms, messages, consumed, idempotency }
}

/** The time of the input that is next: its second value. */
function timeOf(values: PackedValues): number {
  const count = values.enterArray()
  values.skip()
  const at = values.number()
  for (let left = count - 2; left > 0; left--) values.skip()
  return at
}

function factsOf(values: PackedValues, isFolded: (factType: string) => boolean): readonly PackedFact[] {
  let facts: PackedFact[] | undefined
  for (let left = values.enterArray(); left > 0; left--) {
    const fact = new PackedFact(values.view())
    if (!isFolded(fact.type ?? '')) continue
    facts ??= []
    facts.push(fact)
  }
  return facts ?? none
}

function imagesOf(values: PackedValues): TurnRecord['images'] {
  const images = []
  for (let left = values.enterArray(); left > 0; left--) {
    values.enterArray()
    images.push({ actor: values.text() as ActorId, image: values.binary() })
  }
  return images
}

/** The array that is next, unpacked; it is mostly empty. */
function partsOf<Part>(values: PackedValues): readonly Part[] {
  const packed = values.view()
  return packed.length === 1 ? none : unpack<Part[]>(packed)
}

function idempotencyOf(values: PackedValues): Idempotency {
  const fields: Record<string, Buffer> = {}
  for (let left = values.enterMap(); left > 0; left--) fields[values.text()] = values.view()
  return new PackedIdempotency(fields)
}

/** Its reply is rarely asked for: only a client who did not hear of it asks again. */
class PackedIdempotency implements Idempotency {
  readonly key: string
  readonly fingerprint: string
  readonly forever: boolean
  readonly #outcome: Uint8Array

  constructor({ key, fingerprint, forever, outcome }: Readonly<Record<string, Buffer>>) {
    assert(key && fingerprint && forever && outcome, 'a repeat is packed with all its fields')
    this.key = unpack(key)
    this.fingerprint = unpack(fingerprint)
    this.forever = unpack(forever)
    this.#outcome = Buffer.from(outcome)
  }

  get outcome(): StoredOutcome {
    return unpack(this.#outcome)
  }
}
