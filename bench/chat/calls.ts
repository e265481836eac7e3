/** Calls from the benchmark to processes of its own, over the channel that `fork` opens. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'

interface Call {
  readonly id: number
  readonly name: string
  readonly input: unknown
}
type Answer = { readonly id: number; readonly output?: unknown; readonly error?: string }

/** What a process can be asked for. */
export type Handlers = Readonly<Record<string, (input: never) => unknown>>
type InputOf<Handler> = Handler extends (input: infer Input) => unknown ? Input : never
type OutputOf<Handler> = Handler extends (input: never) => infer Output ? Awaited<Output> : never

/** In the process: answers calls until the benchmark goes. */
export function answerCalls(handlers: Handlers): void {
  const answer = async ({ id, name, input }: Call): Promise<Answer> => {
    try {
      const handle = handlers[name] as ((input: unknown) => unknown) | undefined
      return { id, output: await handle?.(input) }
    } catch (error) {
      return { id, error: error instanceof Error ? error.message : String(error) }
    }
  }
  process.on('message', (call: Call) => void answer(call).then((answered) => process.send?.(answered)))
  process.on('disconnect', () => process.exit())
  // The benchmark ends it: a Ctrl-C is for the whole group.
  process.on('SIGINT', () => {})
}

/** In the process: tells the benchmark something it did not ask for. */
export function note(about: object): void {
  process.send?.(about)
}

export class Helper<Served extends Handlers> {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, { resolve: (output: never) => void; reject: (error: Error) => void }>()
  #nextId = 0

  /** `onNote` gets what the process tells unasked. */
  constructor(
    readonly file: string,
    readonly onNote: (about: object) => void = () => {},
    nodeArgs: readonly string[] = [],
  ) {
    this.#child = fork(file, [], { execArgv: [...nodeArgs], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    this.#child.on('message', (message: Answer | object) => {
      if ('id' in message) this.#settle(message)
      else onNote(message)
    })
    this.#child.once('exit', (code, signal) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`${file} ended with ${code ?? signal}`))
      this.#waiting.clear()
    })
  }

  call<Name extends keyof Served & string>(name: Name, input: InputOf<Served[Name]>): Promise<OutputOf<Served[Name]>> {
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#child.send({ id, name, input } satisfies Call)
    })
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = once(this.#child, 'exit')
    this.#child.kill('SIGTERM')
    await ended
  }

  #settle({ id, output, error }: Answer): void {
    const call = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (error === undefined) call?.resolve(output as never)
    else call?.reject(new Error(error))
  }
}
