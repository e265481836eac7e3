/** The machine a benchmark runs on, and how much of it others use meanwhile. */
import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'

/** Clock ticks per second in /proc. */
const TICKS_PER_SECOND = 100

export function machine(): string {
  const [cpu] = cpus()
  return `${cpus().length} cores (${cpu?.model ?? 'unknown'}), Node ${process.version}, ${process.platform}`
}

/** CPU seconds all processes have used since the machine started; null where there is no /proc. */
export function busySeconds(): number | null {
  try {
    const [user = 0, nice = 0, system = 0, , , interrupts = 0, softInterrupts = 0] = readFileSync('/proc/stat', 'utf8')
      .slice('cpu '.length, 300)
      .trim()
      .split(/\s+/)
      .map(Number)
    return (user + nice + system + interrupts + softInterrupts) / TICKS_PER_SECOND
  } catch {
    return null
  }
}
