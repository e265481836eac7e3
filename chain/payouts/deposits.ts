/**
 * Looks through final blocks for deposits from elsewhere into members' wallets (BJ-WAL-08). It keeps nothing that
 * matters: how far it has come stands in the core.
 *
 * D1 The core takes blocks in order and once.
 * D2 Whose an address is stands in Postgres, which may be behind: a range is matched only when Postgres has all that was
 *    decided before the range was final. Until then it is asked for again.
 */
import { DEPOSITS_PER_TURN_MAX, type Deposit } from '../../actors/deposit/commands.js'
import { TRANSFER_AMOUNT_MAX } from '../../actors/withdrawal/transfer.js'
import type { AssetMovement, ChainWallet } from '../chain.js'
import type { DepositCore } from './member-core-port.js'

/** Blocks looked through at once, for a busy token moves hundreds of times in each; and told at once if without deposits. */
const BLOCKS_PER_LOOK_MAX = 50

/** Whose wallets addresses are. */
export interface AddressBook {
  /** What was decided up to now. */
  mark(): number
  /** Members by address; null as long as not everything up to the mark is known. */
  ownersOf(addresses: readonly string[], mark: number): Promise<ReadonlyMap<string, string> | null>
}

export interface DepositsOptions {
  readonly core: DepositCore
  readonly chain: ChainWallet
  readonly addresses: AddressBook
  /** Wallets of ours: what they pay is no deposit. */
  readonly ours: ReadonlySet<string>
}

export class Deposits {
  /** Up to here there was none since what the core knows of: it need not hear of every block. */
  #noneThrough = 0
  /** The final block of the look that is under way, and what was decided when it was seen. */
  #look: { readonly final: number; readonly mark: number } | null = null

  constructor(private readonly options: DepositsOptions) {}

  /** Looks through the next final blocks; returns whether there are more. Chains that cannot tell have none. */
  async watch(): Promise<boolean> {
    const { core, chain, addresses } = this.options
    if (chain.allMovements === undefined) return false
    const from = (await this.#watchedThrough()) + 1
    const first = Math.max(from, this.#noneThrough + 1)
    if (this.#look === null || first > this.#look.final) {
      const { final } = await chain.heights()
      this.#look = { final, mark: addresses.mark() }
    }
    const { final, mark } = this.#look
    if (first > final) return false
    const last = Math.min(final, from + BLOCKS_PER_LOOK_MAX - 1)
    const movements = (await chain.allMovements(first, last)).filter((movement) => this.#mayBeDeposit(movement))
    const owners = await addresses.ownersOf([...new Set(movements.map(({ to }) => to))], mark) // D2
    if (owners === null) return true
    const { deposits, through } = firstBlocks(movements, owners, last)
    const isWorthTelling = deposits.length > 0 || through - from + 1 >= BLOCKS_PER_LOOK_MAX
    if (isWorthTelling)
      await core.watch({ chain: chain.chain, from, through, deposits }) // D1
    else this.#noneThrough = through
    return through < final
  }

  async #watchedThrough(): Promise<number> {
    const { core, chain } = this.options
    const watched = await core.watched()
    if (watched.chain === chain.chain) return watched.watchedThrough
    const { final } = await chain.heights()
    await core.begin(chain.chain, final)
    this.#noneThrough = 0
    return final
  }

  /** Not what pools pay, nor what stays where it was, nor nothing. */
  #mayBeDeposit({ from, to, amount }: AssetMovement): boolean {
    return from !== to && !this.options.ours.has(from) && amount > 0n && amount <= TRANSFER_AMOUNT_MAX
  }
}

/** Deposits of whole blocks, from the first on, with no more than one turn takes; at least one block. */
function firstBlocks(movements: readonly AssetMovement[], owners: ReadonlyMap<string, string>, last: number) {
  const deposits = movements.flatMap(({ block: { height }, hash, index, from, to, amount }): Deposit[] => {
    const userId = owners.get(to)
    return userId === undefined ? [] : [{ userId, hash, index, height, from, to, amount }]
  })
  const beyond = deposits[DEPOSITS_PER_TURN_MAX]
  if (beyond === undefined) return { deposits, through: last }
  const isOneBlock = deposits[0]?.height === beyond.height
  const through = isOneBlock ? beyond.height : beyond.height - 1
  return { deposits: deposits.filter(({ height }) => height <= through), through }
}
