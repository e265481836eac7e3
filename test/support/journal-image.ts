// Journals as a stop or a crash leaves them, written by the real journal, with a map of what is where in them.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { assert } from '../../engine/assert.js'
import { Random } from '../../engine/simulator/random.js'
import { encodeSlot, MARK_NAME, SLOT_BYTES } from '../../persistence/journal/durable-mark.js'
import { openFileJournal } from '../../persistence/journal/file-journal.js'
import type { JournalFiles } from '../../persistence/journal/files.js'
import { FRAME_HEADER_BYTES, RECORD_PREFIX_BYTES, SECTOR_BYTES } from '../../persistence/journal/format.js'
import { describeFrames, describeSegments } from '../../persistence/journal/inspect.js'
import { type Rig, startBank } from './engine.js'

/** Bytes of a file that mean one thing. */
export interface Span {
  readonly region: string
  readonly file: string
  readonly from: number
  readonly to: number
}

export interface Image {
  readonly name: 'stopped' | 'killed' | 'power cut'
  readonly directory: string
  readonly files: ReadonlyMap<string, Buffer>
  readonly spans: readonly Span[]
  /** Headers and frames: damage in one is to be named at its beginning or within it. */
  readonly units: readonly Span[]
  /** The last record anybody was told of. */
  readonly acknowledgedSeq: number
  /** What `durable.mark` says; exact unless the power was cut. */
  readonly markSeq: number
  /** The last record a start finds in the undamaged journal. */
  readonly lastSeq: number
}

const SEGMENT_BYTES = 16_000
/** So many frames at the end are in one segment, whatever its size. */
const LAST_FRAMES = 8
const FRAMES = 48
const PEOPLE = ['ann', 'bob', 'cyd', 'dot']
/** Records the mark of the image after a power cut is behind. */
const MARK_LAG = 7

const segmentFields = { magic: 8, checksum: 12, version: 16, 'first record': 24, 'spare zeros': 32, chain: 64 }
const frameFields = {
  ...{ magic: 2, version: 4, checksum: 8, 'payload length': 12, 'payload checksum': 16, 'record count': 20 },
  ...{ 'zero sectors': 24, 'first record': 32, chain: 64 },
}
const slotFields = { magic: 8, checksum: 12, version: 16, record: 24, 'spare zeros': 32 }

/** The records of a small bank, frame by frame, of all sizes; some leave sectors of zeros, or all zeros but one. */
export async function recordsOfABank(seed: number): Promise<Uint8Array[][]> {
  const random = new Random(seed, 'bank')
  const rig = await startBank()
  const frames: Uint8Array[][] = []
  for (const name of PEOPLE) await rig.openAccount(name, 5_000n)
  for (let frame = 0; frame < FRAMES; frame += 1) {
    const first = frame === 0 ? 0 : rig.journal.lastSeq
    const isNearEnd = frame >= FRAMES - LAST_FRAMES
    for (let turn = random.int(1, 3); turn > 0; turn -= 1) await something(rig, random, isNearEnd)
    frames.push(rig.journal.bodies.slice(first))
  }
  return frames
}

async function something({ run, bank, journal }: Rig, random: Random, isLong: boolean): Promise<void> {
  const [from, to] = [random.pick(PEOPLE), random.pick(PEOPLE)]
  if (!isLong && random.chance(0.6)) {
    await run(bank.send, { from, to, cents: 1n })
    return
  }
  const number = String(journal.lastSeq)
  const padding = random.pick(['\0', '\0', '-'])
  const receipt = `${number}${padding.repeat(random.int(0, 1) * 500)}x${padding.repeat(600)}`
  await run(bank.payIn, { name: from, cents: 5n, receipt: isLong || random.chance(0.2) ? receipt : number })
}

/** Writes the frames into `directory` as the journal does, and leaves it as `name` says. */
export async function makeImage(
  name: Image['name'],
  directory: string,
  frames: readonly Uint8Array[][],
  files: JournalFiles,
): Promise<Image> {
  mkdirSync(directory)
  await write(directory, frames.slice(0, -LAST_FRAMES), files, SEGMENT_BYTES)
  await write(directory, frames.slice(-LAST_FRAMES), files, Number.MAX_SAFE_INTEGER)
  const whole = frames.flat().length
  const acknowledgedSeq = name === 'stopped' ? whole : whole - (frames.at(-1)?.length ?? 0)
  const markSeq = name === 'power cut' ? acknowledgedSeq - MARK_LAG : acknowledgedSeq
  const { spans, units } = await mapOf(directory, acknowledgedSeq)
  if (name === 'power cut') loseASector(directory, units.at(-1))
  if (name !== 'stopped') setMark(directory, markSeq)
  const names = readdirSync(directory)
  return {
    ...{ name, directory, spans, units, acknowledgedSeq, markSeq },
    files: new Map(names.map((each) => [each, readFileSync(join(directory, each))])),
    lastSeq: name === 'killed' ? whole : acknowledgedSeq,
  }
}

async function write(
  directory: string,
  frames: readonly Uint8Array[][],
  files: JournalFiles,
  segmentBytes: number,
): Promise<void> {
  let flushed = () => {}
  const listener = {
    onDurable: () => flushed(),
    onFailure: (error: Error) => {
      throw error
    },
  }
  const { journal } = await openFileJournal({ directory, files, listener, segmentBytes })
  for (const bodies of frames) {
    const flush = new Promise<void>((resolve) => {
      flushed = resolve
    })
    for (const body of bodies) journal.append(journal.lastSeq + 1, body)
    await flush
  }
  await journal.close()
}

/** The power went while the last frame was being written: a sector of its payload never arrived. */
function loseASector(directory: string, lastFrame: Span | undefined): void {
  assert(lastFrame !== undefined, 'the journal has frames')
  const path = join(directory, lastFrame.file)
  const bytes = readFileSync(path)
  let from = Math.ceil((lastFrame.from + FRAME_HEADER_BYTES) / SECTOR_BYTES) * SECTOR_BYTES
  while (bytes.subarray(from, from + SECTOR_BYTES).every((byte) => byte === 0)) from += SECTOR_BYTES
  assert(from < lastFrame.to, 'the last frame is long, and not all zeros')
  writeFileSync(path, bytes.fill(0, from, Math.min(from + SECTOR_BYTES, lastFrame.to)))
}

function setMark(directory: string, seq: number): void {
  const mark = Buffer.alloc(SECTOR_BYTES + SLOT_BYTES)
  encodeSlot(seq - 1).copy(mark)
  encodeSlot(seq).copy(mark, SECTOR_BYTES)
  writeFileSync(join(directory, MARK_NAME), mark)
}

async function mapOf(directory: string, acknowledgedSeq: number): Promise<{ spans: Span[]; units: Span[] }> {
  const spans: Span[] = []
  const units: Span[] = []
  for await (const { file: path, firstSeq } of describeSegments(directory)) {
    const file = path.slice(directory.length + 1)
    const bytes = readFileSync(path)
    spans.push(...fieldsOf('segment header', segmentFields, file, 0))
    units.push({ region: 'segment header', file, from: 0, to: FRAME_HEADER_BYTES })
    for await (const frame of describeFrames({ path, firstSeq })) {
      const region = frameName(frame, acknowledgedSeq)
      const unit = { region, file, from: frame.offset, to: frame.offset + frame.bytes }
      units.push(unit)
      spans.push(...fieldsOf(region, frameFields, file, frame.offset), ...payloadOf(unit, bytes))
    }
  }
  for (const at of [0, SECTOR_BYTES]) spans.push(...fieldsOf('mark', slotFields, MARK_NAME, at))
  units.unshift({ region: 'mark', file: MARK_NAME, from: 0, to: SECTOR_BYTES + SLOT_BYTES })
  return { spans, units }
}

function frameName({ lastSeq }: { readonly lastSeq: number }, acknowledgedSeq: number): string {
  if (lastSeq > acknowledgedSeq) return 'unacknowledged frame'
  return lastSeq === acknowledgedSeq ? 'last acknowledged frame' : 'frame'
}

/** `fields` are the names of fields and where each ends. */
function fieldsOf(where: string, fields: Record<string, number>, file: string, at: number): Span[] {
  let from = at
  return Object.entries(fields).map(([name, end]) => {
    const span = { region: `${where}: ${name}`, file, from, to: at + end }
    from = at + end
    return span
  })
}

function payloadOf({ region, file, from, to }: Span, bytes: Buffer): Span[] {
  const spans: Span[] = []
  for (let at = from + FRAME_HEADER_BYTES; at < to; ) {
    const body = at + RECORD_PREFIX_BYTES
    const end = body + bytes.readUInt32LE(at)
    spans.push({ region: `${region}: record length`, file, from: at, to: body })
    spans.push({ region: `${region}: record body`, file, from: body, to: end })
    at = end
  }
  for (let at = from; at < to; ) {
    const end = Math.min(to, (Math.floor(at / SECTOR_BYTES) + 1) * SECTOR_BYTES)
    const set = [...bytes.subarray(at, end).entries()].filter(([, byte]) => byte !== 0).map(([index]) => at + index)
    const [only] = set
    if (only === undefined) spans.push({ region: `${region}: sector of zeros`, file, from: at, to: end })
    else if (set.length === 1)
      spans.push({ region: `${region}: only byte of a sector`, file, from: only, to: only + 1 })
    at = end
  }
  return spans
}
