/**
 * On local chains every member gets a wallet at signup, so that prizes have somewhere to go (BJ-WAL-01 names an SDK that
 * makes it on the member's device). Nobody has its key: it can receive, and that is all a demonstration needs.
 */
import { createHash } from 'node:crypto'
import { PublicKey } from '@solana/web3.js'
import type { Logger } from 'pino'
import { getAddress } from 'viem'
import type { LoyaltyProgram } from '../../actors/programs/loyalty.js'
import { pools } from '../../actors/treasury/facts.js'
import { system } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import type { TurnRecord } from '../../engine/record.js'
import type { Shard } from '../../engine/shard.js'

/** Members whose wallet is still to be set. */
const QUEUE_MAX = 100_000
const RETRY_MS = 1_000

export class DevelopmentWallets {
  readonly #queue = new Set<string>()
  #working: Promise<void> | null = null
  #stopped = false

  constructor(
    private readonly shard: Shard,
    private readonly program: LoyaltyProgram,
    private readonly isSolana: boolean,
    private readonly log: Logger,
  ) {}

  /** Also serves members whose prize waits for an address since before. */
  async start(): Promise<void> {
    this.shard.subscribe((record) => this.#onRecord(record))
    await this.shard.settled()
    for (const pool of pools) for (const { payee } of this.program.open.in(pool, 'waiting')) this.#enqueue(payee)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#working
  }

  #onRecord({ facts }: TurnRecord): void {
    for (const fact of facts) if (fact.type === 'account.opened') this.#enqueue((fact as unknown as Opened).userId)
  }

  #enqueue(userId: string): void {
    // Who finds no room gets a wallet when the first prize waits for one at the next start.
    if (this.#queue.size < QUEUE_MAX) this.#queue.add(userId)
    this.#working ??= this.#work().finally(() => {
      this.#working = null
    })
  }

  async #work(): Promise<void> {
    for (const userId of this.#queue) {
      if (this.#stopped) return
      const isSet = await this.#set(userId)
      if (isSet) this.#queue.delete(userId)
      else await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
    }
  }

  async #set(userId: string): Promise<boolean> {
    const args = { userId, address: addressFor(userId, this.isSolana), provider: 'development' as const }
    try {
      await this.shard.execute(this.program.commands.setPayeeAddress, { args, who: system })
      return true
    } catch (error) {
      if (error instanceof DomainError && error.code === 'not_running') return true
      this.log.warn({ err: error, userId }, 'a development wallet could not be set; it is tried again')
      return false
    }
  }
}

interface Opened {
  readonly userId: string
}

/** Always the same for a member. */
function addressFor(userId: string, isSolana: boolean): string {
  for (let attempt = 0; ; attempt++) {
    const bytes = createHash('sha256').update(`development wallet ${attempt} of ${userId}`).digest()
    if (!isSolana) return getAddress(`0x${bytes.subarray(0, 20).toString('hex')}`)
    if (PublicKey.isOnCurve(bytes)) return new PublicKey(bytes).toBase58()
  }
}
