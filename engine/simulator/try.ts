import { simulate } from './run.js'

const from = Number(process.argv[2] ?? 1),
  to = Number(process.argv[3] ?? from)
process.on('unhandledRejection', (e) => {
  if ((e as Error).name !== 'CheckFailure') process.stdout.write('UNHANDLED ' + (e as Error).stack + '\n')
})
const t0 = performance.now()
const fails = new Map<string, number[]>()
const marks = new Map<string, number>()
for (let seed = from; seed <= to; seed++) {
  const r = await simulate({ seed, trace: from === to })
  for (const [k, v] of r.marks) marks.set(k, (marks.get(k) ?? 0) + v)
  if (from === to) process.stdout.write(r.lines.join('\n') + '\n')
  if (r.failure) {
    fails.set(r.failure.check, [...(fails.get(r.failure.check) ?? []), seed])
    if (to - from < 40) process.stdout.write(`${seed} ${r.failure.what}\n`)
  }
  if (to - from < 10) process.stdout.write(`${seed} records ${r.records} events ${r.events} ${r.digest.slice(0, 8)}\n`)
}
for (const [k, v] of fails) process.stdout.write(`${k}: ${v.length} ${v.slice(0, 8)}\n`)
process.stdout.write(`${((to - from + 1) / (performance.now() - t0)) * 1000} seeds/s\n`)
if (process.argv[4]) for (const [k, v] of [...marks].sort()) process.stdout.write(`${k} ${v}\n`)
