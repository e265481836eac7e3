/** Parsers of command line options. */
import { InvalidArgumentError } from 'commander'

/** A whole number above zero; `1_000_000` is one. */
export function count(text: string): number {
  return atLeast(1, text, 'It must be a whole number above zero.')
}

/** A whole number, zero or above. */
export function wholeNumber(text: string): number {
  return atLeast(0, text, 'It must be a whole number.')
}

function atLeast(least: number, text: string, otherwise: string): number {
  const value = Number(text.replaceAll('_', ''))
  if (!Number.isSafeInteger(value) || value < least) throw new InvalidArgumentError(otherwise)
  return value
}
