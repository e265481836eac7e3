// Hunts: a parked row that comes back as another row, older state that a retry writes over newer, a change that meets no
// row and is gone, a fact that cannot be made rows of by any later version (P3, K2, R1 to R4).
import fc from 'fast-check'
import t, { type Test } from 'tap'
import * as accountFacts from '../actors/account/facts.js'
import * as chatFacts from '../actors/chat/facts.js'
import * as codeFacts from '../actors/codes/facts.js'
import * as treasuryFacts from '../actors/treasury/facts.js'
import * as userFacts from '../actors/user/facts.js'
import * as volumeFacts from '../actors/volume/facts.js'
import type { Sql } from '../persistence/postgres/connection.js'
import { applyBatch } from '../persistence/projector/apply.js'
import { Batch } from '../persistence/projector/batch.js'
import { type AnyRow, type Columns, type ColumnType, rowJson } from '../persistence/projector/columns.js'
import { foldFact, neverParkedFacts, targets } from '../persistence/projector/fold.js'
import { defaultProjectorLimits } from '../persistence/projector/limits.js'
import { isNeededAtStart } from '../persistence/projector/parking.js'
import { PostgresProjection } from '../persistence/projector/postgres-projection.js'
import { ParkedRetry } from '../persistence/projector/retry.js'
import type { Target } from '../persistence/projector/target.js'
import { open, startOnTemplate } from './support/postgres.js'
import { EPOCH, freshDatabase, SHARD, scanFact, uuidOf } from './support/projection.js'

t.setTimeout(240_000)

const server = await startOnTemplate(t as unknown as Test)
const operator = open(t as unknown as Test, server.url, 1)

/** A database and a session on it that writes batch after batch. */
async function world(test: Test) {
  const { sql, url } = await freshDatabase(test, operator, server.url)
  const session = await PostgresProjection.open(url, SHARD, defaultProjectorLimits)
  test.teardown(() => session.end())
  let seq = await session.readMark()
  const write = async (...fills: ((batch: Batch) => void)[]) => {
    const batch = new Batch(seq)
    for (const fill of fills) {
      batch.begin(++seq, EPOCH + seq)
      fill(batch)
    }
    return applyBatch(session, batch)
  }
  const retryAll = (limit = 1_000) =>
    ParkedRetry.with(url, SHARD, async (retry) => {
      const total = { resolved: 0, refused: 0 }
      for (let afterId: number | null = 0; afterId !== null; ) {
        const { resolved, refused, nextAfterId } = await retry.all({ afterId, limit })
        total.resolved += resolved
        total.refused += refused
        afterId = nextAfterId
      }
      return total
    })
  return { sql, url, write, retryAll }
}

/** Refuses rows for which `condition` holds, as a constraint would. */
const refuse = (sql: Sql, table: string, condition: string) =>
  sql.unsafe(`
    create or replace function poison_${table}() returns trigger language plpgsql as $$
    begin if ${condition} then raise 'poison' using errcode = '23514'; end if; return new; end $$;
    create or replace trigger poison before insert or update on ${table} for each row execute function poison_${table}()`)
const accept = (sql: Sql, table: string) => sql.unsafe(`drop trigger poison on ${table}`)
const parkedIn = async (sql: Sql) =>
  Number((await sql`select count(*) from dead_letters where resolved_at is null`)[0]?.count)

const nasty = fc.constantFrom(
  '',
  'null',
  'NULL',
  '\\',
  '"',
  '\\xff',
  '{}',
  '\0',
  'ü€😀',
  "'; drop table users; --",
  '\n\t',
)
const text = fc.oneof(nasty, fc.string({ unit: 'binary', maxLength: 20 }))
const big = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
const cells: Readonly<Record<ColumnType, fc.Arbitrary<unknown>>> = {
  bigint: big,
  int: fc.integer(),
  smallint: fc.integer({ min: -32_768, max: 32_767 }),
  float: fc.oneof(fc.double(), fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, -0)),
  boolean: fc.boolean(),
  text,
  uuid: fc.uuid(),
  date: fc.constantFrom('2000-02-29', '1970-01-01', '0001-12-31'),
  inet: fc.oneof(fc.ipV4(), fc.ipV6()),
  bytes: fc.uint8Array({ maxLength: 40 }),
  json: fc.json(),
  ints: fc.array(fc.integer(), { maxLength: 5 }),
  point: fc.tuple(fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true })),
  time: fc.integer({ min: 0, max: 4_102_444_800_000 }),
  usdt: fc.bigInt({ min: -(10n ** 15n), max: 10n ** 15n }),
  amount: fc.bigInt({ min: -(10n ** 37n), max: 10n ** 37n }),
}

/** Columns that tables restrict. */
const restricted: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  'users.tier': fc.constantFrom('standard', 'vip'),
  'users.tier_status': fc.constantFrom('active', 'locked'),
  'comps.type': fc.constantFrom('trip', 'casino'),
  'treasury_funding.pool': fc.constantFrom('member', 'affiliate'),
  'social_channels.tier_restriction': fc.constantFrom('all', 'whale'),
  'social_channels.posting': fc.constantFrom('members', 'admins'),
  'chat_report_decisions.decision': fc.constantFrom('kept', 'deleted'),
  'chat_silences.how': fc.constantFrom('muted', 'lifted'),
  'notifications.type': fc.constant('social'),
  'live_streams.status': fc.constantFrom('scheduled', 'ended'),
  'live_streams.tier_restriction': fc.constantFrom('all', 'whale'),
}

/** One row of each number, unlike the others in what names it. */
function rowOf({ table, columns }: Target<Columns>): fc.Arbitrary<AnyRow> {
  const values = Object.entries(columns).map(([name, type]) => [name, restricted[`${table}.${name}`] ?? cells[type]])
  return fc.record(Object.fromEntries(values)) as fc.Arbitrary<AnyRow>
}

t.test('R1 any row comes back from parking as the row it was', async (t) => {
  const { sql, write, retryAll } = await world(t)
  const plain = targets.filter(({ table, mode }) => !isNeededAtStart(table) && mode !== 'patch')
  t.ok(plain.length > 15, 'of all tables')
  const patches = targets.filter(({ table, mode }) => mode === 'patch' && table === 'users')
  for (const target of [...plain, ...patches]) {
    const { table } = target
    await fc.assert(
      fc.asyncProperty(rowOf(target), async (row) => {
        await sql.unsafe(`truncate ${table}, dead_letters`)
        const id = uuidOf(1)
        const put = (batch: Batch) => {
          if (target.mode !== 'patch') batch.put(target, row)
          else batch.patch(target, { ...row, id })
        }
        const member = (batch: Batch) => {
          const users = targets.find((each) => each.table === 'users' && each.mode === 'upsert')
          if (target.mode === 'patch' && users !== undefined) {
            batch.put(users, { id, number: 1, referred_by_id: null, is_admin: false, member_since: EPOCH })
          }
        }
        await write(member)
        const direct = await write(put)
        if (direct.parked.length > 0) return // a row the table never takes
        const expected = await sql.unsafe(`select to_jsonb(${table}) as row from ${table}`)
        await sql.unsafe(`truncate ${table}`)
        await write(member)
        await refuse(sql, table, 'true')
        t.equal((await write(put)).parked.length, 1)
        await accept(sql, table)
        t.same(await retryAll(), { resolved: 1, refused: 0 })
        const found = await sql.unsafe(`select to_jsonb(${table}) as row from ${table}`)
        t.same([...found], [...expected], `${table} ${rowJson(row)}`)
      }),
      { numRuns: 6 },
    )
  }
})

const batches = targets.filter(({ table }) => table === 'comps')
const comps = batches.find(({ mode }) => mode === 'insert')
const compChanges = batches.find(({ mode }) => mode === 'patch')
const users = targets.find(({ table, mode }) => table === 'users' && mode === 'upsert')
const userChanges = targets.find(({ table, mode }) => table === 'users' && mode === 'patch')

type Step =
  | { readonly does: 'create' | 'fund'; readonly key: number; readonly isPoison: boolean }
  | { readonly does: 'change'; readonly key: number; readonly column: 'full_name' | 'city'; readonly text: string }

const KEYS = 4
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    does: fc.constantFrom('create' as const, 'fund' as const),
    key: fc.nat(KEYS - 1),
    isPoison: fc.boolean(),
  }),
  fc.record({
    does: fc.constant('change' as const),
    key: fc.nat(KEYS - 1),
    column: fc.constantFrom('full_name' as const, 'city' as const),
    text: fc.constantFrom('a', 'b', 'poison'),
  }),
)

/** A member and a comp of each key are created before they are changed, as programs do it. */
function fillOf(step: Step, created: Set<number>): (batch: Batch) => void {
  const { key } = step
  const id = uuidOf(key)
  return (batch) => {
    const isNew = !created.has(key)
    created.add(key)
    if (isNew && users !== undefined && comps !== undefined) {
      const number = step.does === 'create' && step.isPoison ? 1_000 + key : key
      batch.put(users, { id, number, referred_by_id: null, is_admin: false, member_since: EPOCH })
      const comp = { id, seq: key, user_id: id, type: 'trip', amount: 1n, funded: false, awarded_at: EPOCH }
      const rest = { trigger_scan_id: null, ordinal: step.does === 'fund' && step.isPoison ? 666 : 1, milestone: null }
      batch.put(comps, { ...comp, ...rest })
    }
    if (step.does === 'fund' && compChanges !== undefined) batch.patch(compChanges, { id, funded: !step.isPoison })
    if (step.does === 'change' && userChanges !== undefined) batch.patch(userChanges, { id, [step.column]: step.text })
  }
}

t.test('K2 R3 whatever is refused and retried, and whenever, the last change of every column stands', async (t) => {
  const hurt = await world(t)
  const whole = await world(t)
  const contents = async (sql: Sql) => [
    ...(await sql`select id, number, full_name, city from users order by id`),
    ...(await sql`select id, funded, ordinal from comps order by id`),
  ]
  const poison = async () => {
    await refuse(hurt.sql, 'users', `new.full_name = 'poison' or new.number >= 1000`)
    await refuse(hurt.sql, 'comps', 'new.ordinal = 666')
  }
  let parkedEver = 0
  const sometimes = fc.tuple(fc.array(step, { minLength: 1, maxLength: 5 }), fc.boolean())
  await fc.assert(
    fc.asyncProperty(fc.array(sometimes, { minLength: 1, maxLength: 8 }), async (story) => {
      for (const { sql } of [hurt, whole]) await sql`truncate users, comps, dead_letters`
      await poison()
      const [created, createdWhole] = [new Set<number>(), new Set<number>()]
      for (const [steps, retriesAfter] of story) {
        parkedEver += (await hurt.write(...steps.map((each) => fillOf(each, created)))).parked.length
        await whole.write(...steps.map((each) => fillOf(each, createdWhole)))
        if (retriesAfter) await hurt.retryAll(2)
      }
      await accept(hurt.sql, 'users')
      await accept(hurt.sql, 'comps')
      t.match(await hurt.retryAll(3), { refused: 0 })
      t.equal(await parkedIn(hurt.sql), 0)
      t.same(await contents(hurt.sql), await contents(whole.sql))
    }),
    { numRuns: 40 },
  )
  t.ok(parkedEver > 50, `${parkedEver} rows were parked on the way`)
})

t.test('R1 R2 retries by many at once, while batches go on, write every row once', async (t) => {
  const { sql, url, write, retryAll } = await world(t)
  await refuse(sql, 'scans', 'new.ordinal % 2 = 0')
  const scan = (ordinal: number) => (batch: Batch) =>
    foldFact(scanFact({ ordinal }), { seq: ordinal, entry: 0, at: EPOCH }, batch)
  await write(...Array.from({ length: 60 }, (_, index) => scan(index + 1)))
  t.equal(await parkedIn(sql), 30)
  await accept(sql, 'scans')
  const more = async () => {
    for (let ordinal = 61; ordinal <= 80; ordinal++) await write(scan(ordinal))
  }
  const [, ...totals] = await Promise.all([more(), retryAll(7), retryAll(11), retryAll()])
  t.equal(
    totals.reduce((sum, { resolved }) => sum + resolved, 0),
    30,
  )
  t.equal((await sql`select 1 from scans`).length, 80)
  t.same(await ParkedRetry.with(url, SHARD, (retry) => retry.one(1)), {
    found: true,
    resolved: 0,
    nextId: null,
    errorCode: null,
    error: null,
  })
  t.match(await ParkedRetry.with(url, SHARD, (retry) => retry.one(1_000)), { found: false })
})

t.test('P3 a report that was parked is as decided as the others once it is retried, by what decided it', async (t) => {
  const { sql, write, retryAll } = await world(t)
  const about = { channelId: 'general', userId: uuidOf(1), by: uuidOf(2), because: 'rude' }
  const report = (reportId: string, messageId: string) => chatFacts.reportFiled.make({ reportId, messageId, ...about })
  const decide = (messageId: string, decision: 'kept' | 'removed', by: string) =>
    chatFacts.reportsClosed.make({ messageId, decision, by })
  const facts = [
    report('parked', 'one'),
    report('taken', 'one'),
    report('parked-open', 'two'),
    decide('one', 'kept', 'boss'),
    report('parked-again', 'one'),
    decide('one', 'removed', 'bea'),
    decide('three', 'kept', 'boss'),
    report('parked-late', 'three'),
  ]
  const told = facts.map(
    (fact, at) => (batch: Batch) => foldFact(fact, { seq: at + 1, entry: 0, at: EPOCH + at }, batch),
  )
  await refuse(sql, 'chat_reports', `new.id like 'parked%' and tg_op = 'INSERT'`)
  for (const each of told) await write(each)
  t.equal(await parkedIn(sql), 4)
  await accept(sql, 'chat_reports')
  t.same(await retryAll(), { resolved: 4, refused: 0 })
  const rows = await sql`select id, decision, closed_by, closed_at from chat_reports order by seq`
  const kept = { decision: 'kept', closed_by: 'boss', closed_at: new Date(EPOCH + 3) }
  const open = { decision: null, closed_by: null, closed_at: null }
  t.same(
    [...rows],
    [
      { id: 'parked', ...kept },
      { id: 'taken', ...kept },
      { id: 'parked-open', ...open },
      { id: 'parked-again', decision: 'removed', closed_by: 'bea', closed_at: new Date(EPOCH + 5) },
      { id: 'parked-late', ...open },
    ],
  )
})

t.test('R4 a fact that an older version could not read is made into its rows by one that can', async (t) => {
  const { sql, write, retryAll } = await world(t)
  const readable = scanFact({ ordinal: 3, compType: 'trip', compAmount: 10n ** 12n + 1n })
  await write((batch) => batch.parkFact(readable, 0, new Error('an old bug')))
  await write((batch) => batch.parkFact(scanFact({ ordinal: 4, codeHi: 'corrupt' }), 2, new Error('an old bug')))
  t.same(await retryAll(), { resolved: 1, refused: 1 })
  const rows = await sql`select ordinal::int, seq::int, scanned_at, comp_amount from scans`
  t.same([...rows], [{ ordinal: 3, seq: 1, scanned_at: new Date(EPOCH + 1), comp_amount: '1000000.000001' }])
  t.match(await sql`select error_code, error, attempts from dead_letters where resolved_at is null`, [
    { error_code: 'unreadable', error: /corrupt/, attempts: 1 },
  ])
})

t.test('R4 whatever is in a fact that changes rows by key, a row can be made of it', (t) => {
  const modules = [accountFacts, chatFacts, codeFacts, treasuryFacts, userFacts, volumeFacts]
  const types = modules.flatMap((module) =>
    Object.values(module).flatMap((value) => ('make' in Object(value) ? [(value as { type: string }).type] : [])),
  )
  const unreadable = types.filter((type) => {
    try {
      foldFact({ type }, { seq: 1, entry: 0, at: EPOCH }, new Batch(0))
      return false
    } catch {
      return true
    }
  })
  t.ok(types.length > 20)
  const parked = unreadable.filter((type) => !neverParkedFacts.has(type))
  t.same(parked, ['chat.member_mentioned', 'scan.accepted', 'scan.rejected'])
  const by = { userId: uuidOf(1), username: 'ann', tier: 'vip', isAdmin: false } as const
  const mention = { userId: uuidOf(2), channelId: 'general', messageId: 'm', by, because: 'reply' } as const
  for (const fact of [scanFact({ ordinal: 1 }), chatFacts.memberMentioned.make(mention)]) {
    const batch = new Batch(0)
    foldFact(fact, { seq: 1, entry: 0, at: EPOCH }, batch)
    t.ok(batch.writes(targets).every(({ target }) => target.mode === 'insert'))
  }
  t.end()
})
