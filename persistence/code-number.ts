const HALF_BITS = 30n
const HALF_MASK = (1n << HALF_BITS) - 1n

/** A code as Postgres keeps it: its two 30-bit halves as one number. */
export function codeNumber(hi: number, lo: number): bigint {
  return (BigInt(hi) << HALF_BITS) | BigInt(lo)
}

export function codeHalves(code: bigint): { readonly hi: number; readonly lo: number } {
  return { hi: Number(code >> HALF_BITS), lo: Number(code & HALF_MASK) }
}
