/** The clock, timers and randomness of a real process. */
import { randomUUID } from 'node:crypto'
import type { Environment } from './engine/store.js'

const TIMEOUT_MAX_MS = 2 ** 31 - 1

export const environment: Environment = {
  now: () => Date.now(),
  micros: () => performance.now() * 1_000,
  newId: () => randomUUID(),
  wakeAt,
}

/** A timer for an absolute time. Times further away than timers reach are approached in steps. */
function wakeAt(at: number, callback: () => void): () => void {
  let timer: NodeJS.Timeout
  const arm = () => {
    const wait = at - Date.now()
    timer = setTimeout(() => (wait > TIMEOUT_MAX_MS ? arm() : callback()), Math.max(0, Math.min(wait, TIMEOUT_MAX_MS)))
    timer.unref()
  }
  arm()
  return () => clearTimeout(timer)
}
