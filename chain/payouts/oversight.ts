/**
 * Looks at a wallet from outside, as an auditor would: every payment into and out of it, and what it holds. It reads final
 * blocks only, and at one height at a time (BJ-T40). What follows from it is decided in the core.
 */
import type { Pool, ReconcileCause } from '../../actors/treasury/facts.js'
import { MOVEMENTS_PER_TURN_MAX } from '../../actors/treasury/oversight.js'
import type { AssetMovement, ChainWallet } from '../chain.js'
import type { OversightCore } from './core-port.js'

/** Blocks looked through at once. */
const BLOCKS_PER_LOOK_MAX = 2_000

export interface OversightOptions {
  readonly core: OversightCore
  readonly chain: ChainWallet
  readonly wallet: Pool
}

export class Oversight {
  constructor(private readonly options: OversightOptions) {}

  /** Looks through the next final blocks; returns whether there are more. */
  async watch(): Promise<boolean> {
    const { core, chain, wallet } = this.options
    const { final } = await chain.heights()
    const from = (await core.watchedThrough(wallet)) + 1
    if (from > final) return false
    const last = Math.min(final, from + BLOCKS_PER_LOOK_MAX - 1)
    const { movements, end } = firstBlocks(await chain.movements([chain.address], from, last), last)
    const open = await core.hashesInFlight(wallet)
    const firstOpen = movements.find(({ hash }) => open.has(hash))
    // The pipeline has to settle it first.
    const through = firstOpen === undefined ? end : Math.min(end, firstOpen.block.height - 1)
    if (through < from) return false
    const looked = movements.filter(({ block }) => block.height <= through)
    const deposits = looked.filter(({ from: payer, to }) => to === chain.address && payer !== chain.address)
    const withdrawals = looked.filter(({ from: payer, to }) => payer === chain.address && to !== chain.address)
    await core.watch(wallet, {
      ...{ from, through },
      deposits: deposits.map((each) => seen(each, each.from)),
      withdrawals: withdrawals.map((each) => seen(each, each.to)),
    })
    return through < final && firstOpen === undefined
  }

  /** Everything up to the last final block was looked at, and the two are compared there. */
  async reconcile(cause: ReconcileCause) {
    while (await this.watch()) {
      // The ledger must know every deposit up to the height it is compared at.
    }
    return this.options.core.reconcile(this.options.wallet, { ...(await this.#holdings()), cause })
  }

  async snapshot(): Promise<void> {
    await this.options.core.takeSnapshot(this.options.wallet, await this.#holdings())
  }

  async #holdings() {
    const { core, chain, wallet } = this.options
    const height = await core.watchedThrough(wallet)
    const { asset: onChain } = await chain.holdings(height)
    return { height, onChain }
  }
}

function seen({ hash, block, amount }: AssetMovement, counterparty: string) {
  return { hash, height: block.height, counterparty, amount }
}

/** Whole blocks, from the first on, with no more movements than one turn takes; at least one block. */
function firstBlocks(movements: readonly AssetMovement[], through: number) {
  const first = movements[MOVEMENTS_PER_TURN_MAX]
  if (first === undefined) return { movements, end: through }
  const isOneBlock = movements[0]?.block.height === first.block.height
  const end = isOneBlock ? first.block.height : first.block.height - 1
  return { movements: movements.filter(({ block }) => block.height <= end), end }
}
