/** The checks that look at a whole run when it has come to rest. */
import { isDeepStrictEqual } from 'node:util'
import { formatCode } from '../../actors/codes/code-text.js'
import type { LoyaltyProgram } from '../../actors/programs/loyalty.js'
import type { TierName } from '../../actors/user/facts.js'
import type { ScanReply } from '../../actors/user/scan.js'
import { alarmId } from '../alarms.js'
import { accountRule } from '../ledger.js'
import { revive } from '../outcome.js'
import type { TurnRecord } from '../record.js'
import { Replay } from '../replay.js'
import { Oracle, type OracleMember } from './loyalty-oracle.js'
import { storiesOfOracle, storiesOfRecords, storyOfScan } from './loyalty-stories.js'
import { smallProgram } from './program.js'
import type { Story } from './story.js'

const SHOWN_CHARACTERS_MAX = 600

export function show(value: unknown): string {
  const text = JSON.stringify(value, (_, item: unknown) => {
    if (typeof item === 'bigint') return `${item}n`
    return item instanceof Uint8Array ? `${item.length} bytes` : item
  })
  return text.length > SHOWN_CHARACTERS_MAX ? `${text.slice(0, SHOWN_CHARACTERS_MAX)} …` : text
}

export interface Replayed {
  readonly loyalty: LoyaltyProgram
  readonly state: Replay['state']
}

/** T5: running every input again gives every record again, byte for byte. Returns the state it leads to. */
export function checkReplay(story: Story, bodies: readonly Uint8Array[]): Replayed {
  const loyalty = smallProgram()
  const replay = new Replay(loyalty.program, 1_000)
  for (const [at, body] of bodies.entries()) {
    const { isSame, record } = replay.run(body)
    story.check('the same inputs give the same records', isSame, () => `record ${at + 1}: ${show(record)}`)
  }
  return { loyalty, state: replay.state }
}

/** Alarms and messages happen once each, alarms never early, and nothing that was not set or told. */
export function checkDeliveries(story: Story, records: readonly TurnRecord[]): void {
  const alarms = new Map<string, { readonly id: string; readonly at: number }>()
  const messages = new Set<string>()
  for (const { seq, input, consumed, alarms: changes, messages: told } of records) {
    if (consumed !== null && !messages.delete(consumed)) {
      const name = consumed.slice(0, consumed.lastIndexOf('@'))
      const alarm = alarms.get(name)
      const isDue = alarm?.id === consumed
      story.check('nothing is delivered that is not due', isDue, () => `record ${seq} consumes ${consumed}`)
      story.check('an alarm never fires early', (alarm?.at ?? 0) <= input.at, () => `${consumed} at ${input.at}`)
      alarms.delete(name)
    }
    for (const change of changes) {
      const name = `${change.actor}#${change.name}`
      if (change.at === null) alarms.delete(name)
      else alarms.set(name, { id: alarmId(change), at: change.at })
    }
    for (const { id } of told) messages.add(id)
  }
  story.check('no alarm is lost', alarms.size === 0, () => [...alarms.keys()].join())
  story.check('no message is lost', messages.size === 0, () => [...messages].join())
}

/** L2, L3: each posting and so every currency sums to zero; the balances in the images are the sums of the postings. */
export function checkLedger(story: Story, records: readonly TurnRecord[], { state }: Replayed): void {
  const balances = new Map<string, bigint>()
  for (const { seq, postings } of records) {
    for (const { kind, lines } of postings) {
      const sum = lines.reduce((total, { amount }) => total + amount, 0n)
      story.check('a posting sums to zero', sum === 0n, () => `${kind} of record ${seq} is off by ${sum}`)
      for (const { account, amount } of lines) {
        const balance = (balances.get(account) ?? 0n) + amount
        balances.set(account, balance)
        const isAllowed = balance >= 0n || account.endsWith(':funding')
        story.check('no account is overdrawn', isAllowed, () => `${account} holds ${balance} after record ${seq}`)
      }
    }
  }
  for (const type of state.program.actors) {
    for (const { ref, state: held } of actorsOf(records, state).filter(({ ref }) => ref.of === type)) {
      for (const [name, balance] of Object.entries(held.accounts)) {
        accountRule(ref, name)
        const posted = balances.get(`${ref.id}:${name}`) ?? 0n
        story.check(
          'balances are the sums of postings',
          posted === balance,
          () => `${ref.id}:${name} ${balance} ${posted}`,
        )
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
    const state = type && residents.get(id, type.residency)?.state
    return type === undefined || state === undefined ? [] : [{ ref: type.ref(id.slice(slash + 1)), state }]
  })
}

/** The rules, told by a plain loop over the inputs in their order. */
export function checkRules(story: Story, records: readonly TurnRecord[]): Oracle {
  const told = new Telling(story)
  for (const record of records) told.take(record)
  const [expected, found] = [storiesOfOracle(told.oracle), storiesOfRecords(records)]
  for (const [name, story_] of Object.entries(expected)) {
    story.check(
      name,
      isDeepStrictEqual(found[name], story_),
      () => `${show(found[name])}, the rules say ${show(story_)}`,
    )
  }
  return told.oracle
}

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
        else this.#member(args.userId).suspended = false
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
