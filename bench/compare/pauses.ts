/** What gc-watch noted of a process. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

const watch = new URL('gc-watch.js', import.meta.url).href

/** Arguments that make a Node note its pauses in `process.env.BENCH_GC_FOLDER`. */
export const watchingPauses: readonly string[] = ['--import', watch]

/** The longest pause of a process that began between two moments (milliseconds since 1970); null when none was noted. */
export async function longestPauseMs(pid: number, fromMs: number, toMs: number): Promise<number | null> {
  const text = await readFile(join(process.env.BENCH_GC_FOLDER ?? '', `${pid}.txt`), 'utf8').catch(() => '')
  return longestOf(text, fromMs, toMs)
}

/** Of lines that each hold when a pause began and how long it took. */
export function longestOf(text: string, fromMs: number, toMs: number): number | null {
  let longest: number | null = null
  for (const line of text.split('\n')) {
    const [atMs = Number.NaN, ms = Number.NaN] = line.split(' ').map(Number)
    if (atMs >= fromMs && atMs < toMs && !(ms <= (longest ?? 0))) longest = ms
  }
  return longest
}
