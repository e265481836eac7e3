/** Walks packed values (MessagePack) in place, without making objects of what is not needed. */
import { assert } from './assert.js'

/** Bytes that follow the first one of a value, by the first one (0xc0 on), for values of fixed length. */
const FIXED_BYTES: Readonly<Record<number, number>> = {
  192: 0, // nil
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

export class PackedValues {
  #at = 0

  constructor(readonly bytes: Buffer) {}

  /** Where the next value begins. */
  get at(): number {
    return this.#at
  }

  /** Steps over the next value, whatever is in it. */
  skip(): void {
    const { bytes } = this
    let at = this.#at
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
          default:
            assert(false, `0x${first.toString(16)} begins no packed value`)
        }
      }
    }
    assert(at <= bytes.length, 'a packed value is cut short')
    this.#at = at
  }

  /** Steps over the next value; the bytes it takes, as a view. */
  view(): Buffer {
    const from = this.#at
    this.skip()
    return this.bytes.subarray(from, this.#at)
  }

  /** Steps over the next value if it is nil. */
  skipNil(): boolean {
    if (this.bytes[this.#at] !== NIL) return false
    this.#at += 1
    return true
  }

  /** Enters the array that is next: how many values follow. */
  enterArray(): number {
    const { bytes } = this
    const first = bytes[this.#at++] as number
    if (first >= 0x90 && first < 0xa0) return first & 15
    assert(first === 0xdc || first === 0xdd, 'an array was expected')
    const length = first === 0xdc ? bytes.readUInt16BE(this.#at) : bytes.readUInt32BE(this.#at)
    this.#at += first === 0xdc ? 2 : 4
    return length
  }

  /** Enters the map that is next: how many keys with their values follow. */
  enterMap(): number {
    const { bytes } = this
    const first = bytes[this.#at++] as number
    if (first >= 0x80 && first < 0x90) return first & 15
    assert(first === 0xde || first === 0xdf, 'a map was expected')
    const length = first === 0xde ? bytes.readUInt16BE(this.#at) : bytes.readUInt32BE(this.#at)
    this.#at += first === 0xde ? 2 : 4
    return length
  }

  /** Goes to the value of a key of the map that is next; false, somewhere in the map, when it has no such key. */
  enterField(key: string): boolean {
    for (let left = this.enterMap(); left > 0; left--) {
      if (this.#skipKey(key)) return true
      this.skip()
    }
    return false
  }

  /** Steps over the short text that is next; whether it is `key`, of fewer than 32 letters. */
  #skipKey(key: string): boolean {
    const { bytes } = this
    const at = this.#at + 1
    this.skip()
    if (this.#at - at !== key.length) return false
    for (let index = 0; index < key.length; index++) if (bytes[at + index] !== key.charCodeAt(index)) return false
    return true
  }

  text(): string {
    const { bytes } = this
    const first = bytes[this.#at++] as number
    let length = first & 31
    if (first === 0xd9) length = bytes[this.#at++] as number
    else if (first === 0xda) {
      length = bytes.readUInt16BE(this.#at)
      this.#at += 2
    } else if (first === 0xdb) {
      length = bytes.readUInt32BE(this.#at)
      this.#at += 4
    } else assert(first >= 0xa0 && first < 0xc0, 'a text was expected')
    const from = this.#at
    this.#at += length
    assert(this.#at <= bytes.length, 'a packed text is cut short')
    return bytes.toString('utf8', from, this.#at)
  }

  /** The bytes that are next, as a view. */
  binary(): Buffer {
    const { bytes } = this
    const first = bytes[this.#at++] as number
    let length = 0
    if (first === 0xc4) length = bytes[this.#at++] as number
    else if (first === 0xc5) {
      length = bytes.readUInt16BE(this.#at)
      this.#at += 2
    } else {
      assert(first === 0xc6, 'bytes were expected')
      length = bytes.readUInt32BE(this.#at)
      this.#at += 4
    }
    const from = this.#at
    this.#at += length
    assert(this.#at <= bytes.length, 'packed bytes are cut short')
    return bytes.subarray(from, this.#at)
  }

  /** A number as it is packed by us: a whole one below 2^32, else a double. */
  number(): number {
    const { bytes } = this
    const first = bytes[this.#at++] as number
    if (first < 0x80) return first
    const from = this.#at
    this.#at += fixedBytes[first] as number
    if (first === 0xcb) return bytes.readDoubleBE(from)
    if (first === 0xce) return bytes.readUInt32BE(from)
    if (first === 0xcd) return bytes.readUInt16BE(from)
    assert(first === 0xcc, 'a number was expected')
    return bytes[from] as number
  }
}
