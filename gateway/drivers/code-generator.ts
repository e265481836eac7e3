/**
 * Draws the codes of a batch (BJ-QR-02, BJ-QR-04). Randomness is I/O: the core only hears of what was drawn.
 * Stateless: how far a batch is stands in the core, so a restart goes on where it stopped.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import type { Logger } from 'pino'
import { codesFromRandom, RANDOM_BYTES_PER_CODE } from '../../actors/codes/code-text.js'
import { packCodes } from '../../actors/codes/commands.js'
import type { LoyaltyProgram } from '../../actors/programs/loyalty.js'
import { system } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import type { TurnRecord } from '../../engine/record.js'
import type { Shard } from '../../engine/shard.js'

/** Codes drawn for one turn: about a millisecond of it, so that scans are not kept waiting. */
const CODES_PER_TURN = 1_024
const RETRY_AFTER_MS = 1_000

export class CodeGenerator {
  readonly #queue: number[] = []
  #working: Promise<void> | null = null

  constructor(
    readonly shard: Shard,
    readonly program: LoyaltyProgram,
    readonly log: Logger,
  ) {}

  /** Goes on with batches a stop has interrupted. */
  async start(): Promise<void> {
    const batches = await this.shard.query(this.program.queries.listBatches, {})
    for (const { number, state } of batches.reverse()) if (state === 'generating') this.#enqueue(number)
    this.shard.subscribe((record) => this.#onRecord(record))
  }

  /** Resolves when no batch is being generated. */
  async idle(): Promise<void> {
    while (this.#working !== null) await this.#working
  }

  #onRecord({ facts }: TurnRecord): void {
    for (const fact of facts) {
      if (fact.type === 'batch.created' && 'batch' in fact) this.#enqueue(fact.batch as number)
    }
  }

  #enqueue(batch: number): void {
    this.#queue.push(batch)
    this.#working ??= this.#work().finally(() => {
      this.#working = null
    })
  }

  async #work(): Promise<void> {
    for (let batch = this.#queue.shift(); batch !== undefined; batch = this.#queue.shift()) {
      try {
        await this.#generate(batch)
        this.log.info({ batch }, 'batch of codes is complete')
      } catch (error) {
        // Stopping is no fault: the batch goes on after the next start.
        if (error instanceof DomainError && error.code === 'not_running') return
        this.log.error({ err: error, batch }, 'batch of codes was interrupted; it goes on after the next start')
      }
    }
  }

  async #generate(batch: number): Promise<void> {
    const batches = await this.shard.query(this.program.queries.listBatches, {})
    const found = batches.find(({ number }) => number === batch)
    if (found === undefined) return
    let { generated } = found
    while (generated < found.quantity) {
      const count = Math.min(CODES_PER_TURN, found.quantity - generated)
      const drawn = codesFromRandom(randomBytes(count * RANDOM_BYTES_PER_CODE), found.checksum)
      const added = await this.#append({ batch, after: generated, codes: packCodes(drawn) })
      generated = added.generated
    }
  }

  /** Comes again for as long as the core takes no inputs: nobody else would. */
  async #append(args: { batch: number; after: number; codes: Uint8Array }) {
    for (;;) {
      try {
        return await this.shard.execute(this.program.commands.appendCodes, { args, who: system })
      } catch (error) {
        if (!(error instanceof DomainError) || error.kind !== 'unavailable' || error.code === 'not_running') throw error
        await wait(error.details.retryAfterMs ?? RETRY_AFTER_MS, undefined, { ref: false })
      }
    }
  }
}
