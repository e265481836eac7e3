// The log of a signer is text, one frame a line, so that anybody can read it:
//
//   LLLLLLLL PPPPPPPP HHHHHHHH {"seq":12,"entries":[…]}
//
// L bytes of the JSON, P its CRC32C, H the CRC32C of "L P", each in 8 hexadecimal digits. `seq` is the number of the
// first entry in the frame: none may be missing.
import { crc32c } from '@node-rs/crc32'

export const FRAME_HEADER_BYTES = 27
export const FRAME_BYTES_MAX = 4 * 1024 * 1024
const SECTOR_BYTES = 512
/** Fewer zeros than this at one end of a frame prove nothing. */
const ZEROS_MIN = 16
const HEADER = /^([0-9a-f]{8}) ([0-9a-f]{8}) ([0-9a-f]{8}) $/
const HEADER_ANYWHERE = /([0-9a-f]{8}) ([0-9a-f]{8}) ([0-9a-f]{8}) /g
const NEWLINE = 0x0a

const hex8 = (value: number) => value.toString(16).padStart(8, '0')

export function encodeFrame(json: string): Buffer {
  const payload = Buffer.from(json)
  const vouched = `${hex8(payload.length)} ${hex8(crc32c(payload))}`
  return Buffer.concat([Buffer.from(`${vouched} ${hex8(crc32c(vouched))} `), payload, Buffer.of(NEWLINE)])
}

export type Frame =
  | { readonly kind: 'frame'; readonly json: string; readonly bytes: number }
  /** It was being written when the process or the machine died, so no signature of it ever left. */
  | { readonly kind: 'torn' }
  | { readonly kind: 'damaged'; readonly what: string }

/**
 * Reads the frame at the beginning of `rest`, which is all that is left of the file from `offset` on, or at least
 * {@link FRAME_BYTES_MAX} of it. Torn is only what a crash can explain: the file ends early, or whole disk sectors of
 * its last frame never arrived and are zeros. When in doubt, damaged.
 */
export function decodeFrame(rest: Buffer, offset: number): Frame {
  if (rest.length < FRAME_HEADER_BYTES) return isBeginning(rest) ? { kind: 'torn' } : damaged('its header is wrong')
  const header = rest.toString('latin1', 0, FRAME_HEADER_BYTES)
  const [, length = '', payloadCrc = '', headerCrc = ''] = HEADER.exec(header) ?? []
  if (headerCrc === '' || hex8(crc32c(`${length} ${payloadCrc}`)) !== headerCrc) {
    const headerPart = rest.subarray(0, Math.min(rest.length, toSectorEnd(offset)))
    const isLast = rest.length < FRAME_BYTES_MAX && !hasFrameAfter(rest)
    const isLost = isLast && isZeros(headerPart)
    return isLost ? { kind: 'torn' } : damaged('its header does not match its checksum')
  }
  const bytes = FRAME_HEADER_BYTES + Number.parseInt(length, 16) + 1
  if (bytes > FRAME_BYTES_MAX) return damaged('it is longer than any frame')
  if (bytes > rest.length) return { kind: 'torn' }
  const payload = rest.subarray(FRAME_HEADER_BYTES, bytes - 1)
  if (hex8(crc32c(payload)) === payloadCrc && rest[bytes - 1] === NEWLINE) {
    return { kind: 'frame', json: payload.toString(), bytes }
  }
  const isLast = bytes === rest.length
  return isLast && hasLostSector(rest, offset) ? { kind: 'torn' } : damaged('it does not match its checksum')
}

const damaged = (what: string): Frame => ({ kind: 'damaged', what })

/** Whether so few bytes can be the beginning of a frame, or of one whose sector never arrived. */
const isBeginning = (rest: Buffer) => /^[0-9a-f ]*$/.test(rest.toString('latin1')) || rest.every((byte) => byte === 0)

/** One frame is written at a time: whatever stands before another was durable. */
function hasFrameAfter(rest: Buffer): boolean {
  const text = rest.toString('latin1')
  for (const { 1: length = '', 2: payloadCrc = '', 3: headerCrc = '' } of text.matchAll(HEADER_ANYWHERE)) {
    if (hex8(crc32c(`${length} ${payloadCrc}`)) === headerCrc) return true
  }
  return false
}

const toSectorEnd = (offset: number) => SECTOR_BYTES - (offset % SECTOR_BYTES)

const isZeros = (part: Buffer) => part.length >= ZEROS_MIN && part.every((byte) => byte === 0)

function hasLostSector(frame: Buffer, offset: number): boolean {
  for (let at = 0; at < frame.length; ) {
    const end = Math.min(frame.length, at + toSectorEnd(offset + at))
    if (isZeros(frame.subarray(at, end))) return true
    at = end
  }
  return false
}
