/** All checks of a run that has come to rest, by what they look at. */
import { isDeepStrictEqual } from 'node:util'
import { openStates } from '../../actors/payout/open-payouts.js'
import type { LoyaltyProgram } from '../../actors/programs/loyalty.js'
import { pools } from '../../actors/treasury/facts.js'
import type { AnyRow } from '../../persistence/projector/columns.js'
import type { ActorRef, ActorState } from '../actor.js'
import { defineQuery } from '../command.js'
import { revive } from '../outcome.js'
import { packImage, type TurnRecord } from '../record.js'
import { actorsOf } from './audit.js'
import { checkAcceptedMessages, checkMessageRows, checkSayings } from './chat-checks.js'
import type { ChatClients } from './chat-clients.js'
import { type Clients, textOf, type Wish } from './clients.js'
import type { Deployment, World } from './deployment.js'
import { type Story, show } from './story.js'
import type { Tables } from './tables.js'

export async function checkAll(
  world: World,
  deployment: Deployment,
  clients: Clients,
  { sayings }: ChatClients,
): Promise<void> {
  const { story, postgres } = world
  const { history, audit } = deployment
  const { records } = history
  audit.advance(history.bodies, records)
  audit.checkRest()
  checkWishes(story, records, clients)
  checkAcceptedMessages(story, records, clients)
  checkSayings(story, records, sayings)
  checkDatabase(story, postgres.tables, records)
  const pending = postgres.tables.rows('alarms').length + postgres.tables.rows('messages').length
  story.check('the database has nothing pending', pending === 0, () => `${pending} alarms and messages`)
  await checkMemory(story, deployment)
}

/** Every wish that was granted happened once, and every answer is the one that is stored. */
function checkWishes(story: Story, records: readonly TurnRecord[], { wishes }: Clients): void {
  const byKey = new Map<string, TurnRecord>()
  for (const record of records) if (record.idempotency !== null) byKey.set(record.idempotency.key, record)
  for (const wish of wishes) checkWish(story, wish, byKey)
  const scans = new Set(records.filter(isAcceptedScan).map(({ input }) => input.id))
  for (const { name, command, outcome } of wishes) {
    if (command.name !== 'scan.submit' || !outcome?.ok) continue
    const { id } = (outcome.reply as { scan: { id: string } }).scan
    story.check('every scan that was accepted is there', scans.has(id), () => name)
  }
}

const isAcceptedScan = ({ facts }: TurnRecord) => facts.some(({ type }) => type === 'scan.accepted')

function checkWish(story: Story, wish: Wish, byKey: ReadonlyMap<string, TurnRecord>): void {
  const { name, answer, outcome, storedKey } = wish
  const stored = storedKey === undefined ? undefined : byKey.get(storedKey)?.idempotency
  // What changed nothing left no record, and may be decided otherwise when it is asked for again.
  if (stored && wish.isAnswerRecorded) {
    const kept = textOf(revive(stored.outcome))
    story.check('every answer is the stored one', answer === kept, () => `${name}: ${answer}, stored ${kept}`)
  }
  const isReport = storedKey?.includes('!')
  const isThere = !isReport || !outcome?.ok || stored != null
  story.check('every report that was accepted is there', isThere, () => name)
}

/** P1: what the database holds is what a plain fold of the records up to its mark gives, no more and no less. */
export function checkDatabase(story: Story, tables: Tables, all: readonly TurnRecord[]): void {
  const records = all.slice(0, tables.appliedSeq)
  const images = new Map<string, Uint8Array>()
  const outcomes = new Map<string, number>()
  const pending = new Set<string>()
  let lines = 0
  for (const { seq, images: changed, idempotency, postings, consumed, alarms, messages } of records) {
    for (const { actor, image } of changed) images.set(actor, image)
    if (idempotency !== null) outcomes.set(idempotency.key, seq)
    lines += postings.reduce((sum, posting) => sum + posting.lines.length, 0)
    if (consumed !== null)
      pending.delete(consumed.includes('@') ? consumed.slice(0, consumed.lastIndexOf('@')) : consumed)
    for (const { actor, name, at } of alarms) pending[at === null ? 'delete' : 'add'](`${actor}#${name}`)
    for (const { id } of messages) pending.add(id)
  }
  const stored = new Map(tables.rows('actor_images').map(({ actor, image }) => [String(actor), image as Uint8Array]))
  const isSame = stored.size === images.size && [...images].every(([id, image]) => equalBytes(stored.get(id), image))
  story.check('the database has every latest image', isSame, () => `${stored.size} of ${images.size}`)
  const keys = new Map(tables.rows('idempotency').map(({ key, seq }) => [String(key), Number(seq)]))
  story.check('the database has every key', isDeepStrictEqual(keys, outcomes), () => `${keys.size} of ${outcomes.size}`)
  const entries = tables.rows('ledger_entries').length
  story.check('the database has every posting once', entries === lines, () => `${entries} of ${lines} lines`)
  const waiting = new Set([
    ...tables.rows('alarms').map(({ actor, name }) => `${actor}#${name}`),
    ...tables.rows('messages').map(({ seq, number }) => `${seq}.${number}`),
  ])
  story.check('the database has what is pending', isDeepStrictEqual(waiting, pending), () => {
    return `${[...waiting].join()} of ${[...pending].join()}`
  })
  checkFactTables(story, tables, records)
  checkMessageRows(story, tables, records)
}

/** Rows of facts: every one is in its table or parked, once, and only what was refused is parked. */
function checkFactTables(story: Story, tables: Tables, records: readonly TurnRecord[]): void {
  const expected = new Map<string, string[]>([
    ['scans', factsOf(records, 'scan.accepted', 'ordinal')],
    ['comps', factsOf(records, 'comp.awarded', 'compId')],
    ['scan_attempts', factsOf(records, 'scan.rejected', 'attemptId')],
  ])
  const name: Readonly<Record<string, string>> = { scans: 'ordinal', comps: 'id', scan_attempts: 'id' }
  for (const [table, ids] of expected) {
    const column = name[table] as string
    const parked = tables.parked
      .filter((row) => row.table === table && row.kind === 'put')
      .map(({ row }) => row as AnyRow)
    const found = [...tables.rows(table), ...parked].map((row) => String(row[column])).sort()
    const isSame = isDeepStrictEqual(found, [...ids].sort())
    story.check('the database has every fact once', isSame, () => `${table}: ${found} of ${ids}`)
  }
  for (const { table, key, row, errorCode } of tables.parked) {
    const isPoison = errorCode === '23514' && tables.isRefused(table, row as AnyRow)
    const isBehind = errorCode === 'behind' && tables.parked.some((other) => other.key === key && other.kind === 'put')
    story.check('only what is refused is parked', isPoison || isBehind, () => `${table} ${errorCode} ${show(row)}`)
  }
}

const factsOf = (records: readonly TurnRecord[], type: string, field: string) =>
  records
    .flatMap(({ facts }) => facts)
    .filter((fact) => fact.type === type)
    .map((fact) => String((fact as unknown as AnyRow)[field]))

/** What the running shard has in memory, or loads, is what the replay of all inputs leads to. */
export async function checkMemory(story: Story, deployment: Deployment): Promise<void> {
  const { running, history, audit } = deployment
  if (running === undefined) throw new Error('no server runs')
  const query = defineQuery({
    name: 'simulator.state',
    actors: ({ ref }: { ref: ActorRef }) => [ref],
    read: (scope, { ref }): ActorState => ({
      value: scope.value(ref),
      context: scope.context(ref),
      accounts: Object.fromEntries(Object.keys(ref.of.accounts).map((name) => [name, scope.balance(ref, name)])),
    }),
  })
  for (const { ref, state } of actorsOf(history.records, audit.replay.state)) {
    const type = running.program.program.actors.find(({ type: name }) => name === ref.of.type)
    if (type === undefined) throw new Error(`there is no actor type ${ref.of.type}`)
    const found = await running.shard.query(query, { ref: type.ref(ref.key) as ActorRef })
    const accounts = Object.fromEntries(Object.keys(type.accounts).map((name) => [name, state.accounts[name] ?? 0n]))
    const isSame = equalBytes(packImage(found), packImage({ ...state, accounts }))
    story.check('memory is what the inputs lead to', isSame, () => `${ref.id}: ${show(found)}, replayed ${show(state)}`)
  }
  checkTables(story, deployment)
}

function checkTables(story: Story, { running, audit }: Deployment): void {
  if (running === undefined) throw new Error('no server runs')
  const [found, expected] = [portraitOf(running.program), portraitOf(audit.loyalty)]
  for (const [table, content] of Object.entries(expected)) {
    const isSame = isDeepStrictEqual(found[table], content)
    story.check('tables are what the inputs lead to', isSame, () => `${table}: ${show(found[table])}, ${show(content)}`)
  }
}

function portraitOf(program: LoyaltyProgram): Readonly<Record<string, unknown>> {
  const { book, directory, unfunded, open, rules, chat } = program
  return {
    codes: Array.from({ length: book.size }, (_, row) => [book.code(row), book.status(row), book.device(row)]),
    members: Array.from({ length: directory.memberCount }, (_, at) => [
      directory.userIdOf(at + 1),
      directory.memberByEmail(`m${at + 1}@example.com`),
      directory.memberByUsername(`member${at + 1}`),
    ]),
    waiting: [...unfunded.waiting()],
    open: pools.map((pool) => openStates.map((state) => [...open.in(pool, state)])),
    // X1
    messages: rules.chat.channels.map(({ id }) => [
      chat.recentMessages.since(id, 0),
      chat.recentMessages.latest(id, chat.recentMessages.messagesKept),
    ]),
  }
}

const equalBytes = (a: Uint8Array | undefined, b: Uint8Array) => a !== undefined && Buffer.compare(a, b) === 0
