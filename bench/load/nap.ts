import { writeFileSync } from 'node:fs'

/** What the kernel adds to a sharp nap. */
const NAP_OVERHEAD_MICROS = 25
const NAP_MICROS_MIN = 1
/** An answer that arrives during a nap is seen up to this much later; shorter naps cost more CPU. */
const NAP_MICROS_MAX = 50
/** Linux rounds sleeps up by this much to save wake-ups; 0 restores the default of 50 µs. */
const SHARP_SLACK_NANOS = 1_000

const never = new Int32Array(new SharedArrayBuffer(4))

/**
 * Blocks the thread for about NAP_MICROS_MAX, less when `waitMicros` is less. Node's timers tick in milliseconds; a nap
 * is finer, and unlike spinning it leaves the core to the server.
 */
export function nap(waitMicros: number): void {
  const napMicros = Math.min(NAP_MICROS_MAX, Math.max(NAP_MICROS_MIN, waitMicros - NAP_OVERHEAD_MICROS))
  Atomics.wait(never, 0, 0, napMicros / 1000)
}

/** Makes naps of this process sharp, or as they were. Systems without the setting nap as they do: about 60 µs longer. */
export function setSharpNaps(sharp: boolean): void {
  try {
    writeFileSync('/proc/self/timerslack_ns', String(sharp ? SHARP_SLACK_NANOS : 0))
  } catch {
    // Not Linux, or not allowed.
  }
}
