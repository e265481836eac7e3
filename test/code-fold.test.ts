// Folding scans into their codes' chunks must never make a used code look unused, wherever a fold is cut short and
// whatever happens to parked scans meanwhile (P1, P3, F1 to F3).
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { CodeBook, type CodeDelta, runsOf } from '../actors/codes/code-book.js'
import type { Sql } from '../persistence/postgres/connection.js'
import { applyBatch } from '../persistence/projector/apply.js'
import { Batch } from '../persistence/projector/batch.js'
import { foldRecord } from '../persistence/projector/fold.js'
import { defaultProjectorLimits, type ProjectorLimits } from '../persistence/projector/limits.js'
import { PostgresProjection } from '../persistence/projector/postgres-projection.js'
import { ParkedRetry } from '../persistence/projector/retry.js'
import { restoreCodeBook } from '../persistence/restore/code-book.js'
import { inOneSnapshot } from '../persistence/restore/snapshot.js'
import { open, startOnTemplate } from './support/postgres.js'
import { EPOCH, freshDatabase, type Parts, recordOf, SHARD, scanFact } from './support/projection.js'

t.setTimeout(240_000)

const eager: ProjectorLimits = {
  ...defaultProjectorLimits,
  purgeIntervalMs: Number.POSITIVE_INFINITY,
  foldIntervalMs: 0,
  foldScansMin: 2,
  foldScansMax: 5,
  foldChunksMax: 2,
}

/** A projection whose session may crash, and the code book as the records make it. */
class World {
  readonly book = new CodeBook()
  #scans = 0
  #seq = 0
  #projection: PostgresProjection | undefined

  constructor(
    readonly sql: Sql,
    readonly url: string,
  ) {}

  async projection(): Promise<PostgresProjection> {
    this.#projection ??= await PostgresProjection.open(this.url, SHARD, eager)
    return this.#projection
  }

  /** What it held in memory is gone; the database stays. */
  async crash(): Promise<void> {
    await this.#projection?.end()
    this.#projection = undefined
  }

  async fold(steps: number): Promise<void> {
    const projection = await this.projection()
    for (let step = 0; step < steps; step++) await projection.housekeep(EPOCH)
  }

  append(count: number): Promise<void> {
    const codes = Buffer.alloc(count * 8)
    for (let at = 0; at < count; at++) codes.writeBigUInt64BE((9n << 32n) | BigInt(this.book.size + at), at * 8)
    return this.#apply({ op: 'append', batch: 1, codes })
  }

  async setStatus(picks: readonly number[], status: 'generated' | 'manufactured' | 'invalidated'): Promise<void> {
    const rows = picks.map((pick) => pick % this.book.size)
    const runs = runsOf(rows.filter((row) => this.book.mayBecome(row, status)))
    if (runs.length > 0) await this.#apply({ op: 'status', runs, status })
  }

  async scan(pick: number, device: number, isRefused: boolean): Promise<void> {
    const { book } = this
    const row = [...Array(book.size).keys()]
      .map((at) => (at + pick) % book.size)
      .find((at) => book.mayBecome(at, 'scanned'))
    if (row === undefined) return
    this.#scans += 1
    const ip = isRefused ? 'nowhere' : '203.0.113.7'
    const fact = scanFact({ ordinal: this.#scans, codeRow: row, codeHi: 9, codeLo: row, deviceFingerprint: device, ip })
    await this.#apply({ op: 'scanned', row, device }, { facts: [fact] })
  }

  /** An operator mends a parked scan and has it written after all. */
  async mend(pick: number): Promise<void> {
    const parked = await this.sql<{ id: bigint }[]>`select id from dead_letters where resolved_at is null order by id`
    const id = parked[pick % (parked.length || 1)]?.id
    if (id === undefined) return
    await this.sql`
      update dead_letters set row = jsonb_set(row::jsonb, '{ip_address}', '"203.0.113.8"') where id = ${id}`
    await ParkedRetry.with(this.url, SHARD, (retry) => retry.one(Number(id)))
  }

  async restored(): Promise<CodeBook> {
    const book = new CodeBook()
    await inOneSnapshot(this.sql, (tx) => restoreCodeBook(tx, book))
    return book
  }

  async foldedOrdinal(): Promise<number> {
    const [mark] = await this.sql<{ at: bigint }[]>`select coalesce(max(folded_ordinal), 0) as at from code_fold_mark`
    return Number(mark?.at)
  }

  get scans(): number {
    return this.#scans
  }

  async #apply(delta: CodeDelta, parts: Parts = {}): Promise<void> {
    this.book.apply(delta)
    const projection = await this.projection()
    const batch = new Batch(await projection.readMark())
    this.#seq += 1
    foldRecord(SHARD, recordOf(this.#seq, { ...parts, deltas: [{ table: 'codes', delta }] }), batch)
    await applyBatch(projection, batch)
  }
}

const contents = (book: CodeBook) => [
  ...Array.from({ length: book.size }, (_, row) => [book.code(row), book.status(row), book.device(row)]),
  book.batchCounts(1),
]

const pick = fc.nat({ max: 200 })
const step = fc.oneof(
  fc.record({ do: fc.constant('append' as const), count: fc.integer({ min: 1, max: 12 }) }),
  fc.record({
    do: fc.constant('status' as const),
    picks: fc.array(pick, { minLength: 1, maxLength: 30 }),
    status: fc.constantFrom('manufactured', 'manufactured', 'manufactured', 'generated', 'invalidated'),
  }),
  ...[1, 2, 3].map(() =>
    fc.record({
      do: fc.constant('scan' as const),
      picks: fc.array(fc.tuple(pick, fc.nat({ max: 63 }), fc.boolean()), { minLength: 1, maxLength: 4 }),
    }),
  ),
  fc.record({ do: fc.constant('fold' as const), steps: fc.integer({ min: 1, max: 6 }) }),
  fc.record({ do: fc.constant('crash' as const) }),
  fc.record({ do: fc.constant('mend' as const), pick }),
  fc.record({ do: fc.constant('restore' as const) }),
)
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never

async function take(world: World, next: Step, check: () => Promise<void>): Promise<void> {
  switch (next.do) {
    case 'append':
      return world.append(next.count)
    case 'status':
      return world.setStatus(next.picks, next.status as 'manufactured')
    case 'scan':
      for (const [at, device, isRefused] of next.picks) await world.scan(at, device, isRefused)
      return
    case 'fold':
      return world.fold(next.steps)
    case 'crash':
      return world.crash()
    case 'mend':
      return world.mend(next.pick)
    case 'restore':
      return check()
  }
}

t.test('folded codes', async (t) => {
  const server = await startOnTemplate(t)
  const admin = open(t, server.url, 1)
  const world = async (test: Test) => {
    const { sql, url } = await freshDatabase(test, admin, server.url)
    const made = new World(sql, url)
    test.teardown(() => made.crash())
    return made
  }

  await t.test('a used code stays used, whatever is folded, cut short or mended when', async (t) => {
    const { sql, url } = await world(t)
    let folds = 0
    const property = async (steps: readonly Step[]) => {
      await sql`truncate qr_code_chunks, qr_status_changes, scans, dead_letters, code_fold_mark, projector_mark`
      const world = new World(sql, url)
      const check = async () => {
        t.same(contents(await world.restored()), contents(world.book))
      }
      await world.append(12)
      await world.append(7)
      await world.setStatus([...Array(19).keys()], 'manufactured')
      let mark = 0
      for (const next of steps) {
        await take(world, next, check)
        const now = await world.foldedOrdinal()
        t.ok(now >= mark && now <= world.scans, 'the mark only moves forward')
        if (now > mark) folds += 1
        mark = now
      }
      await check()
      await world.crash()
    }
    await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60, size: 'max' }), property), {
      numRuns: 40,
    })
    t.ok(folds > 40, `${folds} folds were completed`)
  })

  /** Forty codes in four chunks, all but the last one scanned, one scan parked; the first step of a fold has read them all. */
  const aboutToFold = async (test: Test, limits: Partial<ProjectorLimits>) => {
    const made = await world(test)
    for (let chunk = 0; chunk < 4; chunk++) await made.append(10)
    await made.setStatus([...Array(40).keys()], 'manufactured')
    for (let row = 0; row < 39; row++) await made.scan(row, row, row === 13)
    const projection = await PostgresProjection.open(made.url, SHARD, { ...eager, foldScansMax: 100, ...limits })
    test.teardown(() => projection.end())
    await projection.housekeep(EPOCH)
    return { made, projection }
  }

  for (const table of ['qr_code_chunks', 'code_fold_mark']) {
    await t.test(`a connection lost while a fold writes to ${table} leaves nothing half-done (F1)`, async (t) => {
      const { made, projection } = await aboutToFold(t, { foldChunksMax: 10 })
      const { sql } = made
      await sql.begin(async (tx) => {
        await tx`lock table ${tx(table)} in exclusive mode`
        const step = t.rejects(projection.housekeep(EPOCH))
        const blocked = () => tx<{ pid: number }[]>`
          select pid from pg_locks where relation = ${table}::regclass and not granted`
        let waiting = await blocked()
        while (waiting.length === 0) waiting = await blocked()
        await tx`select pg_terminate_backend(${waiting[0]?.pid ?? 0})`
        await step
      })
      t.equal(await made.foldedOrdinal(), 0)
      const [chunks] =
        await sql`select count(*)::int as whole from qr_code_chunks where position('\\x02'::bytea in statuses) > 0`
      t.equal(chunks?.whole, 0)
      t.same(contents(await made.restored()), contents(made.book))
      await made.fold(40)
      t.equal(await made.foldedOrdinal(), 39)
      t.same(contents(await made.restored()), contents(made.book))
    })
  }

  await t.test('a status change waits for a fold under way, and neither overwrites the other (F3)', async (t) => {
    const { made, projection } = await aboutToFold(t, { foldChunksMax: 10 })
    const { sql } = made
    let both: Promise<unknown> = Promise.resolve()
    await sql.begin(async (tx) => {
      await tx`lock table qr_code_chunks in exclusive mode`
      both = Promise.all([projection.housekeep(EPOCH), made.setStatus([39], 'invalidated')])
      const waiting = () => tx`
        select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
      while ((await waiting()).length < 2) await tx`select pg_sleep(0.001)`
    })
    await both
    t.equal(await made.foldedOrdinal(), 39)
    t.same(contents(await made.restored()), contents(made.book))
  })

  await t.test(
    'after a fold a start reads only the scans after its mark, and a parked scan counts where it is',
    async (t) => {
      const { made, projection } = await aboutToFold(t, { foldChunksMax: 1 })
      for (let step = 0; step < 4; step++) await projection.housekeep(EPOCH)
      t.equal(await made.foldedOrdinal(), 39)
      await made.sql`delete from scans`
      t.same(contents(await made.restored()), contents(made.book), 'the scans are not needed any more')
      await made.sql`update dead_letters set resolved_at = now(), row = null`
      t.same(contents(await made.restored()), contents(made.book), 'nor is the parked one')
    },
  )
})
