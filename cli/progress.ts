import { Presets, SingleBar } from 'cli-progress'

/** Runs `work` behind a progress bar on standard error (a line every few seconds when that is no terminal). */
export async function withProgress<Result>(
  label: string,
  total: number,
  work: (to: (value: number) => void) => Promise<Result>,
): Promise<Result> {
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
  try {
    const result = await work((value) => bar.update(Math.min(value, total)))
    bar.update(total)
    return result
  } finally {
    bar.stop()
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
