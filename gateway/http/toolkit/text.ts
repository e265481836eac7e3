/**
 * Half of a surrogate pair, or NUL: JSON can say them, but UTF-8 has no bytes for the one and Postgres no room for the
 * other, so that what is kept would not be what was told.
 */
const unkeepable = /[\0\p{Surrogate}]/u

export const NOT_TEXT = 'Has characters that cannot be kept: NUL, or half of a surrogate pair.'

/** Where in a parsed value a string is that cannot be kept as it is, as `a.b.0`; undefined when all can. */
export function unkeepableText(value: unknown): string | undefined {
  if (typeof value === 'string') return unkeepable.test(value) ? '' : undefined
  if (typeof value !== 'object' || value === null) return undefined
  for (const [key, item] of Object.entries(value)) {
    const below = unkeepableText(item)
    if (below !== undefined) return below === '' ? key : `${key}.${below}`
  }
  return undefined
}
