/** Members who only write: their messages are what everybody else is told. */
import { benchText } from './arrivals.js'
import { Connection, type ConnectionListener, eventPrefix, type Told } from './connection.js'

const HOST_ADDRESS = '127.0.0.1'

class Talker implements ConnectionListener {
  readonly connection = new Connection(this)

  constructor(
    readonly token: string,
    readonly on: {
      readonly entered: () => void
      readonly told: (event: string, data: Told) => void
      readonly failed: (error: Error) => void
    },
  ) {}

  entered(): void {
    this.on.entered()
  }

  event(bytes: Buffer, start: number, end: number): void {
    const [event, data] = JSON.parse(bytes.toString('utf8', start + eventPrefix.length - 1, end)) as [string, Told]
    this.on.told(event, data)
  }

  ended(because: string): void {
    this.on.failed(new Error(`a member who writes was cut off: ${because}`))
  }
}

export class Talkers {
  #next = 0
  #said = 0
  #failure: Error | undefined

  private constructor(
    readonly channel: string,
    readonly talkers: readonly Talker[],
  ) {}

  static async connect(urls: readonly string[], channel: string, tokens: readonly string[]): Promise<Talkers> {
    const talkers: Talker[] = []
    const all = new Talkers(channel, talkers)
    await Promise.all(
      tokens.map(
        (token, index) =>
          new Promise<void>((resolve, reject) => {
            const { hostname: host, port } = new URL(urls[index % urls.length] ?? '')
            const failed = (error: Error) => {
              all.#failure ??= error
              reject(error)
            }
            const talker = new Talker(token, { entered: resolve, told: () => {}, failed })
            talkers.push(talker)
            talker.connection.open({ host, port: Number(port), localAddress: HOST_ADDRESS }, token)
          }),
      ),
    )
    return all
  }

  /** How many messages were sent. */
  get said(): number {
    return this.#said
  }

  /** Sends the next message; throws when one before was refused. */
  say(dueMs: number): void {
    if (this.#failure !== undefined) throw this.#failure
    this.#said += 1
    const talker = this.talkers[this.#next++ % this.talkers.length]
    talker?.connection.ask('message:send', { channel: this.channel, text: benchText(this.#said, dueMs) }, (answer) => {
      if (answer.error === undefined) return
      this.#failure ??= new Error(`a message was refused: ${answer.error.code}`)
    })
  }

  close(): void {
    for (const { connection } of this.talkers) connection.close()
  }
}

/** What one member is told of a message of another: a `message:new`. */
export function sampleEvent(url: string, channel: string, [writer, reader]: readonly [string, string]): Promise<Told> {
  const { hostname: host, port } = new URL(url)
  const address = { host, port: Number(port), localAddress: HOST_ADDRESS }
  return new Promise((resolve, reject) => {
    const end = (error: Error | undefined, sample?: Told) => {
      writing.connection.close()
      reading.connection.close()
      if (sample === undefined) reject(error)
      else resolve(sample)
    }
    const say = () => {
      const text = benchText(0, performance.timeOrigin + performance.now())
      writing.connection.ask('message:send', { channel, text }, ({ error }) => {
        if (error !== undefined) end(new Error(`the sample was refused: ${error.code}`))
      })
    }
    const join = () =>
      reading.connection.ask('join', { channel, limit: 0 }, ({ error }) =>
        error === undefined ? writing.connection.open(address, writer) : end(new Error(`join: ${error.code}`)),
      )
    const told = (event: string, data: Told) => event === 'message:new' && end(undefined, data)
    const writing = new Talker(writer, { entered: say, told: () => {}, failed: end })
    const reading = new Talker(reader, { entered: join, told, failed: end })
    reading.connection.open(address, reader)
  })
}
