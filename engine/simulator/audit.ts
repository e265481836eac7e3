/** The checks that look at a whole run when it has come to rest. */
import { isDeepStrictEqual } from 'node:util'
import { formatCode } from '../../actors/codes/code-text.js'
import type { TierName } from '../../actors/user/facts.js'
import type { ScanReply } from '../../actors/user/scan.js'
import { alarmId } from '../alarms.js'
import { revive } from '../outcome.js'
import type { TurnRecord } from '../record.js'
import { Replay } from '../replay.js'
import { Channels } from './chat-checks.js'
import { Oracle, type OracleMember } from './loyalty-oracle.js'
import { storiesOfOracle, storiesOfRecords, storyOfScan } from './loyalty-stories.js'
import { smallProgram } from './program.js'
import { type Story, show } from './story.js'

/**
 * Follows the records that are on the disk for good, and checks each: at every start, those that were found, and at the
 * end the rest.
 */
export class Audit {
  /** What the inputs lead to, beside the server that took them. */
  readonly loyalty = smallProgram()
  readonly replay = new Replay(this.loyalty.program, ACTORS_MAX)
  readonly #deliveries: Deliveries
  readonly #ledger: Ledger
  readonly #telling: Telling
  readonly #channels: Channels

  constructor(readonly story: Story) {
    this.#deliveries = new Deliveries(story)
    this.#ledger = new Ledger(story)
    this.#telling = new Telling(story)
    this.#channels = new Channels(story)
  }

  /** Takes the records up to the last one given. */
  advance(bodies: readonly Uint8Array[], records: readonly TurnRecord[]): void {
    const { story, replay } = this
    for (let { seq } = replay.state; seq < bodies.length; seq++) {
      const record = records[seq] as TurnRecord
      const again = replay.run(bodies[seq] as Uint8Array)
      // T5
      story.check('the same inputs give the same records', again.isSame, () => show(again.record))
      this.#deliveries.take(record)
      this.#ledger.take(record)
      this.#telling.take(record)
      this.#channels.take(record)
    }
    const [expected, found] = [storiesOfOracle(this.#telling.oracle), storiesOfRecords(records)]
    for (const name of Object.keys(expected) as (keyof typeof expected)[]) {
      if (name === DUE) continue
      const rules = expected[name]
      const isSame = isDeepStrictEqual(found[name], rules)
      story.check(name, isSame, () => `${show(found[name])}, the rules say ${show(rules)}`)
    }
    this.#ledger.check(actorsOf(records, replay.state))
  }

  /** Nothing is under way any more. */
  checkRest(): void {
    this.#deliveries.check()
    const { due } = this.#telling.oracle
    this.story.check(DUE, due.length === 0, () => due.join())
  }
}

/** The messages that the rules expect and that may still be on their way. */
const DUE = 'messages that are due'
const ACTORS_MAX = 1_000

/** Alarms and messages happen once each, alarms never early, and nothing that was not set or told. */
class Deliveries {
  readonly #alarms = new Map<string, { readonly id: string; readonly at: number }>()
  readonly #messages = new Set<string>()

  constructor(readonly story: Story) {}

  take({ seq, input, consumed, alarms, messages }: TurnRecord): void {
    if (consumed !== null && !this.#messages.delete(consumed)) {
      const name = consumed.slice(0, consumed.lastIndexOf('@'))
      const alarm = this.#alarms.get(name)
      const isDue = alarm?.id === consumed
      this.story.check('nothing is delivered that is not due', isDue, () => `record ${seq} consumes ${consumed}`)
      this.story.check('an alarm never fires early', (alarm?.at ?? 0) <= input.at, () => `${consumed} at ${input.at}`)
      this.#alarms.delete(name)
    }
    for (const change of alarms) {
      const name = `${change.actor}#${change.name}`
      if (change.at === null) this.#alarms.delete(name)
      else this.#alarms.set(name, { id: alarmId(change), at: change.at })
    }
    for (const { id } of messages) this.#messages.add(id)
  }

  check(): void {
    this.story.check('no alarm is lost', this.#alarms.size === 0, () => [...this.#alarms.keys()].join())
    this.story.check('no message is lost', this.#messages.size === 0, () => [...this.#messages].join())
  }
}

/** L2, L3: each posting sums to zero, no account is overdrawn, and balances are the sums of postings. */
class Ledger {
  readonly #balances = new Map<string, bigint>()

  constructor(readonly story: Story) {}

  take({ seq, postings }: TurnRecord): void {
    for (const { kind, lines } of postings) {
      const sum = lines.reduce((total, { amount }) => total + amount, 0n)
      this.story.check('a posting sums to zero', sum === 0n, () => `${kind} of record ${seq} is off by ${sum}`)
      for (const { account, amount } of lines) {
        const balance = (this.#balances.get(account) ?? 0n) + amount
        this.#balances.set(account, balance)
        const isAllowed = balance >= 0n || account.endsWith(':funding')
        this.story.check('no account is overdrawn', isAllowed, () => `${account} has ${balance} after record ${seq}`)
      }
    }
  }

  check(actors: ReturnType<typeof actorsOf>): void {
    for (const { ref, state } of actors) {
      for (const [name, balance] of Object.entries(state.accounts)) {
        const posted = this.#balances.get(`${ref.id}:${name}`) ?? 0n
        const isSame = posted === balance
        this.story.check('balances are the sums of postings', isSame, () => `${ref.id}:${name} ${balance} ${posted}`)
      }
    }
  }
}

/** Every actor that a record has an image of. */
export function actorsOf(records: readonly TurnRecord[], { program, residents }: Replay['state']) {
  const ids = new Set(records.flatMap(({ images }) => images.map(({ actor }) => actor)))
  return [...ids].flatMap((id) => {
    const slash = id.indexOf('/')
    const type = program.actors.find((candidate) => candidate.type === id.slice(0, slash))
    const state = type && residents.state(id, type.residency)
    return type === undefined || state === undefined ? [] : [{ ref: type.ref(id.slice(slash + 1)), state }]
  })
}

/** The rules, told by a plain loop over the inputs in their order. */
class Telling {
  readonly oracle = new Oracle()
  readonly #usernames = new Map<string, OracleMember>()

  constructor(readonly story: Story) {}

  take(record: TurnRecord): void {
    const { oracle } = this
    const { input, consumed, deltas } = record
    const { command, at } = input
    const args = input.args as Args
    if (consumed !== null) {
      if (command !== 'account.unlock') oracle.deliver(command, args, at)
      return
    }
    switch (command) {
      case 'account.open':
        this.#open(args)
        break
      case 'codes.append':
        for (const text of textsOf(args.codes)) oracle.codes.set(text, 'generated')
        break
      case 'codes.manufacture':
        if (deltas.length > 0) oracle.moveCodes(textsOf(args.codes), 'manufactured')
        break
      case 'codes.set_unused':
        if (deltas.length > 0) oracle.moveCodes(textsOf(args.codes), args.status)
        break
      case 'scan.submit':
        this.#scan(record, args.code, at)
        break
      case 'treasury.fund':
        oracle.fund(args.amount, args.reference)
        break
      case 'volume.record_sale':
        oracle.sell(args.tins, args.reference, args.userId === null ? null : this.#member(args.userId), at)
        break
      case 'volume.unlock':
        oracle.unlock(args.compType)
        break
      case 'volume.set_threshold':
        oracle.setThreshold(args.compType, args.tinsPerMonth, at)
        break
      case 'user.set_tier':
        oracle.setTier(this.#member(args.userId), args.tier, at)
        break
      case 'user.set_standing':
        if (args.standing === 'suspended') oracle.suspend(this.#member(args.userId))
        else oracle.setSuspended(this.#member(args.userId), false)
        break
      case 'account.log_in':
        this.#member(args.userId).session = args.sessionId
    }
  }

  #open({ userId, full_name, ref, session }: Args): void {
    const referrer = ref === undefined ? null : (this.#usernames.get(ref.toLowerCase()) ?? null)
    this.oracle.addMember(userId, session.sessionId, referrer)
    this.#usernames.set(full_name.toLowerCase().replaceAll(' ', ''), this.#member(userId))
  }

  #scan({ seq, input, idempotency, facts }: TurnRecord, code: string, at: number): void {
    const { userId, sessionId } = input.who
    const expected = this.oracle.scan(this.#member(userId), sessionId, code, at)
    if (idempotency !== null) {
      const found = storyOfScan(revive(idempotency.outcome) as Parameters<typeof storyOfScan>[0] & { reply: ScanReply })
      const isSame = isDeepStrictEqual(found, expected)
      this.story.check(
        'a scan is answered as the rules say',
        isSame,
        () => `record ${seq}: ${show(found)} ${show(expected)}`,
      )
    }
    const isAccepted = facts.some(({ type }) => type === 'scan.accepted')
    const same = isAccepted === (typeof expected === 'object')
    this.story.check(
      'a scan is accepted as the rules say',
      same,
      () => `record ${seq}: ${isAccepted} ${show(expected)}`,
    )
  }

  #member(userId: string): OracleMember {
    const member = this.oracle.members.find((known) => known.userId === userId)
    if (member === undefined) throw new Error(`there is no member ${userId}`)
    return member
  }
}

/** The arguments of all commands that clients send. */
interface Args {
  readonly userId: string
  readonly full_name: string
  readonly ref?: string
  readonly session: { readonly sessionId: string }
  readonly sessionId: string
  readonly codes: Uint8Array
  readonly status: 'invalidated' | 'generated'
  readonly code: string
  readonly amount: bigint
  readonly reference: string
  readonly tins: number
  readonly compType: string
  readonly tinsPerMonth: number
  readonly tier: TierName | null
  readonly standing: 'active' | 'suspended'
}

function textsOf(packed: Uint8Array): string[] {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength)
  return Array.from({ length: packed.byteLength / 8 }, (_, at) =>
    formatCode(view.getUint32(at * 8), view.getUint32(at * 8 + 4)),
  )
}
