/** Medians with their spread: what a figure of several runs is shown as. */

export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
  readonly runs: number
}

/** Of what was measured: values that are not numbers are left out. */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.filter((value) => !Number.isNaN(value)).toSorted((a, b) => a - b)
  const middle = (sorted.length - 1) / 2
  const lower = sorted[Math.floor(middle)] ?? Number.NaN
  const upper = sorted[Math.ceil(middle)] ?? Number.NaN
  return {
    median: (lower + upper) / 2,
    min: sorted[0] ?? Number.NaN,
    max: sorted.at(-1) ?? Number.NaN,
    runs: sorted.length,
  }
}

/** Round by round: what the machine does meanwhile meets both. */
export function ratiosOf(values: readonly number[], others: readonly number[]): number[] {
  return values.map((value, round) => value / (others[round] ?? Number.NaN))
}

/** Three significant digits, or whole from a thousand on. */
export function formatFigure(value: number): string {
  if (Number.isNaN(value)) return '–'
  if (Math.abs(value) >= 999.5) return Math.round(value).toLocaleString('en-US')
  if (value === 0) return '0'
  const digits = Math.abs(value) >= 99.95 ? 0 : Math.abs(value) >= 9.995 ? 1 : 2
  return value.toFixed(digits)
}

/** `2,240 (2,100–2,300)` */
export function formatSpread({ median, min, max, runs }: Spread): string {
  if (runs < 2) return formatFigure(median)
  return `${formatFigure(median)} (${formatFigure(min)}–${formatFigure(max)})`
}
