/** What the servers that ours is compared with have in common: they say what ours says, in as many bytes. */
import { randomUUID } from 'node:crypto'
import type { Told } from './connection.js'
import type { Usage } from './usage.js'

export interface ReferenceInput {
  /** A `message:new` of ours. */
  readonly sample: Told
}

/** `listen` returns the URL. */
export type ReferenceCalls = {
  listen: (input: ReferenceInput) => Promise<string>
  usage: () => Usage
}

/** The messages of a reference server: numbered as ours are. */
export class ReferenceRoom {
  #offset: number

  constructor(readonly sample: Told) {
    this.#offset = Number(sample.offset)
  }

  /** What a subscriber is told that joins. */
  get position() {
    return { epoch: String(this.sample.epoch), offset: this.#offset, messages: [] }
  }

  say({ text }: Told): Told {
    this.#offset += 1
    const created_at = new Date().toISOString()
    return { ...this.sample, id: randomUUID(), number: this.#offset, text, created_at, offset: this.#offset }
  }
}

export function usage(): Usage {
  const { user, system } = process.cpuUsage()
  return { cpuSeconds: (user + system) / 1e6, rssBytes: process.memoryUsage.rss() }
}
