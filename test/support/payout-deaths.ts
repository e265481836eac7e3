// Where and how the process dies: every step of the pipeline, as often as is asked for, by the numbers of a seed.
import type { Death } from './payouts.js'

/** What changes something outside the pipeline: its answer can be lost after it took effect. */
const effects = /prepare|distribute$|report|bind|sign|replace|broadcast|watch$|reconcile|takeSnapshot/
/** What the core decides: half of the deaths before it took effect lose it on its way to the disk. */
const writes = /^(core\.(prepare|distribute$|report|bind)|oversight\.(watch|reconcile|takeSnapshot)$)/

/** How the process can die there, each as likely as the others. */
export function deathsAt(step: string): readonly Death[] {
  if (writes.test(step)) return ['before', 'undurable', 'after']
  return effects.test(step) ? ['before', 'after'] : ['before']
}

/** A repeatable stream of numbers from 0 to 1. */
export function drawing(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Deaths still to come, by step and kind. */
export class Deaths {
  readonly counts = new Map<string, number>()

  constructor(
    private readonly times: number,
    private readonly draw: () => number,
    private readonly among = /./,
  ) {}

  readonly plan = (step: string): Death | null => {
    if (!this.among.test(step)) return null
    const kinds: Death[] = ['before']
    if (effects.test(step)) kinds.push('after')
    for (const kind of kinds) this.counts.set(`${step} ${kind}`, this.#count(step, kind))
    const open = kinds.filter((kind) => this.#count(step, kind) < this.times)
    const kind = open[Math.floor(this.draw() * open.length)]
    // The first steps of a round come by most often, and would keep it from ever reaching the last.
    if (kind === undefined || this.draw() > (kinds.length === 1 ? 0.3 : 0.8)) return null
    this.counts.set(`${step} ${kind}`, this.#count(step, kind) + 1)
    return kind === 'before' && writes.test(step) && this.draw() < 0.5 ? 'undurable' : kind
  }

  get total(): number {
    return [...this.counts.values()].reduce((sum, count) => sum + count, 0)
  }

  isDone(): boolean {
    return [...this.counts.values()].every((count) => count >= this.times)
  }

  toString(): string {
    const open = [...this.counts].filter(([, count]) => count < this.times)
    return open.length === 0 ? `all ${this.counts.size}` : open.map(([step, count]) => `${step} ${count}`).join(', ')
  }

  #count(step: string, kind: Death): number {
    return this.counts.get(`${step} ${kind}`) ?? 0
  }
}
