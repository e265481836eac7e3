/** Money for the wallets of a local chain: what was recorded as paid in really comes, as a deposit does, and once. */

/** A pool as its ledger tells, in minor units. */
export interface PaidIn {
  /** What its wallet must hold, and what was ever paid out of it. */
  readonly onWallet: bigint
  readonly paid: bigint
  /** Recorded as paid in, and not seen on chain yet. */
  readonly unbacked: bigint
}

/**
 * Returns what mints the rest whenever it is called. The chain is not asked what the wallet holds: what was stolen from
 * it is not made good, and a mint that is not final yet is not repeated.
 */
export function topUp(ledger: () => Promise<PaidIn>, mint: (amount: bigint) => Promise<void>): () => Promise<void> {
  let minted = 0n
  let seen: bigint | null = null
  return async () => {
    const { onWallet, paid, unbacked } = await ledger()
    const seenNow = onWallet + paid - unbacked
    minted -= seenNow - (seen ?? seenNow)
    if (minted < 0n) minted = 0n
    seen = seenNow
    const due = unbacked - minted
    if (due <= 0n) return
    await mint(due)
    minted += due
  }
}
