import { z } from 'zod'

const MICRO_PER_USD = 1_000_000

/** Money as requests carry it. */
export const amountText = z
  .string()
  .regex(/^\d{1,12}(\.\d{1,6})?$/, 'a decimal with at most six places, such as "1250.00"')

/**
 * Micro-units (micro-USDT) as the number of USD that JSON carries. Below 2^32 USD no two amounts become the same number
 * and the text of each has exactly its up to six decimals; up to 2^53 micro-units it is the nearest number there is.
 */
export function usdOf(micro: bigint): number {
  return Number(micro) / MICRO_PER_USD
}

/** A decimal text with at most six places, such as `1250.00`, as micro-units. The caller has checked its form. */
export function microOf(text: string): bigint {
  const [whole = '0', fraction = ''] = text.split('.')
  return BigInt(whole) * BigInt(MICRO_PER_USD) + BigInt(fraction.padEnd(6, '0'))
}

const dollars = new Intl.NumberFormat('en-US', { style: 'currency', currency: 'USD', maximumFractionDigits: 6 })

/** As people read it: `$1,250.00`. */
export function dollarsOf(micro: bigint): string {
  return dollars.format(usdOf(micro))
}
