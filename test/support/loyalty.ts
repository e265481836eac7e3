// A loyalty program on a shard with nothing but memory around it: a clock that is set, ids that count up, a journal
// that is durable at once, and a store that holds what was applied. Every record is checked as it is written: facts and
// inputs against their schemas, its bytes against itself, its postings against zero.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import type { z } from 'zod'
import * as accountFacts from '../../actors/account/facts.js'
import * as campaignFacts from '../../actors/campaign/facts.js'
import * as chatFacts from '../../actors/chat/facts.js'
import { codesFromRandom, formatCode, parseCode } from '../../actors/codes/code-text.js'
import { packCodes } from '../../actors/codes/commands.js'
import * as codeFacts from '../../actors/codes/facts.js'
import * as depositFacts from '../../actors/deposit/facts.js'
import * as liveEventFacts from '../../actors/live-event/facts.js'
import * as payoutFacts from '../../actors/payout/facts.js'
import { createBlakjaks } from '../../actors/programs/blakjaks/program.js'
import type { LoyaltyProgram } from '../../actors/programs/loyalty.js'
import type { Pool } from '../../actors/treasury/facts.js'
import * as treasuryFacts from '../../actors/treasury/facts.js'
import { treasuryOf } from '../../actors/treasury/machine.js'
import type { Device, TierName } from '../../actors/user/facts.js'
import * as userFacts from '../../actors/user/facts.js'
import * as volumeFacts from '../../actors/volume/facts.js'
import * as walletFacts from '../../actors/wallet/facts.js'
import * as withdrawalFacts from '../../actors/withdrawal/facts.js'
import { anonymous, type Command, defineQuery, type Principal, system } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import type { Fact } from '../../engine/fact.js'
import { defaultLimits } from '../../engine/limits.js'
import type { Outcome, Request } from '../../engine/outcome.js'
import { packImage, type StoredOutcome, type TurnRecord, unpackRecord } from '../../engine/record.js'
import { Shard } from '../../engine/shard.js'
import type { Store } from '../../engine/store.js'
import { HandJournal, World } from './engine.js'

export const MINUTE = 60_000
export const HOUR = 60 * MINUTE
export const DAY = 24 * HOUR
export const USDT = 1_000_000n

export type Loyalty = Awaited<ReturnType<typeof startLoyalty>>

/** A UUID that counts up; the prefix tells what it numbers. */
export const uuid = (prefix: string, count: number) => `${prefix.padEnd(8, '0')}-0000-4000-8000-${hex(count, 12)}`
const hex = (count: number, digits: number) => count.toString(16).padStart(digits, '0')

/** Reproducible codes that look random. */
export const drawCodes = (seed: string, count: number, checksum = false) =>
  codesFromRandom(
    createHash('shake256', { outputLength: count * 8 })
      .update(seed)
      .digest(),
    checksum,
  )

/** Codes as an upload carries them, eight bytes each. */
export function packTexts(...texts: readonly string[]) {
  const halves = texts.flatMap((text) => {
    const { hi, lo } = parseCode(text) ?? assert.fail(`${text} is no code`)
    return [hi, lo]
  })
  return Uint8Array.from(packCodes(Uint32Array.from(halves)))
}

/** A disk without delay. */
class InstantJournal extends HandJournal {
  override append(seq: number, body: Uint8Array): void {
    super.append(seq, body)
    this.flush()
  }
}

class Clock extends World {
  override newId = () => uuid('1d', ++this.ids)

  constructor(at: string) {
    super()
    this.at = Date.parse(at)
  }

  override set(to: number | string): void {
    super.set(typeof to === 'string' ? Date.parse(to) : to)
  }
}

type FactType = { type: string; schema: z.ZodType }
const factTypes = new Map<string, z.ZodType>(
  [
    ...[accountFacts, campaignFacts, chatFacts, codeFacts, depositFacts, liveEventFacts, payoutFacts, treasuryFacts],
    ...[userFacts, volumeFacts, walletFacts, withdrawalFacts],
  ]
    .flatMap((module) => Object.values(module) as (FactType | z.ZodType)[])
    .flatMap((value) => (typeof value === 'object' && 'schema' in value ? [[value.type, value.schema] as const] : [])),
)

/** Bytes of any kind as text, so that values are compared by content. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.length).toString('hex')
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]))
}

function checkRecord(record: TurnRecord, bytes: Uint8Array, commands: ReadonlyMap<string, Command>): void {
  assert.deepEqual(plain(unpackRecord(bytes)), plain(record), 'a record reads back as it was written')
  for (const { type, ...fields } of record.facts) {
    const schema = factTypes.get(type) ?? assert.fail(`${type} has no schema`)
    assert.deepEqual(schema.parse(fields), fields, `${type} is what its schema says`)
  }
  const { command, args } = record.input
  const input = (commands.get(command) ?? assert.fail(`no command ${command}`)).input
  assert.deepEqual(plain(input.parse(args)), plain(args), `${command} got what its schema says`)
  for (const { lines } of record.postings) {
    assert.equal(
      lines.reduce((sum, { amount }) => sum + amount, 0n),
      0n,
      'a posting sums to zero (L2)',
    )
  }
}

/** What Postgres would hold: everything applied. */
class MemoryStore implements Store {
  readonly images = new Map<string, Uint8Array>()
  readonly #outcomes = new Map<string, { fingerprint: string; at: number; outcome: StoredOutcome }>()

  apply({ images, idempotency, input }: TurnRecord): void {
    for (const { actor, image } of images) this.images.set(actor, image)
    if (idempotency !== null) this.#outcomes.set(idempotency.key, { ...idempotency, at: input.at })
  }

  async loadImages(ids: readonly string[]) {
    return new Map(ids.flatMap((id) => (this.images.has(id) ? [[id, this.images.get(id)]] : []))) as never
  }

  async loadOutcome(key: string) {
    return this.#outcomes.get(key)
  }
}

export interface LoyaltyOptions {
  readonly program?: LoyaltyProgram
  readonly at?: string
  /** Scans that were accepted before the start. */
  readonly scansBefore?: number
  readonly cachedActorsMax?: number
  /** An earlier life, to be recovered from its journal. */
  readonly after?: { readonly journal: HandJournal }
  /** Nothing reaches the store. */
  readonly isStoreDown?: boolean
}

const signUp = { date_of_birth: '1990-01-01', language: 'en', passwordHash: 'hash', verification: null, isAdmin: false }
type SignUp = Parameters<LoyaltyProgram['commands']['open']['handle']>[1]

export async function startLoyalty(options: LoyaltyOptions = {}) {
  const { program = createBlakjaks(), at = '2026-02-10T12:00:00Z', scansBefore = 0, cachedActorsMax = 10_000 } = options
  const { after, isStoreDown = false } = options
  const journal = new InstantJournal([...(after?.journal.bodies ?? [])])
  const { commands, queries } = program
  const byName = new Map(program.program.commands.map((command) => [command.name, command]))
  const clock = new Clock(at)
  const store = new MemoryStore()
  const records: TurnRecord[] = []
  const faults: unknown[] = []
  let members = 0
  let logins = 0
  const observer = {
    onFault: (error: unknown) => faults.push(error),
    onStopped: (error: unknown) => faults.push(error),
  }
  const shard = new Shard(program.program, journal, store, clock, { ...defaultLimits, cachedActorsMax }, observer)
  journal.onDurable = (seq) => shard.durable(seq)
  shard.subscribe((record) => {
    records.push(record)
    if (!isStoreDown) {
      store.apply(record)
      shard.applied(record.seq)
    }
    noting(() => checkRecord(record, journal.body(record.seq), byName))
  })
  const scans = packImage({ value: 'counting', context: { value: scansBefore }, accounts: {} })
  const pinned = [{ actor: 'counter/scans' as never, image: scans }]
  await shard.recover({ appliedSeq: 0, lastAt: 0, pinned, alarms: [], messages: [], idempotency: [] })

  /** What fails inside the shard's own callbacks comes out at {@link idle}: they must not throw. */
  function noting(check: () => void): void {
    try {
      check()
    } catch (error) {
      faults.push(error)
    }
  }

  /** Resolves when nothing waits for the store any more; fails if anything went wrong that must not. */
  async function idle(): Promise<void> {
    do await new Promise(setImmediate)
    while (shard.gauges().loading_inputs !== 0)
    if (faults.length > 0) throw faults[0]
  }

  function submit<Args, Reply>(
    command: Command<Args, Reply>,
    request: Request<Args>,
    done: (outcome: Outcome<Reply>) => void,
  ): void {
    // As the edge does it.
    const args = command.input.parse(request.args) as Args
    shard.submit(command, { ...request, args }, (outcome) => noting(() => done(outcome)))
  }

  async function attempt<Args, Reply>(
    command: Command<Args, Reply>,
    args: Args,
    who: Principal = system,
    key?: string,
  ): Promise<Outcome<Reply>> {
    const outcome = await new Promise<Outcome<Reply>>((resolve) => submit(command, { args, who, key }, resolve))
    await idle()
    return outcome
  }

  async function run<Args, Reply>(command: Command<Args, Reply>, args: Args, who?: Principal, key?: string) {
    const outcome = await attempt(command, args, who, key)
    if (!outcome.ok) throw outcome.error
    return outcome.reply
  }

  /** The DomainError that the command is refused with. */
  async function refusal<Args, Reply>(
    command: Command<Args, Reply>,
    args: Args,
    who?: Principal,
  ): Promise<DomainError> {
    const outcome = await attempt(command, args, who)
    if (outcome.ok) assert.fail(`${command.name} was not refused`)
    assert.ok(outcome.error instanceof DomainError)
    return outcome.error
  }

  /** The facts of one kind, oldest first. */
  function facts<This extends Fact>({ type }: { type: string; make: (fields: never) => This }): This[] {
    return records.flatMap((record) => record.facts.filter((fact) => fact.type === type)) as This[]
  }

  function signUpArgs(over: Partial<SignUp> = {}): SignUp {
    members += 1
    const session = { sessionId: uuid('5e', members), device: 'mobile' as const }
    const own = {
      userId: uuid('a', members),
      email: `m${members}@example.com`,
      full_name: `Member ${members}`,
      session,
    }
    return { ...signUp, ...own, ...over }
  }

  async function openMember(over: Partial<SignUp> = {}): Promise<Principal> {
    const args = signUpArgs(over)
    await run(commands.open, args)
    const role = args.isAdmin ? ('admin' as const) : ('member' as const)
    const { sessionId = '' } = args.session ?? {}
    return { role, userId: args.userId, sessionId }
  }

  /** A complete batch of codes, active unless told otherwise. */
  async function makeCodes(count: number, status: 'generated' | 'manufactured' | 'invalidated' = 'manufactured') {
    const product_sku = 'SPEARMINT-3MG'
    const { batch } = await run(commands.createBatch, { name: 'Test', quantity: count, product_sku, checksum: false })
    const drawn = drawCodes(`batch ${batch}`, count)
    const packed = Uint8Array.from(packCodes(drawn))
    await run(commands.appendCodes, { batch, after: 0, codes: packed })
    if (status === 'manufactured') await run(commands.manufacture, { codes: packed })
    if (status === 'invalidated') await run(commands.setUnused, { codes: packed, status })
    return Array.from({ length: count }, (_, at) => formatCode(drawn[at * 2] ?? 0, drawn[at * 2 + 1] ?? 0))
  }

  type Scan = Partial<Parameters<typeof commands.submitScan.handle>[1]>
  const scanArgs = (code: string, over: Scan = {}) => ({ code, ip: '203.0.113.7', ...over })
  const scan = (who: Principal, code: string | undefined, over?: Scan) =>
    run(commands.submitScan, scanArgs(code ?? assert.fail('no code left'), over), who)
  const refuseScan = (who: Principal, code: string | undefined, over?: Scan) =>
    refusal(commands.submitScan, scanArgs(code ?? assert.fail('no code left'), over), who)

  const giveTier = ({ userId }: { userId: string }, tier: TierName | null) => run(commands.setTier, { userId, tier })
  const sell = (tins: number, reference: string, userId: string | null = null) =>
    run(commands.recordSale, { tins, reference, userId })
  const fund = (dollars: bigint, reference: string, pool: Pool = 'member') =>
    run(commands.fund, { pool, amount: dollars * USDT, reference })

  type Factor = { step?: number; usedBackupHash?: string }
  const logInArgs = (userId: string, sessionId: string, device: Device, factor: Factor) => {
    return { userId, sessionId, device, ip: '203.0.113.9', step: null, usedBackupHash: null, ...factor }
  }
  /** Logs in as the edge does once the password was right. */
  async function logIn({ userId }: { userId: string }, device: Device = 'mobile', factor: Factor = {}) {
    const sessionId = uuid('10', ++logins)
    await run(commands.logIn, logInArgs(userId, sessionId, device, factor), anonymous)
    return { role: 'member' as const, userId, sessionId }
  }
  const refuseLogIn = ({ userId }: { userId: string }, factor: Factor = {}) =>
    refusal(commands.logIn, logInArgs(userId, 'unused', 'mobile', factor), anonymous)

  /** Whether each session still counts. */
  async function areLive(...sessions: readonly Principal[]): Promise<boolean[]> {
    const asked = await Promise.allSettled(sessions.map((session) => shard.query(queries.me, session)))
    return asked.map(({ status }) => status === 'fulfilled')
  }

  /** Which sessions were closed and why, oldest first. */
  const closings = () => facts(userFacts.sessionClosed).map(({ sessionId, because }) => [sessionId, because])

  const userQuery = defineQuery({
    name: 'test.user',
    actors: ({ userId }: { userId: string }) => [program.accountWorld.user.ref(userId)],
    read: (scope, { userId }) => scope.context(program.accountWorld.user.ref(userId)),
  })
  const balanceQuery = defineQuery({
    name: 'test.balance',
    actors: () => [],
    read: (scope, { pool, name }: { pool: Pool; name: string }) => scope.balance(treasuryOf(pool), name),
  })
  const userOf = ({ userId }: { userId: string }) => shard.query(userQuery, { userId })
  const balance = (name: 'funding' | 'available' | 'held', pool: Pool = 'member') =>
    shard.query(balanceQuery, { pool, name })
  async function viewOf({ userId }: { userId: string }) {
    return (await shard.query(queries.member, { userId })) ?? assert.fail('no such member')
  }

  return {
    ...{ program, commands, queries, shard, clock, journal, store, records },
    ...{
      idle,
      noting,
      submit,
      attempt,
      run,
      refusal,
      facts,
      signUpArgs,
      openMember,
      makeCodes,
      scanArgs,
      scan,
      refuseScan,
    },
    ...{ logIn, refuseLogIn, areLive, closings },
    ...{ giveTier, sell, fund, userOf, balance, viewOf },
  }
}
