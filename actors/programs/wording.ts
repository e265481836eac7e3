/** Tiers and prizes as members read them. */
import type { TierName } from '../user/facts.js'

const MICRO_PER_USD = 1_000_000

const dollars = new Intl.NumberFormat('en-US', {
  style: 'currency',
  currency: 'USD',
  trailingZeroDisplay: 'stripIfInteger',
})

export const tierTitles: Readonly<Record<TierName, string>> = {
  standard: 'Standard',
  vip: 'VIP',
  high_roller: 'High Roller',
  whale: 'Whale',
}

/** Micro-units as a prize is called: `$1,000`, `$12.50`. */
export function prizeText(micro: bigint): string {
  return dollars.format(Number(micro) / MICRO_PER_USD)
}
