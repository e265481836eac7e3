/** Targets that benchmarks of their own measure: what their last runs found of them. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import type { Target } from './targets.js'

/** Each writes a file of its name. */
const benchmarks = ['growth', 'day'] as const

const resultsSchema = z.object({
  at: z.string(),
  commit: z.string(),
  options: z.object({ quick: z.boolean().optional() }),
  targets: z.array(
    z.object({ name: z.string(), target: z.string(), measured: z.number().nullable(), ok: z.boolean().nullable() }),
  ),
})

/** `targets` with what is known of those that this run did not measure, and those that only the others have. */
export async function withEarlier(targets: readonly Target[], resultsFolder: string): Promise<Target[]> {
  let all = [...targets]
  for (const benchmark of benchmarks) {
    const text = await readFile(join(resultsFolder, `${benchmark}.json`), 'utf8').catch(() => null)
    const parsed = text === null ? null : resultsSchema.safeParse(JSON.parse(text))
    // A small run says nothing of the targets.
    if (!parsed?.success || parsed.data.options.quick === true) continue
    const { at, commit, targets: found } = parsed.data
    const note = `by \`npm run bench:${benchmark}\` on ${at.slice(0, 10)} at commit \`${commit}\``
    all = merged(
      all,
      found.filter(({ ok }) => ok !== null).map((each) => ({ ...each, note })),
    )
  }
  return all
}

function merged(targets: readonly Target[], found: readonly Target[]): Target[] {
  const byName = new Map(targets.map((target) => [target.name, target]))
  for (const target of found) {
    if ((byName.get(target.name)?.ok ?? null) === null) byName.set(target.name, target)
  }
  return [...byName.values()]
}
