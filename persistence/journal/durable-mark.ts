// How far the journal is on disk, in a file beside the segments. A journal that was cut short while nobody looked
// reads exactly like one that never got further; the mark tells them apart (J5).
//
// - J5 A journal that ends before its mark is damaged, also where its end looks torn.
// - The mark is never ahead of the disk: it is written after the sync of the records it covers.
// - It is handed to the operating system before anybody hears of those records, so when the process dies it is exact.
//   It is synced only on opening and closing: after a power cut it is what the system had written back until then.
//
//   0 magic, 8 bytes    8 crc32c of 12..32    12 version u32    16 seq u64    24 zero
//
// It lies within one sector, so a crash leaves the old one or the new one, or less where none was before.
import { join } from 'node:path'
import { crc32c } from '@node-rs/crc32'
import { JournalDamagedError } from './errors.js'
import { type JournalFiles, readUpTo, withFile, writeWhole } from './files.js'

export const MARK_NAME = 'durable.mark'
export const MARK_BYTES = 32
const MARK_VERSION = 1
/** A running server may be writing it while it is read. */
const READS_MAX = 3
const MAGIC = Buffer.from('COMPMARK', 'latin1')

/** The mark that stands for `seq`. */
export function encodeMark(seq: number, bytes: Buffer = Buffer.alloc(MARK_BYTES)): Buffer {
  MAGIC.copy(bytes)
  bytes.writeUInt32LE(MARK_VERSION, 12)
  bytes.writeBigUInt64LE(BigInt(seq), 16)
  bytes.writeUInt32LE(crc32c(bytes.subarray(12)), 8)
  return bytes
}

/** The record that was durable for certain; 0 when there is no mark. Throws JournalDamagedError. */
export async function readMark(directory: string, files: JournalFiles): Promise<number> {
  if (!(await files.list(directory)).includes(MARK_NAME)) return 0
  const path = join(directory, MARK_NAME)
  for (let attempt = 0; attempt < READS_MAX; attempt += 1) {
    const bytes = await withFile(files, path, (fd) => readUpTo(files, fd, 0, MARK_BYTES + 1))
    // Its creation was interrupted.
    if (bytes.length < MARK_BYTES || bytes.every((byte) => byte === 0)) return 0
    const seq = Number(bytes.readBigUInt64LE(16))
    if (Number.isSafeInteger(seq) && bytes.equals(encodeMark(seq))) return seq
  }
  throw new JournalDamagedError(
    path,
    0,
    0,
    'the mark of how far the journal is durable does not match its checksum',
    'If "comptroller journal verify" finds nothing else, delete this file: it is written anew at the next start.',
  )
}

export class DurableMark {
  readonly #bytes = Buffer.alloc(MARK_BYTES)

  private constructor(
    private readonly files: JournalFiles,
    private readonly fd: number,
  ) {}

  /** Sets the mark to `seq`, which is durable; so is the mark when this returns. */
  static async open(directory: string, files: JournalFiles, seq: number): Promise<DurableMark> {
    const path = join(directory, MARK_NAME)
    const exists = (await files.list(directory)).includes(MARK_NAME)
    const fd = await (exists ? files.openExisting(path) : files.create(path))
    const mark = new DurableMark(files, fd)
    try {
      await mark.advance(seq)
      await mark.sync()
      await files.syncDirectory(directory)
      return mark
    } catch (error) {
      await mark.close()
      throw error
    }
  }

  /** One call at a time. */
  advance(seq: number): Promise<void> {
    return writeWhole(this.files, this.fd, encodeMark(seq, this.#bytes), 0)
  }

  sync(): Promise<void> {
    return this.files.datasync(this.fd)
  }

  close(): Promise<void> {
    return this.files.close(this.fd)
  }
}
