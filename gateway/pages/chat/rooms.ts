/**
 * The channel that is open, and those that were open last: they stay joined, so that going back shows them at once. B1 So
 * many as `JOINED_MAX`.
 */
import type { Channel } from '../../client/channel.js'
import type { ChatClient } from '../../client/chat-client.js'

const JOINED_MAX = 5

export interface RoomsOptions {
  readonly client: ChatClient
  readonly changed: (channel: Channel) => void
  readonly back: (missed: number) => void
}

export class Rooms {
  /** The one that is open is the last. */
  #joined: Channel[] = []

  constructor(readonly options: RoomsOptions) {}

  get current(): Channel | undefined {
    return this.#joined.at(-1)
  }

  known(id: string): Channel | undefined {
    return this.#joined.find((each) => each.id === id)
  }

  open(id: string): Channel {
    const { client, changed, back } = this.options
    const before = this.known(id)
    const channel = client.join(id)
    if (channel !== before) {
      channel.on('changed', () => changed(channel))
      channel.on('back', (missed) => {
        if (channel === this.current) back(missed)
      })
    }
    this.#joined = [...this.#joined.filter((each) => each.id !== id), channel]
    if (this.#joined.length > JOINED_MAX) {
      const left = this.#joined.shift()
      if (left !== undefined) client.leave(left.id)
    }
    return channel
  }
}
