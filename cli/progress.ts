import { Presets, SingleBar } from 'cli-progress'

/** A progress bar on standard error; plain lines when that is no terminal. */
export function progressBar(label: string, total: number) {
  const bar = new SingleBar(
    {
      format: `${label} {bar} {percentage}% | {value}/{total} | {eta_formatted} left`,
      stream: process.stderr,
      noTTYOutput: true,
      notTTYSchedule: 5_000,
      etaBuffer: 100,
      hideCursor: true,
    },
    Presets.shades_classic,
  )
  bar.start(total, 0)
  return {
    to: (value: number) => bar.update(Math.min(value, total)),
    done: () => {
      bar.update(total)
      bar.stop()
    },
  }
}

/** Runs `work` for 0…count-1, at most `atOnce` at a time. */
export async function inParallel(count: number, atOnce: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0
  await Promise.all(
    Array.from({ length: Math.min(atOnce, count) }, async () => {
      while (next < count) await work(next++)
    }),
  )
}
