// Hunts: an offset or number skipped or given twice, a client that comes back and does not have what the others have, a
// count that is not the number of those who reacted, a pin without its message, a message twice for one key, a replay
// or recovery that tells another story. Random histories, and a client that saw every fact as the measure of all.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { type Message, memberMentioned, messageChanged, messagePosted, reactionSet } from '../actors/chat/facts.js'
import { type RecentMessage, RecentMessages } from '../actors/chat/recent-messages.js'
import { createBlakjaks } from '../actors/programs/blakjaks/program.js'
import { type Command, type Principal, system } from '../engine/command.js'
import { DomainError } from '../engine/errors.js'
import { Replay } from '../engine/replay.js'
import { type ChatWorld, checkOffsets, startChat } from './support/chat.js'
import { HOUR, MINUTE, uuid } from './support/loyalty.js'

const CHANNELS = ['general', 'whale-room', 'announcements'] as const
const MEMBERS = 5

const member = fc.noBias(fc.nat({ max: MEMBERS - 1 }))
const channelId = fc.constantFrom('general', 'general', 'general', ...CHANNELS)
/** Counted from the last one back, so that most are there. */
const back = fc.nat({ max: 14 })
const text = fc.constantFrom('one', 'two', 'three', '@bob hi', '@ann @BOB', 'scam', 'https://example.com', '👍', '')
const emoji = fc.constantFrom('👍', '🎉', 'x')
const key = fc.option(fc.nat({ max: 5 }), { freq: 2 })
const ms = fc.constantFrom(1, 500, 1_000, 2_000, MINUTE, 5 * MINUTE, HOUR)
const modes = fc.record(
  {
    slowModeSeconds: fc.constantFrom(0, 0, 5),
    emoteOnly: fc.constantFrom(false, false, true),
    uniqueMessages: fc.boolean(),
    linksFrom: fc.constantFrom(null, 'whale' as const),
  },
  { requiredKeys: [] },
)
const a = <Kind extends string, Fields extends object>(weight: number, kind: Kind, fields: Fields) => ({
  weight,
  arbitrary: fc.record({ kind: fc.constant(kind), ...fields }) as never as fc.Arbitrary<
    { kind: Kind } & { [Name in keyof Fields]: Fields[Name] extends fc.Arbitrary<infer Value> ? Value : never }
  >,
})
const step = fc.oneof(
  a(40, 'post', { member, channelId, text, replyTo: fc.option(back, { freq: 2 }), key }),
  a(6, 'edit', { member, back, text }),
  a(4, 'remove', { member, back }),
  a(14, 'react', { member, back, emoji, isOn: fc.boolean() }),
  a(4, 'pin', { member, back }),
  a(2, 'unpin', { member, back }),
  a(2, 'take away', { member, back }),
  a(2, 'judge', { back, verdict: fc.constantFrom('flag', 'remove') }),
  a(1, 'keep', { member, back }),
  a(3, 'silence', { member, of: member, how: fc.constantFrom('1h', '1h', 'ban', 'lift', 'lift') }),
  a(2, 'modes', { channelId, modes }),
  a(2, 'archive', { channelId, isActive: fc.constantFrom(true, true, false) }),
  a(4, 'read', { member, channelId, number: fc.nat({ max: 20 }) }),
  a(1, 'announce', { channelId }),
  a(16, 'wait', { ms }),
)
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never

class History {
  readonly #members: Principal[] = []
  readonly #posted: string[] = []
  readonly codes = new Map<string, number>()

  constructor(readonly world: ChatWorld) {}

  async begin(): Promise<void> {
    const { world } = this
    this.#members.push(await world.join('ann'), await world.join('bob', 'vip'))
    this.#members.push(await world.join('cyd', 'whale'), await world.join('dot', 'whale'))
    this.#members.push(await world.join('boss', 'standard', true))
    const rule = { id: 'a', pattern: 'scam', action: 'flag' as const, exemptFrom: null }
    await world.run(world.commands.setWordRules, { rules: [rule] })
  }

  tell(step: Step): void {
    const { commands, clock } = this.world
    const who = 'member' in step ? (this.#members[step.member] ?? assert.fail()) : system
    const moderator = { ...who, role: 'admin' as const }
    const messageId = 'back' in step ? this.#at(step.back) : ''
    switch (step.kind) {
      case 'post': {
        const replyTo = step.replyTo === null ? null : this.#at(step.replyTo)
        const clientId = step.key === null ? null : `${step.member} ${step.key}`
        const args = this.world.postArgs(step.text, { channelId: step.channelId, replyTo, clientId })
        this.#posted.push(args.messageId)
        this.#ask(commands.post, args, who, clientId ?? undefined)
        break
      }
      case 'edit':
        this.#ask(commands.edit, { messageId, text: step.text }, who)
        break
      case 'remove':
        this.#ask(commands.remove, { messageId }, who)
        break
      case 'react':
        this.#ask(commands.react, { messageId, emoji: step.emoji, isOn: step.isOn }, who)
        break
      case 'pin':
        this.#ask(commands.pin, { messageId }, moderator)
        break
      case 'unpin':
        this.#ask(commands.unpin, { messageId }, moderator)
        break
      case 'take away':
        this.#ask(commands.removeMessage, { messageId }, moderator)
        break
      case 'keep':
        this.#ask(commands.keepMessage, { messageId }, moderator)
        break
      case 'judge':
        this.#ask(commands.judge, { messageId, verdict: step.verdict as 'flag', because: 'test' }, system)
        break
      case 'silence':
        this.#silence(step.how, this.#members[step.of] ?? assert.fail(), moderator)
        break
      case 'modes':
        this.#ask(commands.editChannel, { ...step, edit: { modes: step.modes }, isActive: null }, system)
        break
      case 'archive':
        this.#ask(commands.editChannel, { ...step, edit: {} }, system)
        break
      case 'read':
        this.#ask(commands.read, { channelId: step.channelId, number: step.number }, who)
        break
      case 'announce': {
        const announced = uuid('a0', this.#posted.length)
        this.#posted.push(announced)
        this.#ask(commands.announce, { messageId: announced, channelId: step.channelId, text: 'hear' }, system)
        break
      }
      default:
        clock.advance(step.ms)
    }
  }

  #silence(how: string, { userId }: Principal, moderator: Principal): void {
    const { commands } = this.world
    if (how === 'lift') this.#ask(commands.unsilence, { userId }, system)
    else if (how === 'ban') this.#ask(commands.ban, { userId, because: 'test' }, moderator)
    else this.#ask(commands.timeOut, { userId, because: 'test', length: '1h' }, moderator)
  }

  #at(back: number): string {
    return this.#posted[this.#posted.length - 1 - back] ?? 'never'
  }

  #ask<Args, Reply>(command: Command<Args, Reply>, args: Args, who: Principal, key?: string): void {
    this.world.submit(command, { args, who, key }, (outcome) => {
      if (outcome.ok) return
      // A fault is never an answer.
      if (!(outcome.error instanceof DomainError)) throw outcome.error
      const { code } = outcome.error
      this.codes.set(code, (this.codes.get(code) ?? 0) + 1)
    })
  }
}

type ChatFact = ReturnType<typeof messagePosted.make> | ReturnType<typeof messageChanged.make>

const chatFacts = ({ records }: ChatWorld): ChatFact[] =>
  records
    .flatMap(({ facts }) => facts)
    .filter(({ type }) => type === messagePosted.type || type === messageChanged.type) as ChatFact[]

/** What a client has who saw every fact of a channel up to an offset, by message id. */
function seenUpTo(facts: readonly ChatFact[], channelId: string, offset: number): Map<string, Message> {
  const seen = new Map<string, Message>()
  for (const fact of facts) {
    if (fact.channelId === channelId && fact.offset <= offset) seen.set(fact.message.messageId, fact.message)
  }
  return seen
}

/** X1 Whoever comes back at any offset, and however little is kept, has what the others have, or is told to resync. */
function checkComingBack(world: ChatWorld, messagesKept: number, recent: RecentMessages, see: (what: string) => void) {
  const facts = chatFacts(world)
  for (const channelId of CHANNELS) {
    const own = facts.filter((fact) => fact.channelId === channelId)
    const last = own.at(-1)?.offset ?? 0
    const whole = seenUpTo(own, channelId, last)
    for (let offset = 0; offset <= last; offset++) {
      const missed = recent.since(channelId, offset)
      const changed = new Set(own.filter((fact) => fact.offset > offset).map(({ message }) => message.messageId))
      assert.equal(missed === 'resync', changed.size > messagesKept, `resync at ${offset} of ${last}`)
      if (missed === 'resync') {
        see('resync')
        continue
      }
      const client = seenUpTo(own, channelId, offset)
      for (const { message } of missed) client.set(message.messageId, message)
      assert.deepEqual(client, whole, `back at ${offset} of ${last}`)
      assert.deepEqual(
        missed.map((each) => each.offset),
        [...missed].map((each) => each.offset).sort((x, y) => x - y),
      )
      checkNumberAt(recent, own, channelId, offset, messagesKept)
    }
    const living = [...whole.values()].sort((x, y) => x.number - y.number).slice(-messagesKept)
    const expected = living.filter(({ deletedAt }) => deletedAt === null).slice(-3)
    assert.deepEqual(
      recent.latest(channelId, 3).map(({ message }) => message),
      expected,
    )
  }
}

function checkNumberAt(
  recent: RecentMessages,
  own: readonly ChatFact[],
  channelId: string,
  offset: number,
  messagesKept: number,
): void {
  const posted = own.filter(({ type }) => type === messagePosted.type)
  const { length } = posted.filter((fact) => fact.offset <= offset)
  const number = recent.numberAt(channelId, offset)
  if (number === null) assert.ok(posted.length > messagesKept, 'all numbers are known')
  else assert.equal(number, length, `the number at ${offset}`)
}

/** BJ-CHAT-05 Counts are those of the members who reacted. */
function checkReactions(world: ChatWorld, final: ReadonlyMap<string, Message>): void {
  const reactors = new Map<string, Set<string>>()
  for (const { messageId, userId, emoji, isOn } of world.facts(reactionSet)) {
    const name = `${messageId} ${emoji}`
    const known = reactors.get(name) ?? new Set()
    reactors.set(name, known)
    assert.equal(known.has(userId), !isOn, 'a reaction that is told is a change')
    known[isOn ? 'add' : 'delete'](userId)
  }
  const counted = new Map(
    [...final.values()].flatMap(({ messageId, reactions }) => {
      return Object.entries(reactions).map(([emoji, count]) => [`${messageId} ${emoji}`, count] as const)
    }),
  )
  const expected = [...reactors].flatMap(([name, { size }]) => (size === 0 ? [] : [[name, size] as const]))
  assert.deepEqual(counted, new Map(expected))
}

async function checkEnds(world: ChatWorld): Promise<void> {
  const facts = chatFacts(world)
  const final = new Map(facts.map(({ message }) => [message.messageId, message]))
  for (const [messageId, message] of final) assert.deepEqual(await world.messageOf(messageId), message)
  for (const channelId of CHANNELS) {
    const { pins, offset, messages } = await world.channelOf(channelId)
    const own = [...final.values()].filter((message) => message.channelId === channelId)
    const pinned = own.filter(({ isPinned }) => isPinned).map(({ messageId }) => messageId)
    assert.deepEqual(pins.map(({ messageId }) => messageId).sort(), pinned.sort(), 'a pin and its message')
    assert.equal(messages, own.length)
    assert.ok(offset >= messages)
  }
  const once = (names: readonly string[], what: string) => assert.equal(new Set(names).size, names.length, what)
  const clientIds = [...final.values()].flatMap(({ clientId }) => clientId ?? [])
  once(clientIds, 'a message of one key is there once')
  once(
    world.facts(memberMentioned).map(({ messageId, userId }) => `${messageId} ${userId}`),
    'nobody is rung twice',
  )
  for (const { userId, by } of world.facts(memberMentioned)) assert.notEqual(userId, by.userId, 'nor by himself')
  checkReactions(world, final)
}

/** T5 The same inputs give the same records. */
function checkReplay({ journal, recentMessages }: ChatWorld): void {
  const program = createBlakjaks()
  const replay = new Replay(program.program, 10_000)
  for (const body of journal.bodies) assert.ok(replay.run(body).isSame)
  for (const channelId of CHANNELS) {
    const [found, expected] = [program.chat.recentMessages, recentMessages].map((recent) => recent.since(channelId, 0))
    assert.deepEqual(found, expected)
  }
}

/** What Postgres has of a channel's messages. */
function rowsOf(facts: readonly ChatFact[], channelId: string): readonly RecentMessage[] {
  const rows = new Map<string, RecentMessage>()
  for (const { channelId: of, offset, message, type } of facts) {
    if (of !== channelId) continue
    const postedOffset = type === messagePosted.type ? offset : (rows.get(message.messageId)?.postedOffset ?? 0)
    rows.set(message.messageId, { offset, postedOffset, message })
  }
  return [...rows.values()]
}

/** A process that begins from the journal, or in part from what Postgres had, has the same in memory. */
async function checkRecovery(world: ChatWorld, messagesKept: number, restoredShare: number, recent: RecentMessages) {
  const recovered = await startChat({ after: world, isStoreDown: true, at: new Date(world.clock.at).toISOString() })
  for (const channelId of CHANNELS) {
    assert.deepEqual(recovered.recentMessages.since(channelId, 0), world.recentMessages.since(channelId, 0))
    assert.deepEqual(await recovered.channelOf(channelId), await world.channelOf(channelId))
  }
  const facts = chatFacts(world)
  const restored = new RecentMessages(messagesKept)
  const before = facts.slice(0, Math.floor(facts.length * restoredShare))
  for (const channelId of CHANNELS) {
    const rows = rowsOf(before, channelId)
    const changed = [...rows].sort((x, y) => x.offset - y.offset).slice(-messagesKept)
    const latest = [...rows].sort((x, y) => x.message.number - y.message.number).slice(-messagesKept)
    restored.restoreChannel(channelId, changed, latest)
  }
  for (const fact of facts.slice(before.length)) restored.fold(fact)
  checkRestored(restored, recent, facts, before.length >= messagesKept)
}

/** Without where they were posted: Postgres knows that longer than memory does. */
const told = (missed: readonly RecentMessage[] | 'resync') =>
  missed === 'resync' ? missed : missed.map(({ offset, message }) => ({ offset, message }))

function checkRestored(
  restored: RecentMessages,
  recent: RecentMessages,
  facts: readonly ChatFact[],
  mayHaveForgotten: boolean,
): void {
  for (const channelId of CHANNELS) {
    const last = facts.filter((fact) => fact.channelId === channelId).at(-1)?.offset ?? 0
    for (let offset = 0; offset <= last; offset++) {
      const [found, expected] = [restored.since(channelId, offset), recent.since(channelId, offset)]
      // Postgres does not tell whether it had more than was asked for: to resync is always right.
      if (found !== 'resync') assert.deepEqual(told(found), told(expected), `since ${offset}`)
      else assert.ok(expected === 'resync' || mayHaveForgotten)
      assert.equal(restored.numberAt(channelId, offset), recent.numberAt(channelId, offset), `number at ${offset}`)
    }
    assert.deepEqual(restored.latest(channelId, 50), recent.latest(channelId, 50))
  }
}

t.setTimeout(300_000)

t.test('X1, T5, BJ-CHAT-02…08 any history is the same for all who saw it, however they came to know', async (t) => {
  const steps = fc.noBias(fc.array(fc.tuple(step, fc.boolean()), { size: 'max', maxLength: 200 }))
  const memory = fc.record({ cachedActorsMax: fc.constantFrom(4, 100), isStoreDown: fc.boolean() })
  const seen = new Set<string>()
  await fc.assert(
    fc.asyncProperty(
      steps,
      memory,
      fc.integer({ min: 1, max: 12 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      async (steps, memory, messagesKept, restoredShare) => {
        const world = await startChat(memory)
        const history = new History(world)
        await history.begin()
        for (const [step, isJoined] of steps) {
          if (!isJoined || step.kind === 'wait') await world.idle()
          history.tell(step)
        }
        await world.idle()
        checkOffsets(world)
        await checkEnds(world)
        checkComingBack(world, 500, world.recentMessages, () => {})
        const recent = new RecentMessages(messagesKept)
        for (const fact of chatFacts(world)) recent.fold(fact)
        checkComingBack(world, messagesKept, recent, (what) => seen.add(what))
        checkReplay(world)
        await checkRecovery(world, messagesKept, restoredShare, recent)
        for (const code of history.codes.keys()) seen.add(code)
      },
    ),
    { numRuns: 80 },
  )
  const met = ['resync', 'message_empty', 'message_unknown', 'not_yours', 'cooldown', 'tier_too_low', 'posting_closed']
  const alsoMet = ['forbidden', 'banned', 'channel_unknown', 'emoji_invalid', 'reply_elsewhere']
  t.same(
    [...met, ...alsoMet].filter((code) => !seen.has(code)),
    [],
    [...seen].join(' '),
  )
})
