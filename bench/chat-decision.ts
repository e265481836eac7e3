/** `npm run bench:chat-decision`: how long the core takes to decide a message with many members known; no I/O at all. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Command, Option } from 'commander'
import { createBlakjaks } from '../actors/programs/blakjaks/program.js'
import { count } from '../cli/options.js'
import { type Command as CoreCommand, type Principal, system } from '../engine/command.js'
import type { Journal } from '../engine/journal.js'
import { defaultLimits } from '../engine/limits.js'
import { Shard } from '../engine/shard.js'
import { LatencyHistogram } from './load/latency.js'
import { formatTable, microsRow } from './load/table.js'
import { busySeconds, machine } from './scan/machine.js'

const RESULTS_FOLDER = join('bench', 'results')
const TARGET_P99_MICROS = 100
const JOURNAL_BYTES = 1 << 20
/** Postgres is told to be so far behind. */
const LAG_RECORDS = 10_000
const WORD_RULES = 100
const WARM_UP_SHARE = 0.1
/** Neighbours in time are far apart in memory. */
const STRIDE = 48_271

interface Options {
  readonly users: number
  readonly posts: number
  readonly targets: boolean
}

const options = new Command('bench:chat-decision')
  .description('Time of the turn of chat.post: from having the actors in memory to the record handed to the journal.')
  .option('--users <n>', 'members known to the chat', count, 100_000)
  .option('--posts <n>', 'messages measured, after a tenth as many', count, 200_000)
  .option('--no-targets', 'end with 0 even when a target is missed')
  .addOption(
    new Option('--quick', 'a small run, to see that it works').implies({ users: 2_000, posts: 10_000, targets: false }),
  )
  .parse()
  .opts<Options>()

/** Takes a copy of every record, as the real one does, and is durable at once. */
function memoryJournal(onDurable: (seq: number) => void): Journal {
  const bytes = Buffer.alloc(JOURNAL_BYTES)
  let at = 0
  let lastSeq = 0
  return {
    get lastSeq() {
      return lastSeq
    },
    get durableSeq() {
      return lastSeq
    },
    append(seq, body) {
      if (at + body.length > bytes.length) at = 0
      bytes.set(body, at)
      at += body.length
      lastSeq = seq
      onDurable(seq)
    },
    async *read() {},
    truncate: async () => {},
    close: async () => {},
  }
}

const uuid = (kind: string, at: number) => `${kind}-0000-4000-8000-${at.toString(16).padStart(12, '0')}`

async function startCore() {
  const program = createBlakjaks()
  const turns = new LatencyHistogram()
  let now = Date.parse('2026-02-10T12:00:00Z')
  let ids = 0
  let isMeasured = false
  const environment = {
    now: () => now,
    micros: () => performance.now() * 1_000,
    newId: () => uuid('00000001', ++ids),
    wakeAt: () => () => {},
  }
  const store = { loadImages: async () => new Map(), loadOutcome: async () => undefined }
  const journal = memoryJournal((seq) => shard.durable(seq))
  const shard: Shard = new Shard(program.program, journal, store, environment, defaultLimits, {
    onTurn: (command, micros) => {
      if (isMeasured && command === 'chat.post') turns.record(micros)
    },
    onStopped: (error) => {
      throw error
    },
  })
  await shard.recover({ appliedSeq: 0, lastAt: 0, pinned: [], alarms: [], messages: [], idempotency: [] })

  function run<Args>(command: CoreCommand<Args>, args: Args, who: Principal = system, key?: string): Promise<unknown> {
    now += 1
    if (shard.lastSeq - shard.appliedSeq > LAG_RECORDS) shard.applied(shard.lastSeq)
    return shard.execute(command, { args, who, key })
  }
  return { program, turns, run, measure: () => (isMeasured = true) }
}

type Core = Awaited<ReturnType<typeof startCore>>

async function addMembers({ program, run }: Core): Promise<Principal[]> {
  const { chat, moderation, channels } = program.chat.commands
  const members: Principal[] = []
  for (let at = 0; at < options.users; at++) {
    const userId = uuid('00000002', at)
    const named = { userId, email: `m${at}@example.com`, full_name: `Member ${at}`, username: `member${at}` }
    const rest = { date_of_birth: '1990-01-01', language: 'en', passwordHash: '', verification: null, session: null }
    await run(program.commands.open, { ...named, ...rest, isAdmin: false })
    await run(chat.enter, { userId })
    members.push({ role: 'member', userId, sessionId: '' })
  }
  await run(channels.openDefaults, {})
  const rules = Array.from({ length: WORD_RULES }, (_, at) => {
    return { id: `${at}`, pattern: `forbidden${at}*`, action: 'refuse' as const, exemptFrom: null }
  })
  await run(moderation.setWordRules, { rules })
  return members
}

/** Every fifth message mentions somebody, every tenth is a reply; all have keys, as those of clients. */
async function post({ program, run }: Core, members: readonly Principal[], from: number, to: number): Promise<void> {
  const channelIds = program.rules.chat.channels.flatMap(({ id, minimumTier, posting }) => {
    return minimumTier === 'standard' && posting === 'members' ? [id] : []
  })
  for (let at = from; at < to; at++) {
    const who = members[(at * STRIDE) % members.length] as Principal
    const mention = at % 5 === 0 ? ` @member${(at * 7) % members.length}` : ''
    const args = {
      messageId: uuid('00000003', at),
      channelId: channelIds[at % channelIds.length] ?? '',
      text: `Message ${at}: what does everybody think of the new flavor?${mention}`,
      language: 'en',
      media: { type: 'none' as const, url: null, code: null },
      // Of the same channel.
      replyTo: at % 10 === 0 && at > channelIds.length ? uuid('00000003', at - channelIds.length) : null,
      clientId: `${at}`,
    }
    await run(program.chat.commands.chat.post, args, who, `chat:${at}`)
  }
}

const core = await startCore()
const members = await addMembers(core)
const warmUp = Math.ceil(options.posts * WARM_UP_SHARE)
await post(core, members, 0, warmUp)
core.measure()
const [startedAt, busyBefore, cpuBefore] = [performance.now(), busySeconds(), process.cpuUsage()]
await post(core, members, warmUp, warmUp + options.posts)
const seconds = (performance.now() - startedAt) / 1_000
const { user, system: kernel } = process.cpuUsage(cpuBefore)
const ownSeconds = (user + kernel) / 1e6
const othersCores = (Number(busySeconds()) - Number(busyBefore) - ownSeconds) / seconds
const { turns } = core
const figures = {
  decisions: turns.count,
  decision_p50_micros: turns.at(50),
  decision_p99_micros: turns.at(99),
  decision_p999_micros: turns.at(99.9),
  decision_max_micros: turns.max,
  messages_per_second: options.posts / seconds,
  cpu_micros_per_message: (ownSeconds * 1e6) / options.posts,
  others_cpu_cores: othersCores,
}
process.stdout.write(`Messages decided with ${options.users} members known, on ${machine()}\n`)
process.stdout.write(
  formatTable([
    { name: 'messages', value: figures.decisions },
    microsRow('decision p50', figures.decision_p50_micros),
    microsRow('decision p99', figures.decision_p99_micros),
    microsRow('decision p99.9', figures.decision_p999_micros),
    microsRow('decision max', figures.decision_max_micros),
    { name: 'one after the other', value: Math.round(figures.messages_per_second), unit: 'messages/s' },
    microsRow('CPU per message', figures.cpu_micros_per_message),
    { name: 'other programs', value: figures.others_cpu_cores.toFixed(2), unit: 'cores' },
  ]),
)
process.stdout.write('Not measured: sockets, the disk, Postgres, members who are not in memory.\n')
await mkdir(RESULTS_FOLDER, { recursive: true })
const result = { at: new Date().toISOString(), machine: machine(), options, figures }
await writeFile(join(RESULTS_FOLDER, 'chat-decision.json'), `${JSON.stringify(result, null, 2)}\n`)
if (figures.decision_p99_micros > TARGET_P99_MICROS) {
  process.stdout.write(`MISSED: decision p99 under ${TARGET_P99_MICROS} µs\n`)
  if (options.targets) process.exitCode = 1
}
