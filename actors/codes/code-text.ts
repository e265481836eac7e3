/**
 * QR codes as people see them: `XXXX-XXXX-XXXX`, 12 symbols of 5 bits. Inside, a code is two 30-bit numbers,
 * `hi` (first six symbols) and `lo` (last six).
 *
 * With the optional check, the twelfth symbol makes the twelve, read as a polynomial over GF(32), vanish at a
 * generator of that field. Every position then weighs differently, so any one wrong symbol and any two swapped ones
 * show; 55 bits stay random.
 */
import { assert } from '../../engine/assert.js'

/** A to Z and 2 to 9 without I and O, which look like 1 and 0. */
const ALPHABET = 'ABCDEFGHJKLMNPQRSTUVWXYZ23456789'

export interface Code {
  readonly hi: number
  readonly lo: number
}

/** Bytes of randomness one code is made from. */
export const RANDOM_BYTES_PER_CODE = 8

const SYMBOLS = 12
const TEXT_LENGTH = 14
const DASH = '-'.charCodeAt(0)
const BITS_30 = 2 ** 30 - 1
/** x⁵ + x² + 1, primitive over GF(2). */
const FIELD_POLYNOMIAL = 0b100101

const symbolOf = [...ALPHABET].map((symbol) => symbol.charCodeAt(0))
const symbolValue = new Int8Array(128).fill(-1)
symbolOf.forEach((char, value) => {
  symbolValue[char] = value
  symbolValue[String.fromCharCode(char).toLowerCase().charCodeAt(0)] = value
})

/** Reads a code as typed: either case, dashes optional, spaces around it ignored. Null if it cannot be one. */
export function parseCode(text: string): Code | null {
  const trimmed = text.trim()
  if (trimmed.length > TEXT_LENGTH) return null
  let hi = 0
  let lo = 0
  let symbols = 0
  for (let at = 0; at < trimmed.length; at++) {
    const char = trimmed.charCodeAt(at)
    if (char === DASH) {
      const between = (symbols === 4 || symbols === 8) && trimmed.charCodeAt(at - 1) !== DASH
      if (!between) return null
      continue
    }
    const value = char < 128 ? (symbolValue[char] as number) : -1
    if (value < 0) return null
    if (symbols < 6) hi = (hi << 5) | value
    else lo = (lo << 5) | value
    symbols++
  }
  return symbols === SYMBOLS ? { hi, lo } : null
}

/** The text of a code, in upper case with dashes. */
export function formatCode(hi: number, lo: number): string {
  const symbol = (half: number, shift: number) => symbolOf[(half >>> shift) & 31] as number
  return String.fromCharCode(
    symbol(hi, 25),
    symbol(hi, 20),
    symbol(hi, 15),
    symbol(hi, 10),
    DASH,
    symbol(hi, 5),
    symbol(hi, 0),
    symbol(lo, 25),
    symbol(lo, 20),
    DASH,
    symbol(lo, 15),
    symbol(lo, 10),
    symbol(lo, 5),
    symbol(lo, 0),
  )
}

/** The last six symbols with the twelfth replaced by the check of the other eleven. */
export function withCheck(hi: number, lo: number): number {
  const open = lo & ~31
  return open | residue(hi, open)
}

/** Whether the twelfth symbol is the check of the other eleven. */
export function checkHolds(hi: number, lo: number): boolean {
  return residue(hi, lo) === 0
}

/** Codes as [hi, lo, hi, lo, …] from random bytes, eight each; with `checksum` 55 bits are random, else 60. */
export function codesFromRandom(bytes: Uint8Array, checksum: boolean): Uint32Array {
  assert(bytes.length % RANDOM_BYTES_PER_CODE === 0, 'codes are made from eight random bytes each')
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const codes = new Uint32Array(bytes.length / 4)
  for (let at = 0; at < codes.length; at += 2) {
    const hi = view.getUint32(at * 4) & BITS_30
    const lo = view.getUint32(at * 4 + 4) & BITS_30
    codes[at] = hi
    codes[at + 1] = checksum ? withCheck(hi, lo) : lo
  }
  return codes
}

/** The twelve symbols as a polynomial, evaluated at the generator (Horner). */
function residue(hi: number, lo: number): number {
  let sum = 0
  for (let shift = 25; shift >= 0; shift -= 5) sum = timesGenerator(sum) ^ ((hi >>> shift) & 31)
  for (let shift = 25; shift >= 0; shift -= 5) sum = timesGenerator(sum) ^ ((lo >>> shift) & 31)
  return sum
}

function timesGenerator(element: number): number {
  return (element << 1) ^ (element & 16 ? FIELD_POLYNOMIAL : 0)
}
