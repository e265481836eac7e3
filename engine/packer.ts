/**
 * Packs the values records are made of as msgpackr does, which it asks for whatever is rare, but for common words: they
 * are told by number, with the one first byte that MessagePack leaves unused. It knows less than msgpackr, and takes
 * little more than half the time: packing was a quarter of what the deciding thread does for a scan.
 */
import { assert } from './assert.js'

const SLAB_BYTES = 64 * 1024
const NUMBER_BYTES_MAX = 9
const HEAD_BYTES_MAX = 5
/** Longer texts, and those beyond ASCII, are better packed by native code. */
const SHORT_TEXT_MAX = 63
const MAP_KEYS_MAX = 0xffff
/** Is followed by the number of a common word. */
export const WORD = 0xc1
const WORDS_MAX = 0x100
/** Longer texts are not looked up. */
const WORD_LETTERS_MAX = 31
const INT64_MIN = -(2n ** 63n)
const INT64_MAX = 2n ** 63n - 1n

export class Packer {
  /** What is packed stays where it is; a slab that is full is left to whoever holds a part of it. */
  #bytes: Buffer = Buffer.allocUnsafeSlow(SLAB_BYTES)
  #view = viewOf(this.#bytes)
  #start = 0
  #at = 0

  readonly #numbers: ReadonlyMap<string, number>

  constructor(
    private readonly packRare: (value: unknown) => Uint8Array,
    words: readonly string[],
  ) {
    this.#numbers = new Map(words.map((word, number) => [word, number]))
    assert(this.#numbers.size === words.length && words.length <= WORDS_MAX, 'each of 256 common words is told once')
  }

  pack(value: unknown): Uint8Array {
    this.#start = this.#at
    try {
      this.#value(value)
      return this.#bytes.subarray(this.#start, this.#at)
    } catch (error) {
      this.#at = this.#start
      throw error
    }
  }

  #value(value: unknown): void {
    switch (typeof value) {
      case 'string':
        this.#text(value)
        break
      case 'number':
        this.#number(value)
        break
      case 'boolean':
        this.#byte(value ? 0xc3 : 0xc2)
        break
      case 'undefined':
        this.#byte(0xc0)
        break
      case 'bigint':
        this.#bigint(value)
        break
      default:
        if (value === null) this.#byte(0xc0)
        else if (Array.isArray(value)) this.#array(value)
        else if ((value as object).constructor === Object) this.#map(value as Record<string, unknown>)
        else if (value instanceof Uint8Array) this.#binary(value)
        else this.#rare(value)
    }
  }

  #byte(byte: number): void {
    this.#makeRoom(1)
    this.#bytes[this.#at++] = byte
  }

  #text(text: string): void {
    const { length } = text
    if (length > SHORT_TEXT_MAX) {
      this.#rare(text)
      return
    }
    this.#makeRoom(HEAD_BYTES_MAX + length)
    const bytes = this.#bytes
    let at = this.#at
    const number = length <= WORD_LETTERS_MAX ? this.#numbers.get(text) : undefined
    if (number !== undefined) {
      bytes[at] = WORD
      bytes[at + 1] = number
      this.#at = at + 2
      return
    }
    if (length < 32) bytes[at++] = 0xa0 | length
    else {
      bytes[at++] = 0xd9
      bytes[at++] = length
    }
    for (let index = 0; index < length; index++) {
      const code = text.charCodeAt(index)
      if (code >= 0x80) {
        this.#rare(text)
        return
      }
      bytes[at++] = code
    }
    this.#at = at
  }

  #number(value: number): void {
    this.#makeRoom(NUMBER_BYTES_MAX)
    const bytes = this.#bytes
    const at = this.#at
    if (value >>> 0 === value && value < 0x10000) {
      if (value < 0x80) {
        bytes[at] = value
        this.#at = at + 1
      } else if (value < 0x100) {
        bytes[at] = 0xcc
        bytes[at + 1] = value
        this.#at = at + 2
      } else {
        bytes[at] = 0xcd
        this.#view.setUint16(at + 1, value)
        this.#at = at + 3
      }
    } else if (value >>> 0 === value) {
      bytes[at] = 0xce
      this.#view.setUint32(at + 1, value)
      this.#at = at + 5
    } else if (Number.isInteger(value) && value < 0 && value >= -0x80000000) this.#rare(value)
    else {
      bytes[at] = 0xcb
      this.#view.setFloat64(at + 1, value)
      this.#at = at + 9
    }
  }

  #bigint(value: bigint): void {
    if (value < INT64_MIN || value > INT64_MAX) {
      this.#rare(value)
      return
    }
    this.#makeRoom(NUMBER_BYTES_MAX)
    this.#bytes[this.#at] = 0xd3
    this.#view.setBigInt64(this.#at + 1, value)
    this.#at += NUMBER_BYTES_MAX
  }

  #array(values: readonly unknown[]): void {
    this.#head(values.length, 0x90, 0xdc)
    for (let index = 0; index < values.length; index++) this.#value(values[index])
  }

  /** Its size is known at the end only. */
  #map(fields: Readonly<Record<string, unknown>>): void {
    this.#makeRoom(3)
    const offset = this.#at - this.#start
    this.#at += 3
    let size = 0
    for (const key in fields) {
      this.#text(key)
      this.#value(fields[key])
      size += 1
    }
    assert(size <= MAP_KEYS_MAX, `an object of ${size} fields is too large to pack`)
    this.#bytes[this.#start + offset] = 0xde
    this.#view.setUint16(this.#start + offset + 1, size)
  }

  #binary(value: Uint8Array): void {
    const { length } = value
    this.#makeRoom(HEAD_BYTES_MAX + length)
    if (length < 0x100) {
      this.#bytes[this.#at++] = 0xc4
      this.#bytes[this.#at++] = length
    } else if (length < 0x10000) {
      this.#bytes[this.#at] = 0xc5
      this.#view.setUint16(this.#at + 1, length)
      this.#at += 3
    } else {
      this.#bytes[this.#at] = 0xc6
      this.#view.setUint32(this.#at + 1, length)
      this.#at += 5
    }
    this.#bytes.set(value, this.#at)
    this.#at += length
  }

  /** `short` is the first byte of up to 15 values, without their number; `long` that of up to 65,535, and the next. */
  #head(count: number, short: number, long: number): void {
    this.#makeRoom(HEAD_BYTES_MAX)
    if (count < 16) {
      this.#bytes[this.#at++] = short | count
    } else if (count < 0x10000) {
      this.#bytes[this.#at] = long
      this.#view.setUint16(this.#at + 1, count)
      this.#at += 3
    } else {
      this.#bytes[this.#at] = long + 1
      this.#view.setUint32(this.#at + 1, count)
      this.#at += 5
    }
  }

  #rare(value: unknown): void {
    const packed = this.packRare(value)
    this.#makeRoom(packed.length)
    this.#bytes.set(packed, this.#at)
    this.#at += packed.length
  }

  #makeRoom(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return
    const used = this.#at - this.#start
    const slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, 2 * (used + bytes)))
    this.#bytes.copy(slab, 0, this.#start, this.#at)
    this.#bytes = slab
    this.#view = viewOf(slab)
    this.#start = 0
    this.#at = used
  }
}

export function viewOf({ buffer, byteOffset, length }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, length)
}
