/**
 * The signer's own memory on disk: every transaction it was ever ready to sign, appended, never changed.
 *
 * S5 An entry is durable before its signature leaves. One flush at a time; what comes meanwhile shares the next.
 * S6 A torn tail is cut; any other damage refuses the start and names the position.
 * S7 A failed write or sync ends the log: it is never tried again over it.
 */
import { type FileHandle, open, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { assert } from '../../engine/assert.js'
import { createDurably, hasCode } from '../keys/durable-file.js'
import { SignerStartError, SignerUnavailable } from './errors.js'
import { decodeFrame, encodeFrame, FRAME_BYTES_MAX } from './log-frame.js'

const FILE_NAME = 'signatures.log'
const READ_BYTES = 4 * FRAME_BYTES_MAX
/** That may wait for the disk: each takes under a kilobyte, and all that wait share a frame. */
export const LOG_ENTRIES_PENDING_MAX = 2_048

const entrySchema = z.strictObject({
  at: z.number().int(),
  wallet: z.string(),
  /** Chain and address, as in CAIP-10. */
  account: z.string(),
  payout: z.string(),
  to: z.string(),
  amount: z.string().regex(/^[0-9]+$/),
  nonce: z.number().int().nullable(),
  /** Of the unsigned bytes. */
  fingerprint: z.string(),
  /** What pays it along with others, and holds the nonce; that itself, which spends nothing, names itself. */
  batch: z.string().optional(),
})
/** The bytes of an entry were not signed after all, so they count no more. */
const failedSchema = z.strictObject({ at: z.number().int(), payout: z.string(), failed: z.string() })
const headFrame = z.strictObject({ log: z.literal('comptroller signer'), version: z.literal(1) })
const entriesFrame = z.strictObject({
  seq: z.number().int(),
  entries: z.array(z.union([entrySchema, failedSchema])).min(1),
})

export type LogEntry = z.output<typeof entrySchema>
export type LogRecord = LogEntry | z.output<typeof failedSchema>

export class SignerLog {
  #pending: LogRecord[] = []
  #flushing: Promise<void> = Promise.resolve()
  #isScheduled = false
  #failure: SignerUnavailable | null = null

  private constructor(
    private readonly file: FileHandle,
    private size: number,
    private nextSeq: number,
    /** What was cut of a torn tail at the start. */
    readonly bytesCut: number,
  ) {}

  /** Creates it, or reads it through and hands over each entry. Throws `log_damaged`. */
  static async open(directory: string, onRecord: (record: LogRecord) => void): Promise<SignerLog> {
    const path = join(directory, FILE_NAME)
    await createIfMissing(path)
    const file = await open(path, 'r+')
    try {
      const { size } = await file.stat()
      const read = await readThrough(file, path, size, onRecord)
      if (read.end < size) {
        await file.truncate(read.end)
        await file.sync()
      }
      return new SignerLog(file, read.end, read.nextSeq, size - read.end)
    } catch (error) {
      await file.close()
      throw error
    }
  }

  get bytes(): number {
    return this.size
  }

  get entries(): number {
    return this.nextSeq - 1
  }

  /** Appends, possibly nothing, and waits until that and all before it is durable. Throws `signer_log_failed`. */
  async append(entries: readonly LogRecord[]): Promise<void> {
    if (this.#failure !== null) throw this.#failure
    assert(this.#pending.length + entries.length <= LOG_ENTRIES_PENDING_MAX, 'more entries wait than a frame holds')
    this.#pending.push(...entries)
    if (!this.#isScheduled && this.#pending.length > 0) {
      this.#isScheduled = true
      this.#flushing = this.#flushing.then(() => this.#flush())
    }
    await this.#flushing
  }

  async close(): Promise<void> {
    await this.#flushing.catch(() => {})
    this.#failure ??= new SignerUnavailable('signer_closed', 'The signer is stopping; ask again when it runs.')
    await this.file.close()
  }

  // S5
  async #flush(): Promise<void> {
    this.#isScheduled = false
    const batch = this.#pending
    this.#pending = []
    if (this.#failure !== null) throw this.#failure
    try {
      await this.#write(batch)
      await this.file.datasync()
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause)
      // S7
      this.#failure = new SignerUnavailable(
        'signer_log_failed',
        `The log of the signer cannot be written (${why}), so it signs nothing more. See to the disk, then start it again.`,
        { cause },
      )
      throw this.#failure
    }
  }

  async #write(entries: readonly LogRecord[]): Promise<void> {
    const frame = encodeFrame(JSON.stringify({ seq: this.nextSeq, entries }))
    const { bytesWritten } = await this.file.write(frame, 0, frame.length, this.size)
    if (bytesWritten !== frame.length) throw new Error(`${bytesWritten} of ${frame.length} bytes were written`)
    this.size += frame.length
    this.nextSeq += entries.length
  }
}

async function createIfMissing(path: string): Promise<void> {
  const isThere = await stat(path).then(
    () => true,
    (error: unknown) => (hasCode(error, 'ENOENT') ? false : Promise.reject(error)),
  )
  const head = encodeFrame(JSON.stringify({ log: 'comptroller signer', version: 1 }))
  if (!isThere) await createDurably(path, head.toString())
}

/** Where the intact part ends, and the number of the entry that is due there. */
async function readThrough(
  file: FileHandle,
  path: string,
  size: number,
  onRecord: (record: LogRecord) => void,
): Promise<{ readonly end: number; readonly nextSeq: number }> {
  let end = 0
  let nextSeq = 0
  const isDamaged = (what: string) => damagedLog(path, end, nextSeq, what)
  for (let rest: Buffer = Buffer.alloc(0); end < size; ) {
    if (rest.length < FRAME_BYTES_MAX && end + rest.length < size) rest = await readFrom(file, end, size)
    const frame = decodeFrame(rest, end)
    if (frame.kind === 'damaged') throw isDamaged(frame.what)
    if (frame.kind === 'torn') {
      // The first frame was there before the file had its name.
      if (end === 0) throw isDamaged('the file does not even begin as a log of signatures')
      break
    }
    nextSeq = applyFrame(frame.json, nextSeq, onRecord, isDamaged)
    end += frame.bytes
    rest = rest.subarray(frame.bytes)
  }
  if (end === 0) throw isDamaged('the file is empty')
  return { end, nextSeq }
}

async function readFrom(file: FileHandle, start: number, size: number): Promise<Buffer> {
  const buffer = Buffer.alloc(Math.min(READ_BYTES, size - start))
  let filled = 0
  while (filled < buffer.length) {
    const { bytesRead } = await file.read(buffer, filled, buffer.length - filled, start + filled)
    if (bytesRead === 0) break
    filled += bytesRead
  }
  return buffer.subarray(0, filled)
}

/** Returns the number that is due next. */
function applyFrame(
  json: string,
  nextSeq: number,
  onRecord: (record: LogRecord) => void,
  isDamaged: (what: string) => SignerStartError,
): number {
  const content: unknown = JSON.parse(json)
  if (nextSeq === 0) {
    if (!headFrame.safeParse(content).success) throw isDamaged('it is no log of signatures of this version')
    return 1
  }
  const { data } = entriesFrame.safeParse(content)
  if (data === undefined) throw isDamaged('the frame does not hold entries')
  if (data.seq !== nextSeq) throw isDamaged(`the frame begins with entry ${data.seq}`)
  data.entries.forEach(onRecord)
  return nextSeq + data.entries.length
}

function damagedLog(path: string, offset: number, seq: number, what: string): SignerStartError {
  return new SignerStartError(
    'log_damaged',
    `The log of the signer is damaged in ${path} at byte ${offset}, where entry ${seq} is due: ${what}. It was left as ` +
      'it is. Without it a payout could be signed twice: keep the signer stopped, copy the file away and restore it whole ' +
      'from a backup that is no older than the last signature.',
  )
}
