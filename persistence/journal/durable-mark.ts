// How far the journal is on disk, in a file beside the segments. A journal that was cut short while nobody looked
// reads exactly like one that never got further; the mark tells them apart (J5).
//
// - J5 A journal that ends before its mark is damaged, also where its end looks torn.
// - The mark is never ahead of the disk: it is written after the sync of the records it covers.
// - It is handed to the operating system before anybody hears of those records, so when the process dies it is exact.
//   It is synced only on opening and closing: after a power cut it is what the system had written back until then.
// - It is kept in two slots, each in a disk sector of its own, written in turn: one that was only half written leaves
//   the other. The higher one counts.
//
//   slot: 0 magic, 8 bytes    8 crc32c of 12..32    12 version u32    16 seq u64    24 zero
import { join } from 'node:path'
import { crc32c } from '@node-rs/crc32'
import { JournalDamagedError } from './errors.js'
import { type JournalFiles, readUpTo, withFile, writeWhole } from './files.js'
import { SECTOR_BYTES } from './format.js'

export const MARK_NAME = 'durable.mark'
export const SLOT_BYTES = 32
const SLOTS_AT = [0, SECTOR_BYTES] as const
const MARK_VERSION = 1
/** A running server may be writing it while it is read. */
const READS_MAX = 3
const MAGIC = Buffer.from('COMPMARK', 'latin1')

/** A slot that holds `seq`. */
export function encodeSlot(seq: number, slot: Buffer = Buffer.alloc(SLOT_BYTES)): Buffer {
  MAGIC.copy(slot)
  slot.writeUInt32LE(MARK_VERSION, 12)
  slot.writeBigUInt64LE(BigInt(seq), 16)
  slot.writeUInt32LE(crc32c(slot.subarray(12)), 8)
  return slot
}

/** What a slot holds: a record, `empty` if it was never written to its end, or else `wrong`. */
type Slot = number | 'empty' | 'wrong'

function decodeSlot(slot: Buffer): Slot {
  if (slot.length < SLOT_BYTES || slot.every((byte) => byte === 0)) return 'empty'
  const seq = Number(slot.readBigUInt64LE(16))
  return Number.isSafeInteger(seq) && slot.equals(encodeSlot(seq)) ? seq : 'wrong'
}

async function readSlots(path: string, files: JournalFiles): Promise<Slot[]> {
  const bytes = await withFile(files, path, (fd) => readUpTo(files, fd, 0, 2 * SECTOR_BYTES))
  return SLOTS_AT.map((at) => decodeSlot(bytes.subarray(at, at + SLOT_BYTES)))
}

const highest = (slots: readonly Slot[]) => Math.max(0, ...slots.filter((slot) => typeof slot === 'number'))

/** A record that was durable for certain; 0 when there is no mark. Throws JournalDamagedError. */
export async function readMark(directory: string, files: JournalFiles): Promise<number> {
  if (!(await files.list(directory)).includes(MARK_NAME)) return 0
  const path = join(directory, MARK_NAME)
  for (let attempt = 0; attempt < READS_MAX; attempt += 1) {
    const slots = await readSlots(path, files)
    const isKnown = slots.some((slot) => typeof slot === 'number')
    if (isKnown || !slots.includes('wrong')) return highest(slots)
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
  readonly #bytes = Buffer.alloc(SLOT_BYTES)

  private constructor(
    private readonly files: JournalFiles,
    private readonly fd: number,
    private isSecondNext: boolean,
  ) {}

  /** Sets the mark to `seq`, which is durable; so is the mark when this returns. */
  static async open(directory: string, files: JournalFiles, seq: number): Promise<DurableMark> {
    const path = join(directory, MARK_NAME)
    const exists = (await files.list(directory)).includes(MARK_NAME)
    const slots = exists ? await readSlots(path, files) : []
    const fd = await (exists ? files.openExisting(path) : files.create(path))
    const mark = new DurableMark(files, fd, slots[0] === highest(slots))
    try {
      for (const _ of SLOTS_AT) {
        await mark.advance(seq)
        await mark.sync()
      }
      await files.syncDirectory(directory)
      return mark
    } catch (error) {
      await mark.close()
      throw error
    }
  }

  /** One call at a time. */
  advance(seq: number): Promise<void> {
    const slotAt = SLOTS_AT[this.isSecondNext ? 1 : 0]
    this.isSecondNext = !this.isSecondNext
    return writeWhole(this.files, this.fd, encodeSlot(seq, this.#bytes), slotAt)
  }

  sync(): Promise<void> {
    return this.files.datasync(this.fd)
  }

  close(): Promise<void> {
    return this.files.close(this.fd)
  }
}
