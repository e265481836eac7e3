/**
 * An actor in memory: awake, with its state at hand, or at rest, when only its packed image is kept. That takes less than
 * half the memory, and spares the garbage collector from copying states that nobody will ask for soon.
 *
 * B1 At most `awakeActorsMax` cached actors are awake; those not used for longest go to rest (the CLOCK algorithm).
 */
import type { ActorState } from './actor.js'
import { assert } from './assert.js'
import { unpackImage } from './record.js'

/** Room for the next image of an actor: most grow a little with each. */
const IMAGE_GROWTH_BYTES = 64

export class Resident {
  #state: ActorState | undefined
  /** Holds the image in its first bytes; later images are copied to it if they fit. */
  #image: Buffer | undefined
  #imageBytes = 0
  isAwake = false
  /** Since the hand of the clock last came by. */
  isUsed = false

  /** `seq` is the record that holds its latest image. */
  constructor(public seq: number) {}

  get state(): ActorState {
    if (this.#state !== undefined) return this.#state
    assert(this.#image !== undefined, 'an actor in memory has a state')
    this.#state = unpackImage(this.#image.subarray(0, this.#imageBytes))
    return this.#state
  }

  /** For actors that never rest. */
  set state(state: ActorState) {
    this.#state = state
    this.#image = undefined
  }

  /** A new state and its image, which it copies. */
  change(state: ActorState, image: Uint8Array): void {
    this.restore(image)
    this.#state = state
  }

  /** Only an image, which it copies. */
  restore(bytes: Uint8Array, start = 0, end = bytes.length): void {
    const length = end - start
    if (this.#image === undefined || this.#image.length < length) {
      this.#image = Buffer.allocUnsafe(length + IMAGE_GROWTH_BYTES)
    }
    this.#image.set(length === bytes.length ? bytes : bytes.subarray(start, end))
    this.#imageBytes = length
    this.#state = undefined
  }

  rest(): void {
    assert(this.#image !== undefined, 'an actor at rest has an image')
    this.isAwake = false
    this.#state = undefined
  }
}

/** The cached actors that are awake. */
export class Awake {
  readonly #ring: Resident[] = []
  #hand = 0

  constructor(private readonly max: number) {}

  get size(): number {
    return this.#ring.length
  }

  use(resident: Resident): void {
    if (resident.isAwake) {
      resident.isUsed = true
      return
    }
    resident.isAwake = true
    resident.isUsed = false
    if (this.#ring.length < this.max) this.#ring.push(resident)
    else this.#replaceUnused(resident)
  }

  #replaceUnused(by: Resident): void {
    for (;;) {
      const at = this.#hand
      this.#hand = (at + 1) % this.max
      const resident = this.#ring[at] as Resident
      if (resident.isUsed) resident.isUsed = false
      else {
        resident.rest()
        this.#ring[at] = by
        return
      }
    }
  }
}
