// What is restored from Postgres is what a plain loop over the records ends with, wherever batches end (P1, J3).
import fc from 'fast-check'
import t from 'tap'
import { CodeBook, type CodeStatus, runsOf } from '../actors/codes/code-book.js'
import { Directory, type DirectoryDelta, keyOf, type NameKind } from '../actors/members/directory.js'
import { type OpenPayoutDelta, OpenPayouts, openStates } from '../actors/payout/open-payouts.js'
import { type Pool, pools } from '../actors/treasury/facts.js'
import { UnfundedComps, type UnfundedDelta } from '../actors/treasury/unfunded-comps.js'
import { type OpenWithdrawalDelta, OpenWithdrawals } from '../actors/withdrawal/open-withdrawals.js'
import { alarmId } from '../engine/alarms.js'
import type { Fact } from '../engine/fact.js'
import type { Alarm, AlarmChange, Message, TurnRecord } from '../engine/record.js'
import type { Table } from '../engine/table.js'
import type { Transaction } from '../persistence/postgres/connection.js'
import { defaultProjectorLimits } from '../persistence/projector/limits.js'
import { readCheckpoint } from '../persistence/restore/checkpoint.js'
import { restoreCodeBook } from '../persistence/restore/code-book.js'
import { restoreDirectory } from '../persistence/restore/directory.js'
import { restoreOpenPayouts } from '../persistence/restore/open-payouts.js'
import { restoreOpenWithdrawals } from '../persistence/restore/open-withdrawals.js'
import { bothInOneSnapshot } from '../persistence/restore/snapshot.js'
import { restoreUnfundedComps } from '../persistence/restore/unfunded-comps.js'
import { PostgresStore } from '../persistence/store.js'
import { open, startOnTemplate } from './support/postgres.js'
import {
  actorId,
  applyAll,
  EPOCH,
  freshDatabase,
  freshJournal,
  type Parts,
  SHARD,
  scanFact,
  uuidOf,
} from './support/projection.js'

t.setTimeout(240_000)

const campaignIds = ['spring', 'autumn']
const small = fc.nat({ max: 5 })
/** The decoder renames the key `__proto__`, which no input has: the edge drops it. */
const plain = fc.jsonValue().filter((value) => !JSON.stringify(value).includes('"__proto__"'))
/** What records do, in terms that make sense whatever came before; picks are taken modulo what is there. */
const step = fc.oneof(
  fc.record({ do: fc.constant('image' as const), actor: small, bytes: fc.uint8Array({ maxLength: 40 }) }),
  fc.record({ do: fc.constant('alarm' as const), name: small, at: fc.option(fc.nat()), args: plain }),
  fc.record({ do: fc.constant('fire' as const), pick: fc.nat(), again: fc.option(fc.nat({ max: 3 })) }),
  fc.record({ do: fc.constant('tell' as const), count: fc.integer({ min: 1, max: 3 }), args: plain }),
  fc.record({ do: fc.constant('hear' as const), pick: fc.nat(), tell: fc.boolean() }),
  fc.record({ do: fc.constant('repeat' as const), key: small, forever: fc.boolean(), reply: plain }),
  fc.record({ do: fc.constant('member' as const) }),
  fc.record({ do: fc.constant('rename' as const), member: fc.nat(), kind: fc.constantFrom('email', 'username') }),
  fc.record({ do: fc.constant('codes' as const), count: fc.integer({ min: 1, max: 30 }) }),
  fc.record({
    do: fc.constant('status' as const),
    picks: fc.array(fc.nat(), { minLength: 1, maxLength: 20 }),
    status: fc.constantFrom('generated', 'manufactured', 'manufactured', 'manufactured', 'invalidated'),
  }),
  fc.record({ do: fc.constant('scan' as const), pick: fc.nat(), device: fc.nat({ max: 63 }) }),
  fc.record({
    do: fc.constant('wait' as const),
    amount: fc.bigInt(1n, 10n ** 12n),
    campaign: fc.constantFrom(undefined, ...campaignIds),
  }),
  fc.record({ do: fc.constant('fund' as const), pick: fc.nat() }),
  fc.record({
    do: fc.constant('payout' as const),
    payout: small,
    state: fc.constantFrom(...openStates, null),
    amount: fc.bigInt(1n, 10n ** 12n),
  }),
  fc.record({ do: fc.constant('withdraw' as const), withdrawal: small, isOver: fc.boolean() }),
)
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never
type Of<Do extends Step['do']> = Extract<Step, { do: Do }>

const waitingIn = (comps: UnfundedComps) => [undefined, ...campaignIds].map((id) => [...comps.waiting(id)])

const pickOf = <Item>(items: readonly Item[], pick: number): Item | undefined => items[pick % (items.length || 1)]

/** The plain loop: makes a record of a step, and applies it to simple maps. */
class Oracle {
  readonly images = new Map<string, string>()
  readonly alarms = new Map<string, Alarm>()
  readonly messages = new Map<string, Message>()
  readonly repeats = new Map<string, { at: number; seq: number; forever: boolean; reply: unknown }>()
  readonly book = new CodeBook()
  readonly directory = new Directory()
  readonly unfunded = new UnfundedComps()
  readonly open = new OpenPayouts()
  readonly withdrawals = new OpenWithdrawals()
  readonly names: { kind: NameKind; text: string; member: number }[] = []
  #scans = 0
  #texts = 0

  parts(step: Step, seq: number): Parts {
    switch (step.do) {
      case 'image': {
        const key = step.actor < 3 ? `counter/${step.actor}` : `user/${step.actor}`
        return { images: [{ actor: actorId(key), image: step.bytes }] }
      }
      case 'alarm':
        return { alarms: [alarmOf(step.name, step.at, step.args)] }
      case 'fire':
        return this.#fire(step)
      case 'tell':
        return { messages: told(seq, step.count, step.args) }
      case 'hear': {
        const heard = pickOf([...this.messages.keys()], step.pick)
        return heard === undefined ? {} : { consumed: heard, messages: told(seq, step.tell ? 1 : 0, null) }
      }
      case 'repeat': {
        const key = `${step.forever ? 'sale' : 'key'}-${step.key}`
        const outcome = { ok: true as const, reply: step.reply }
        return { idempotency: { key, fingerprint: `at ${seq}`, outcome, forever: step.forever } }
      }
      case 'member':
        return members(this.#join())
      case 'rename':
        return members(this.#rename(step))
      case 'wait':
        return unfunded({
          ...{ op: 'waits', compId: uuidOf(seq), userId: uuidOf(seq % 3), amount: step.amount },
          ...(step.campaign !== undefined && { campaign: step.campaign }),
        })
      case 'fund': {
        const paid = pickOf(waitingIn(this.unfunded).flat(), step.pick)
        return paid === undefined ? {} : unfunded({ op: 'funded', compId: paid.compId })
      }
      case 'payout':
        return payout(step)
      case 'withdraw':
        return withdrawal(step)
      default:
        return this.#codes(step)
    }
  }

  apply(record: TurnRecord): void {
    for (const { actor, image } of record.images) this.images.set(actor, Buffer.from(image).toString('hex'))
    // As the engine does: what a turn consumed is gone before what it set begins.
    for (const [key, alarm] of this.alarms) if (alarmId(alarm) === record.consumed) this.alarms.delete(key)
    for (const change of record.alarms) {
      if (change.at === null) this.alarms.delete(`${change.actor}#${change.name}`)
      else this.alarms.set(`${change.actor}#${change.name}`, change)
    }
    for (const message of record.messages) this.messages.set(message.id, message)
    if (record.consumed !== null) this.messages.delete(record.consumed)
    if (record.idempotency !== null) {
      const { key, forever, outcome } = record.idempotency
      const reply = outcome.ok ? outcome.reply : undefined
      this.repeats.set(key, { at: record.input.at, seq: record.seq, forever, reply })
    }
    const tables: readonly Table<never>[] = [this.book, this.directory, this.unfunded, this.open, this.withdrawals]
    for (const { table, delta } of record.deltas) tables.find(({ name }) => name === table)?.apply(delta as never)
  }

  #fire({ pick, again }: Of<'fire'>): Parts {
    const due = pickOf([...this.alarms.values()], pick)
    if (due === undefined) return {}
    // The turn it starts may set the same alarm anew, also for the same moment.
    const next = again === null ? [] : [{ ...due, at: due.at + again }]
    return { consumed: alarmId(due), alarms: next }
  }

  #join(): DirectoryDelta[] {
    const number = this.directory.nextMemberNumber
    const claims = (['email', 'username'] as const).map((kind) => this.#claim(kind, number))
    return [{ op: 'member', number, userId: uuidOf(number) }, ...claims]
  }

  #rename({ member: pick, kind }: Of<'rename'>): DirectoryDelta[] {
    const held = pickOf(
      this.names.filter((name) => name.kind === kind && this.directory.memberByEmail(name.text) !== null),
      pick,
    )
    if (held === undefined || kind !== 'email') return []
    return [{ op: 'release', kind, ...keyOf(held.text) }, this.#claim(kind, held.member)]
  }

  #claim(kind: NameKind, member: number): DirectoryDelta {
    const text = `${kind}-${++this.#texts}`
    this.names.push({ kind, text, member })
    return { op: 'claim', kind, member, ...keyOf(text) }
  }

  #codes(step: Of<'codes'> | Of<'status'> | Of<'scan'>): Parts {
    const { book } = this
    if (step.do === 'codes') {
      const codes = Buffer.alloc(step.count * 8)
      for (let at = 0; at < step.count; at++) codes.writeBigUInt64BE((9n << 32n) | BigInt(book.size + at), at * 8)
      return { deltas: [{ table: 'codes', delta: { op: 'append', batch: 1 + (step.count % 3), codes } }] }
    }
    if (step.do === 'status') {
      const status = step.status as Exclude<CodeStatus, 'scanned'>
      const rows = step.picks.map((pick) => pick % (book.size || 1)).filter((row) => row < book.size)
      const runs = runsOf(rows.filter((row) => book.mayBecome(row, status)))
      return runs.length === 0 ? {} : { deltas: [{ table: 'codes', delta: { op: 'status', runs, status } }] }
    }
    const rows = Array.from({ length: book.size }, (_, row) => row)
    const row = pickOf(
      rows.filter((row) => book.mayBecome(row, 'scanned')),
      step.pick,
    )
    if (row === undefined) return {}
    const { device } = step
    this.#scans += 1
    // One in four rows is refused by Postgres; the code is used up all the same (P3).
    const ip = step.pick % 4 === 0 ? 'nowhere' : '203.0.113.7'
    const fact = scanFact({ ordinal: this.#scans, codeRow: row, codeHi: 9, codeLo: row, deviceFingerprint: device, ip })
    return { facts: [fact as Fact], deltas: [{ table: 'codes', delta: { op: 'scanned', row, device } }] }
  }
}

function alarmOf(name: number, at: number | null, args: unknown): AlarmChange {
  const actor = actorId(`user/${name % 2}`)
  return at === null ? { actor, name: `n${name}`, at } : { actor, name: `n${name}`, at, command: 'ring', args }
}

const told = (seq: number, count: number, args: unknown): Message[] =>
  Array.from({ length: count }, (_, index) => ({ id: `${seq}.${index}`, command: 'hear', args }))
const members = (deltas: DirectoryDelta[]): Parts => ({ deltas: deltas.map((delta) => ({ table: 'members', delta })) })
const unfunded = (delta: UnfundedDelta): Parts => ({ deltas: [{ table: 'unfunded-comps', delta }] })

function payout({ payout: number, state, amount }: Of<'payout'>): Parts {
  const payoutId = `payout-${number}`
  const wallet = pools[number % pools.length] as Pool
  const delta: OpenPayoutDelta =
    state === null
      ? { op: 'over', payoutId }
      : { op: 'is', payoutId, wallet, state, payee: `payee-${number % 2}`, amount }
  return { deltas: [{ table: 'open-payouts', delta }] }
}

function withdrawal({ withdrawal: number, isOver }: Of<'withdraw'>): Parts {
  const withdrawalId = `withdrawal-${number}`
  const delta: OpenWithdrawalDelta = isOver
    ? { op: 'over', withdrawalId }
    : { op: 'is', withdrawalId, userId: `member-${number % 2}` }
  return { deltas: [{ table: 'open-withdrawals', delta }] }
}

/** Withdrawals in their order, and how many are open of each member. */
const openWithdrawalContents = (open: OpenWithdrawals) => [
  [...open.all()],
  [0, 1].map((member) => open.countOf(`member-${member}`)),
]

/** Every line of open payouts, in its order, with its total; and who waits for an address. */
const openContents = (open: OpenPayouts) => [
  ...pools.flatMap((pool) => openStates.map((state) => [[...open.in(pool, state)], open.total(pool, state)])),
  ...[0, 1].map((payee) => open.waitingFor(`payee-${payee}`, 100)),
]

/** Everything a code book tells, row by row. */
const bookContents = (book: CodeBook) =>
  Array.from({ length: book.size }, (_, row) => [book.code(row), book.status(row), book.device(row), book.batchOf(row)])

t.test('restored state equals the fold of the records, wherever batches end', async (t) => {
  const server = await startOnTemplate(t)
  const admin = open(t, server.url, 1)
  const { sql, url } = await freshDatabase(t, admin, server.url)
  const tables = (
    await sql<{ name: string }[]>`select relname as name from pg_class
    where relkind = 'r' and relnamespace = 'public'::regnamespace and relname <> 'schema_migrations'`
  ).map(({ name }) => name)

  const property = async (steps: readonly Step[], batchRecordsMax: number) => {
    await sql.unsafe(`truncate ${tables.join(', ')}`)
    const oracle = new Oracle()
    const { directory, write, close } = await freshJournal(t)
    for (const [index, next] of steps.entries()) {
      const [record] = await write([oracle.parts(next, index + 1)])
      if (record !== undefined) oracle.apply(record)
    }
    const limits = { ...defaultProjectorLimits, batchRecordsMax, lingerRecordsMax: 1 }
    await applyAll({ url, directory, limits }, steps.length)
    await close()

    const [book, directoryRestored, waiting] = [new CodeBook(), new Directory(), new UnfundedComps()]
    const openPayouts = new OpenPayouts()
    const openWithdrawals = new OpenWithdrawals()
    const readAll = async (tx: Transaction) => {
      await restoreCodeBook(tx, book)
      await restoreUnfundedComps(tx, waiting)
      await restoreOpenPayouts(tx, openPayouts)
      await restoreOpenWithdrawals(tx, openWithdrawals)
      return await readCheckpoint(tx, SHARD, ['counter'])
    }
    const checkpoint = await bothInOneSnapshot([sql, sql], readAll, (tx) => restoreDirectory(tx, directoryRestored))
    t.equal(checkpoint.appliedSeq, steps.length)
    t.equal(checkpoint.lastAt, EPOCH + steps.length * 1_000)
    const pinned = [...checkpoint.pinned].map(({ actor, image }) => [actor, Buffer.from(image).toString('hex')])
    t.same(pinned, [...oracle.images].filter(([actor]) => actor.startsWith('counter/')).sort())
    const byId = (a: Alarm, b: Alarm) => (alarmId(a) < alarmId(b) ? -1 : 1)
    t.same([...checkpoint.alarms].sort(byId), [...oracle.alarms.values()].sort(byId))
    t.same([...checkpoint.messages], [...oracle.messages.values()])
    const inOrder = [...oracle.repeats].sort(([, a], [, b]) => a.seq - b.seq)
    t.same(
      [...checkpoint.idempotency].map(({ key, at, seq }) => [key, at, seq]),
      inOrder.filter(([, { forever }]) => !forever).map(([key, { at, seq }]) => [key, at, seq]),
    )

    t.same(bookContents(book), bookContents(oracle.book))
    t.same(
      [1, 2, 3].map((batch) => book.batchCounts(batch)),
      [1, 2, 3].map((batch) => oracle.book.batchCounts(batch)),
    )
    t.equal(directoryRestored.memberCount, oracle.directory.memberCount)
    for (const { kind, text } of oracle.names) {
      const memberOf = (of: Directory) => (kind === 'email' ? of.memberByEmail(text) : of.memberByUsername(text))
      t.equal(memberOf(directoryRestored), memberOf(oracle.directory))
    }
    for (let member = 0; member <= oracle.directory.memberCount; member++) {
      t.equal(directoryRestored.userIdOf(member), oracle.directory.userIdOf(member))
    }
    t.same(waitingIn(waiting), waitingIn(oracle.unfunded))
    t.equal(waiting.size, oracle.unfunded.size)
    t.same(openContents(openPayouts), openContents(oracle.open))
    t.same(openWithdrawalContents(openWithdrawals), openWithdrawalContents(oracle.withdrawals))

    const store = new PostgresStore(sql, SHARD)
    const loaded = await store.loadImages([...oracle.images.keys()].map(actorId))
    t.same(new Map([...loaded].map(([id, image]) => [id, Buffer.from(image).toString('hex')])), oracle.images)
    for (const [key, { at, seq, reply }] of oracle.repeats) {
      t.same(await store.loadOutcome(key), { fingerprint: `at ${seq}`, at, outcome: { ok: true, reply } })
    }
  }
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 120, size: 'max' }),
      fc.integer({ min: 1, max: 60 }),
      property,
    ),
    { numRuns: 40 },
  )
})

t.test(
  'what is read on two connections at once is of one state, whatever is committed between the reads',
  async (t) => {
    const { url } = await startOnTemplate(t)
    const sql = open(t, url, 3)
    await sql`create table things (n int)`
    await sql`insert into things values (1)`
    const countIn = async (tx: Transaction) => (await tx`select n from things`).length
    let isCommitted: () => void = () => {}
    const committed = new Promise<void>((resolve) => {
      isCommitted = resolve
    })
    let other = -1
    const first = await bothInOneSnapshot(
      [sql, sql],
      async (tx) => {
        await sql`insert into things values (2)`
        isCommitted()
        return await countIn(tx)
      },
      async (tx) => {
        await committed
        other = await countIn(tx)
      },
    )
    t.same([first, other, (await sql`select n from things`).length], [1, 1, 2])
    await t.rejects(
      bothInOneSnapshot([sql, sql], countIn, (tx) => tx`select no_such_column from things`.then(() => {})),
      /no_such_column/,
    )
  },
)
