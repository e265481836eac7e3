/** What a scan costs a server of a certain size, at a steady rate: processor time, decision and answer. */
import { setTimeout as sleep } from 'node:timers/promises'
import { formatCode } from '../../actors/codes/code-text.js'
import type { Sql } from '../../persistence/postgres/connection.js'
import { prepareRequest } from '../load/http-request.js'
import { type NamedPids, sampleProcesses, usageBetween } from '../load/processes.js'
import { runClosedLoop, runOpenLoop } from '../load/runner.js'
import { busySeconds } from '../scan/machine.js'
import { HistogramDifference, scrape } from '../scan/prometheus.js'
import { CODES_PER_CHUNK } from './stock.js'

const CONNECTIONS = 32
const WARM_UP_MS = 1_000
const CODE_BYTES = 8
const LAG_POLL_MS = 50
const CATCH_UP_MS = 60_000

export interface ScanCost {
  readonly perSecond: number
  readonly serverCores: number
  readonly serverMicros: number
  readonly postgresMicros: number
  readonly decisionP50Micros: number
  readonly decisionP99Micros: number
  readonly answerP50Micros: number
  readonly answerP99Micros: number
  /** Answers other than 200. */
  readonly failed: number
  /** Cores used by everything on the machine. */
  readonly busyCores: number
}

/** Codes of chunks from anywhere in the book, each chunk taken once. */
export class CodeDraw {
  readonly #taken = new Set<number>()

  async draw(sql: Sql, count: number): Promise<string[]> {
    const wanted = Math.ceil(count / CODES_PER_CHUNK)
    const rows = await sql<{ chunk: number; codes: Buffer }[]>`
      select chunk, codes from qr_code_chunks
      where chunk in (
        select chunk from qr_code_chunks where chunk <> all(${`{${[...this.#taken].join()}}`}::int[])
        order by random() limit ${wanted}
      )`
    const texts: string[] = []
    for (const { chunk, codes } of rows) {
      this.#taken.add(chunk)
      for (let at = 0; at < codes.length; at += CODE_BYTES) {
        texts.push(formatCode(codes.readUInt32BE(at), codes.readUInt32BE(at + 4)))
      }
    }
    if (texts.length < count) throw new Error(`of ${count} codes ${texts.length} are left`)
    return shuffled(texts)
  }
}

function shuffled<Item>(items: Item[]): Item[] {
  for (let at = items.length - 1; at > 0; at--) {
    const other = Math.floor(Math.random() * (at + 1))
    const held = items[at] as Item
    items[at] = items[other] as Item
    items[other] = held
  }
  return items
}

/** Builds scans of members in turn, each at about the same place. */
export class Scanners {
  readonly #requests: readonly ((body: string) => Buffer)[]
  #next = 0

  constructor(tokens: readonly string[], host: string) {
    this.#requests = tokens.map((token) => prepareRequest({ method: 'POST', path: '/v1/scans/submit', host, token }))
  }

  scan(code: string): Buffer {
    const member = this.#next++ % this.#requests.length
    const place = `"lat":${(25 + (member % 2_000) / 100).toFixed(4)},"lng":${(-120 + (member % 4_500) / 100).toFixed(4)}`
    const body = `{"code":"${code}","timestamp":${Date.now()},"location":{${place}},"device_id":"bench-${member}","method":"qr"}`
    const request = this.#requests[member]
    if (request === undefined) throw new Error('there are no members')
    return request(body)
  }
}

interface Target {
  readonly url: string
  readonly pids: NamedPids
}

const addressOf = (url: string) => ({ host: new URL(url).hostname, port: Number(new URL(url).port) })

/** Each scans once, so that all are in memory and their tokens are known. Returns the microseconds the median took. */
export async function acquaint({ url }: Target, scanners: Scanners, codes: string[], members: number): Promise<number> {
  const next = () => scanners.scan(codes.pop() ?? '')
  const { ok, p50 } = await runClosedLoop({ ...addressOf(url), connections: CONNECTIONS, next, requests: members })
  if (ok < members) throw new Error(`of ${members} first scans ${members - ok} were refused`)
  await caughtUp(url)
  return p50
}

export async function measureScans(
  { url, pids }: Target,
  scanners: Scanners,
  codes: string[],
  ratePerSecond: number,
  durationMs: number,
): Promise<ScanCost> {
  const next = () => scanners.scan(codes.pop() ?? '')
  const load = runOpenLoop({
    ...{ ...addressOf(url), connections: CONNECTIONS, next },
    ...{ ratePerSecond, warmupMs: WARM_UP_MS, durationMs },
  })
  await sleep(WARM_UP_MS)
  const before = {
    scrape: await scrape(url),
    usage: sampleProcesses(pids),
    busy: busySeconds(),
    atMs: performance.now(),
  }
  const result = await load
  // What Postgres is still to do belongs to these scans.
  await caughtUp(url)
  const after = {
    scrape: await scrape(url),
    usage: sampleProcesses(pids),
    busy: busySeconds(),
    atMs: performance.now(),
  }
  if (before.usage === null || after.usage === null) throw new Error('processor time is measured on Linux only')
  const used = usageBetween(before.usage, after.usage)
  const turns = new HistogramDifference(
    before.scrape,
    after.scrape,
    'comptroller_turn_microseconds',
    'command="scan.submit"',
  )
  const microsOf = (name: string) => ((used[name]?.cpuSeconds ?? Number.NaN) * 1e6) / turns.count
  return {
    perSecond: result.ok / result.seconds,
    serverCores: used.server?.cpuShare ?? Number.NaN,
    serverMicros: microsOf('server'),
    postgresMicros: microsOf('postgres'),
    decisionP50Micros: turns.at(50),
    decisionP99Micros: turns.at(99),
    answerP50Micros: result.latency.count > 0 ? result.p50 : Number.NaN,
    answerP99Micros: result.latency.count > 0 ? result.p99 : Number.NaN,
    failed: result.requests - result.ok,
    busyCores: ((after.busy ?? Number.NaN) - (before.busy ?? Number.NaN)) / ((after.atMs - before.atMs) / 1_000),
  }
}

async function caughtUp(url: string): Promise<void> {
  const until = performance.now() + CATCH_UP_MS
  while ((await scrape(url)).get('comptroller_shard_lag_records') !== 0) {
    if (performance.now() > until) throw new Error('Postgres does not catch up')
    await sleep(LAG_POLL_MS)
  }
}
