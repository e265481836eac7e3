/** What happened in a run: marks that are counted, and lines whose digest tells two runs apart. */
import { createHash, type Hash } from 'node:crypto'
import type { CheckName } from './catalogue.js'
import type { Scheduler } from './scheduler.js'

const SHOWN_CHARACTERS_MAX = 600

/** A value in a line. */
export function show(value: unknown): string {
  const text = JSON.stringify(value, (_, item: unknown) => {
    if (typeof item === 'bigint') return `${item}n`
    return item instanceof Uint8Array ? `${item.length} bytes` : item
  })
  return text.length > SHOWN_CHARACTERS_MAX ? `${text.slice(0, SHOWN_CHARACTERS_MAX)} …` : text
}

/** A named check that failed. */
export class CheckFailure extends Error {
  override readonly name = 'CheckFailure'

  constructor(
    readonly check: CheckName,
    what: string,
  ) {
    super(`${check}: ${what}`)
  }
}

export class Story {
  readonly marks = new Map<string, number>()
  readonly lines: string[] = []
  failure: CheckFailure | undefined
  readonly #digest: Hash = createHash('sha256')

  constructor(
    readonly scheduler: Scheduler,
    readonly keepsLines: boolean,
  ) {}

  /** Counts that something was reached or injected. */
  mark(name: string): void {
    this.marks.set(name, (this.marks.get(name) ?? 0) + 1)
  }

  tell(who: string, what: string): void {
    const line = `${(this.scheduler.now / 1_000).toFixed(3).padStart(12)} ms  ${who.padEnd(10)} ${what}`
    this.#digest.update(line)
    if (this.keepsLines) this.lines.push(line)
  }

  /** Throws unless the named check holds. Who catches it does not undo it: the first failure ends the run. */
  check(check: CheckName, holds: boolean, what: () => string): void {
    if (holds) return
    const failure = new CheckFailure(check, what())
    this.failure ??= failure
    throw failure
  }

  /** Of everything told so far. */
  digest(): string {
    return this.#digest.copy().digest('hex')
  }
}
