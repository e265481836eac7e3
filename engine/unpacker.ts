/**
 * Unpacks what records are made of. Most maps in them have fields that many others have in the same order: it learns
 * these orders, compares bytes instead of reading names, and makes the object at once. That takes a fifth of the time of
 * msgpackr, which it asks for whatever is rare.
 *
 * B1 What is learned is bounded; what is beyond is only slower.
 */
import { assert } from './assert.js'
import { PackedValues, wordOf } from './packed-values.js'
import { viewOf, WORD } from './packer.js'

/** Of fields that may be written as they are in a program. */
const PLAIN_NAME = /^[A-Za-z_$][\w$]{0,30}$/
const FIELDS_MAX = 64
const ORDERS_MAX = 4_096
/** Where one field is followed by so many others, the names are data. */
const FOLLOWERS_MAX = 16

type Build = (values: readonly unknown[]) => object

/** The fields of a map so far, and what has been seen to follow. */
class Order {
  readonly followers: { readonly packedName: Uint8Array; readonly order: Order }[] = []
  #build: Build | undefined

  constructor(readonly names: readonly string[]) {}

  /** Makes the object. */
  get build(): Build {
    this.#build ??= literalOf(this.names)
    return this.#build
  }
}

/** Adding fields one by one costs ten times as much as a literal. */
function literalOf(names: readonly string[]): Build {
  const fields = names.map((name, index) => `${name}: values[${index}]`)
  return new Function('values', `return { ${fields.join(', ')} }`) as Build
}

export class Unpacker {
  readonly #byFieldCount = new Map<number, Order>()
  #orders = 0
  #bytes: Buffer = Buffer.alloc(0)
  #view = viewOf(this.#bytes)
  #at = 0

  constructor(private readonly unpackRare: (bytes: Uint8Array) => unknown) {}

  unpack(bytes: Uint8Array): unknown {
    this.#bytes = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#view = viewOf(bytes)
    this.#at = 0
    const value = this.#value()
    assert(this.#at === bytes.length, `a packed value has ${this.#at} bytes, not ${bytes.length}`)
    return value
  }

  #value(): unknown {
    const at = this.#at
    const first = this.#bytes[at] as number
    this.#at = at + 1
    if (first < 0x80) return first
    if (first < 0x90) return this.#map(first & 15)
    if (first < 0xa0) return this.#array(first & 15)
    if (first < 0xc0) return this.#text(at, first & 31)
    switch (first) {
      case 0xc0:
        return null
      case WORD:
        return wordOf(this.#uint(1))
      case 0xc2:
        return false
      case 0xc3:
        return true
      case 0xc4:
        return this.#binary(this.#uint(1))
      case 0xc5:
        return this.#binary(this.#uint(2))
      case 0xcb:
        this.#at = at + 9
        return this.#view.getFloat64(at + 1)
      case 0xcc:
        return this.#uint(1)
      case 0xcd:
        return this.#uint(2)
      case 0xce:
        return this.#uint(4)
      case 0xd3:
        this.#at = at + 9
        return this.#view.getBigInt64(at + 1)
      case 0xd9:
        return this.#text(at, this.#uint(1))
      case 0xdc:
        return this.#array(this.#uint(2))
      case 0xdd:
        return this.#array(this.#uint(4))
      case 0xde:
        return this.#map(this.#uint(2))
      case 0xdf:
        return this.#map(this.#uint(4))
      default:
        return this.#rare(at)
    }
  }

  #uint(bytes: 1 | 2 | 4): number {
    const at = this.#at
    this.#at = at + bytes
    if (bytes === 1) return this.#view.getUint8(at)
    return bytes === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at)
  }

  #text(start: number, length: number): string {
    const bytes = this.#bytes
    const from = this.#at
    const to = from + length
    for (let at = from; at < to; at++) if ((bytes[at] as number) >= 0x80) return this.#rare(start) as string
    this.#at = to
    return bytes.toString('latin1', from, to)
  }

  #binary(length: number): Buffer {
    const from = this.#at
    this.#at = from + length
    // What is unpacked is kept, the buffer it was read into is not.
    return Buffer.from(this.#bytes.subarray(from, this.#at))
  }

  #array(length: number): unknown[] {
    const values = []
    for (let left = length; left > 0; left--) values.push(this.#value())
    return values
  }

  #map(count: number): object {
    if (count === 0) return {}
    let order = count <= FIELDS_MAX ? this.#firstOrder(count) : undefined
    const values: unknown[] = []
    while (order !== undefined && values.length < count) {
      const next = this.#follow(order)
      if (next === undefined) return this.#rareMap(order.names, values, count)
      order = next
      values.push(this.#value())
    }
    return order === undefined ? this.#rareMap([], [], count) : order.build(values)
  }

  /** A map whose fields have no order that is learned, after the first of them. */
  #rareMap(names: readonly string[], values: readonly unknown[], count: number): object {
    const map: Record<string, unknown> = {}
    for (const [index, name] of names.entries()) map[name] = values[index]
    for (let left = count - names.length; left > 0; left--) {
      const name = String(this.#value())
      map[name === '__proto__' ? '__proto_' : name] = this.#value()
    }
    return map
  }

  #firstOrder(count: number): Order {
    let order = this.#byFieldCount.get(count)
    if (order === undefined) {
      order = new Order([])
      this.#byFieldCount.set(count, order)
    }
    return order
  }

  /** Steps over the name that is next; undefined when it is not, and will not be, one of the known. */
  #follow({ followers, names }: Order): Order | undefined {
    for (const follower of followers) if (this.#skip(follower.packedName)) return follower.order
    if (followers.length === FOLLOWERS_MAX || this.#orders === ORDERS_MAX) return undefined
    const start = this.#at
    const name = this.#value()
    if (typeof name !== 'string' || !PLAIN_NAME.test(name) || name === '__proto__' || names.includes(name)) {
      this.#at = start
      return undefined
    }
    const order = new Order([...names, name])
    followers.push({ packedName: Uint8Array.from(this.#bytes.subarray(start, this.#at)), order })
    this.#orders += 1
    return order
  }

  #skip(packed: Uint8Array): boolean {
    const bytes = this.#bytes
    const at = this.#at
    for (let index = 0; index < packed.length; index++) if (bytes[at + index] !== packed[index]) return false
    this.#at = at + packed.length
    return true
  }

  /** The value that starts there, whatever it is. */
  #rare(start: number): unknown {
    const walk = new PackedValues(this.#bytes, start)
    walk.stepOver()
    this.#at = walk.at
    return this.unpackRare(this.#bytes.subarray(start, walk.at))
  }
}
