/** Time and chance, so that tests can have them in hand. */
export interface Timers {
  now(): number
  /** Runs it later; returns what calls it off. */
  after(ms: number, run: () => void): () => void
  /** At least 0, less than 1. */
  random(): number
}

export const realTimers: Timers = {
  now: () => Date.now(),
  after: (ms, run) => {
    const timer = setTimeout(run, ms)
    return () => clearTimeout(timer)
  },
  random: () => Math.random(),
}

const ID_BYTES = 16

/** Not `randomUUID`: browsers keep that from pages that came by http. */
export function newClientId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(ID_BYTES))
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}
