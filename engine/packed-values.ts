/** Walks packed values (MessagePack with common words) in place, without making objects of what is not needed. */
import { assert } from './assert.js'
import { commonWords } from './common-words.js'
import { WORD } from './packer.js'

/** Bytes that follow the first one of a value, by the first one (0xc0 on), for values of fixed length. */
const FIXED_BYTES: Readonly<Record<number, number>> = {
  192: 0, // nil
  193: 1, // common word
  194: 0, // false
  195: 0, // true
  202: 4, // float 32
  203: 8, // float 64
  204: 1, // unsigned 8, 16, 32, 64
  205: 2,
  206: 4,
  207: 8,
  208: 1, // signed 8, 16, 32, 64
  209: 2,
  210: 4,
  211: 8,
  212: 2, // extension of 1, 2, 4, 8, 16 bytes, after its type
  213: 3,
  214: 5,
  215: 9,
  216: 17,
}
const fixedBytes = Int8Array.from({ length: 256 }, (_, first) => FIXED_BYTES[first] ?? -1)

const NIL = 0xc0

export function wordOf(number: number): string {
  const word = commonWords[number]
  assert(word !== undefined, `there is no common word ${number}`)
  return word
}

/** Bytes in a buffer that holds others too. */
export interface PackedBytes {
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
}

const SLAB_BYTES = 256 * 1024

/** Copies of bytes, many to a buffer, because a buffer each costs more than what is in it. */
export class Slabs {
  #bytes = Buffer.alloc(0)
  #used = 0

  copy({ bytes, start, end }: PackedBytes): PackedBytes {
    const length = end - start
    if (this.#used + length > this.#bytes.length) {
      this.#bytes = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, length))
      this.#used = 0
    }
    const at = this.#used
    this.#used = at + bytes.copy(this.#bytes, at, start, end)
    return { bytes: this.#bytes, start: at, end: this.#used }
  }
}

export class PackedValues {
  constructor(
    readonly bytes: Buffer,
    /** Where the next value begins. */
    public at: number,
  ) {}

  /** Steps over the next value, whatever is in it. */
  stepOver(): void {
    const { bytes } = this
    let at = this.at
    for (let left = 1; left > 0; left--) {
      const first = bytes[at++] as number
      if (first < 0x80 || first >= 0xe0) continue // small integer
      if (first >= 0xa0 && first < 0xc0)
        at += first & 31 // short string
      else if (first < 0x90)
        left += 2 * (first & 15) // short map
      else if (first < 0xa0)
        left += first & 15 // short array
      else if ((fixedBytes[first] as number) >= 0) at += fixedBytes[first] as number
      else {
        switch (first) {
          case 0xd9: // string
          case 0xc4: // bytes
            at += 1 + (bytes[at] as number)
            break
          case 0xda:
          case 0xc5:
            at += 2 + bytes.readUInt16BE(at)
            break
          case 0xdb:
          case 0xc6:
            at += 4 + bytes.readUInt32BE(at)
            break
          case 0xdc: // array
            left += bytes.readUInt16BE(at)
            at += 2
            break
          case 0xdd:
            left += bytes.readUInt32BE(at)
            at += 4
            break
          case 0xde: // map
            left += 2 * bytes.readUInt16BE(at)
            at += 2
            break
          case 0xdf:
            left += 2 * bytes.readUInt32BE(at)
            at += 4
            break
          case 0xc7: // extension
            at += 2 + (bytes[at] as number)
            break
          case 0xc8:
            at += 3 + bytes.readUInt16BE(at)
            break
          case 0xc9:
            at += 5 + bytes.readUInt32BE(at)
            break
        }
      }
    }
    assert(at <= bytes.length, 'a packed value is cut short')
    this.at = at
  }

  /** Steps over the next value if it is nil. */
  skipNil(): boolean {
    if (this.bytes[this.at] !== NIL) return false
    this.at += 1
    return true
  }

  /** Enters the array that is next: how many values follow. */
  enterArray(): number {
    const { bytes } = this
    const first = bytes[this.at++] as number
    if (first >= 0x90 && first < 0xa0) return first & 15
    assert(first === 0xdc || first === 0xdd, 'an array was expected')
    const length = first === 0xdc ? bytes.readUInt16BE(this.at) : bytes.readUInt32BE(this.at)
    this.at += first === 0xdc ? 2 : 4
    return length
  }

  /** Enters the map that is next: how many keys with their values follow. */
  enterMap(): number {
    const { bytes } = this
    const first = bytes[this.at++] as number
    if (first >= 0x80 && first < 0x90) return first & 15
    assert(first === 0xde || first === 0xdf, 'a map was expected')
    const length = first === 0xde ? bytes.readUInt16BE(this.at) : bytes.readUInt32BE(this.at)
    this.at += first === 0xde ? 2 : 4
    return length
  }

  /** Goes to the value of a key of the map that is next; false, past the map, when it has no such key. */
  enterField(key: string): boolean {
    for (let left = this.enterMap(); left > 0; left--) {
      if (this.skipText(key)) return true
      this.stepOver()
      this.stepOver()
    }
    return false
  }

  /** Whether the next value is this text, of fewer than 32 letters of ASCII. */
  isText(text: string): boolean {
    const { bytes, at } = this
    assert(text.length < 32, `${text} is not short`)
    if (bytes[at] === WORD) return commonWords[bytes[at + 1] as number] === text
    if (bytes[at] !== (0xa0 | text.length)) return false
    for (let index = 0; index < text.length; index++) if (bytes[at + 1 + index] !== text.charCodeAt(index)) return false
    return true
  }

  /** Steps over the next value if it is this text. */
  skipText(text: string): boolean {
    if (!this.isText(text)) return false
    this.at += this.bytes[this.at] === WORD ? 2 : 1 + text.length
    return true
  }

  boolean(): boolean {
    const first = this.bytes[this.at++]
    assert(first === 0xc2 || first === 0xc3, 'true or false was expected')
    return first === 0xc3
  }

  text(): string {
    const { bytes } = this
    const first = bytes[this.at++] as number
    if (first === WORD) return wordOf(bytes[this.at++] as number)
    let length = first & 31
    if (first === 0xd9) length = bytes[this.at++] as number
    else if (first === 0xda) {
      length = bytes.readUInt16BE(this.at)
      this.at += 2
    } else if (first === 0xdb) {
      length = bytes.readUInt32BE(this.at)
      this.at += 4
    } else assert(first >= 0xa0 && first < 0xc0, 'a text was expected')
    const from = this.at
    this.at += length
    assert(this.at <= bytes.length, 'a packed text is cut short')
    return bytes.toString('utf8', from, this.at)
  }

  /** The bytes that are next. */
  binary(): PackedBytes {
    const { bytes } = this
    const first = bytes[this.at++] as number
    let length = 0
    if (first === 0xc4) length = bytes[this.at++] as number
    else if (first === 0xc5) {
      length = bytes.readUInt16BE(this.at)
      this.at += 2
    } else {
      assert(first === 0xc6, 'bytes were expected')
      length = bytes.readUInt32BE(this.at)
      this.at += 4
    }
    const start = this.at
    this.at += length
    assert(this.at <= bytes.length, 'packed bytes are cut short')
    return { bytes, start, end: this.at }
  }

  /** A number as it is packed by us: a whole one below 2^32, else a double. */
  number(): number {
    const { bytes } = this
    const first = bytes[this.at++] as number
    if (first < 0x80) return first
    const from = this.at
    this.at += fixedBytes[first] as number
    if (first === 0xcb) return bytes.readDoubleBE(from)
    if (first === 0xce) return bytes.readUInt32BE(from)
    if (first === 0xcd) return bytes.readUInt16BE(from)
    assert(first === 0xcc, 'a number was expected')
    return bytes[from] as number
  }
}
