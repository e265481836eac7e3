/** Runs one part of the benchmark in a process of its own, so that its memory and garbage are its own. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { withProgress } from '../../cli/progress.js'
import { measureMembers } from './members.js'
import { replayJournal } from './replay.js'
import { restoreInParts } from './restore.js'
import { type ScanLoad, writeScanJournal } from './scan-journal.js'

const parts = {
  restore: ({ url }: { url: string }) => restoreInParts(url),
  members: ({ url, count }: { url: string; count: number }) => measureMembers(url, count),
  record: (load: ScanLoad) => withProgress('Journal of scans', load.scans, (to) => writeScanJournal(load, to)),
  replay: ({ directory, stockSeq }: { directory: string; stockSeq: number }) => replayJournal(directory, stockSeq),
}
type Parts = typeof parts

/** As `npm start` runs it; `gc` is for measuring what is kept. */
const NODE_ARGS = ['--max-semi-space-size=64', '--expose-gc']

export async function runPart<Name extends keyof Parts>(
  name: Name,
  input: Parameters<Parts[Name]>[0],
): Promise<Awaited<ReturnType<Parts[Name]>>> {
  const file = fileURLToPath(import.meta.url)
  const child = spawn(process.execPath, [...NODE_ARGS, file, name, JSON.stringify(input)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk
  })
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`the part ${name} ended with ${code}`)
  return JSON.parse(text)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , name, input] = process.argv
  const part = parts[name as keyof Parts] as (input: unknown) => Promise<unknown>
  process.stdout.write(JSON.stringify(await part(JSON.parse(input ?? ''))))
}
