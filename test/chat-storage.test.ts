// Hunts: a start that shows the chat otherwise than it was, a position that skips or repeats a message after it, history
// with holes, a report that nobody sees or that stays for ever, an act of a moderator without a trace, messages that are
// kept too long, deleted too early, or come back as half of what they were.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { type Message, messagePosted } from '../actors/chat/facts.js'
import { RecentMessages } from '../actors/chat/recent-messages.js'
import { ChatRetention, type ChatRetentionLimits } from '../persistence/chat-retention.js'
import type { Sql } from '../persistence/postgres/connection.js'
import { defaultProjectorLimits } from '../persistence/projector/limits.js'
import * as chat from '../persistence/queries/chat.js'
import { restoreRecentMessages } from '../persistence/restore/recent-messages.js'
import { inOneSnapshot } from '../persistence/restore/snapshot.js'
import { type ChatWorld, startChat } from './support/chat.js'
import { Channels, type ChatStep, chatStep, factsOf, idOf, numberUpTo, type Records } from './support/chat-facts.js'
import { DAY, HOUR, MINUTE } from './support/loyalty.js'
import { open, silent, start, storedMessage, temporaryFolder } from './support/postgres.js'
import { applyAll, EPOCH, freshDatabase, freshJournal, type Parts, SHARD } from './support/projection.js'

t.setTimeout(240_000)

const scope = t as unknown as Test
const server = await start(scope, join(await temporaryFolder(scope), 'data'))
const admin = open(scope, server.url, 1)

/** A journal that is applied to a database. */
async function journalInto(test: Test, { sql, url }: { readonly sql: Sql; readonly url: string }) {
  const { directory, journal, write, close } = await freshJournal(test)
  const apply = async (records: readonly Parts[], batchRecordsMax = 50) => {
    await write(records)
    const limits = { ...defaultProjectorLimits, batchRecordsMax, lingerRecordsMax: 1 }
    await applyAll({ url, directory, limits }, journal.lastSeq)
    test.same([...(await sql`select table_name, error, row from dead_letters`)], [])
  }
  return { apply, close }
}

const restored = async (sql: Sql, kept: number) => {
  const view = new RecentMessages(kept)
  await inOneSnapshot(sql, (tx) => restoreRecentMessages(tx, view))
  return view
}

const messagesOf = (entries: readonly { offset: number; message: Message }[] | 'resync') =>
  entries === 'resync' ? entries : entries.map(({ offset, message }) => ({ offset, message }))

t.test('X1 what a start restores is the fold of all records, for any position, or it says resync', async (t) => {
  const database = await freshDatabase(t, admin, server.url)
  const { sql } = database
  let resyncs = 0
  let gaps = 0

  async function checkPosition(
    view: RecentMessages,
    live: RecentMessages,
    records: Records,
    channelId: string,
    at: number,
  ) {
    const found = view.since(channelId, at)
    if (found === 'resync') resyncs += 1
    else {
      const missed = factsOf(records, channelId).filter(({ offset }) => offset > at)
      t.same(new Set(found.map(idOf)), new Set(missed.map(idOf)))
      const before = live.since(channelId, at)
      if (before !== 'resync') t.same(messagesOf(found), messagesOf(before))
    }
    const known = view.numberAt(channelId, at)
    if (known === null) gaps += 1
    t.equal(known ?? (await chat.numberAt(sql, channelId, at)), numberUpTo(records, channelId, at))
  }

  async function checkChannel(view: RecentMessages, channels: Channels, records: Records, channelId: string) {
    const live = new RecentMessages(view.messagesKept)
    for (const fact of records.flatMap(({ facts }) => facts)) live.fold(fact)
    t.same(messagesOf(view.latest(channelId, 99)), messagesOf(live.latest(channelId, 99)))
    const own = channels.messages.filter((message) => message.channelId === channelId && message.deletedAt === null)
    const stored = await chat.history(sql, { channelId, sinceMs: 0, limit: 99 })
    t.same(
      stored.map(({ message }) => message),
      own.reverse(),
    )
    for (let at = 0; at <= channels.offsetOf(channelId) + 1; at++) {
      await checkPosition(view, live, records, channelId, at)
    }
  }

  const property = async (steps: readonly ChatStep[], kept: number, share: number, batchRecordsMax: number) => {
    await sql`truncate social_messages, chat_report_decisions, audit_logs, projector_mark`
    const channels = new Channels()
    const records = steps.map((next, at) => ({ facts: channels.facts(next, at + 1) }))
    const applied = Math.ceil(records.length * share)
    const { apply, close } = await journalInto(t, database)
    await apply(records.slice(0, applied), batchRecordsMax)
    const view = await restored(sql, kept)
    // The tail of the journal, as at recovery.
    for (const fact of records.slice(applied).flatMap(({ facts }) => facts)) view.fold(fact)
    await apply(records.slice(applied), batchRecordsMax)
    await close()
    for (const channelId of ['a', 'b', 'b-2']) await checkChannel(view, channels, records, channelId)
  }
  await fc.assert(
    fc.asyncProperty(
      fc.array(chatStep, { minLength: 1, maxLength: 60, size: 'max' }),
      fc.integer({ min: 1, max: 20 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.integer({ min: 1, max: 20 }),
      property,
    ),
    { numRuns: 20 },
  )
  t.ok(resyncs > 20 && gaps > 5, `${resyncs} positions were too old, ${gaps} only Postgres knew`)
})

/** A chat in which something of everything has happened, and the records of it. */
async function lively() {
  const world = await startChat()
  const { commands, run, join, post, clock } = world
  const boss = await join('boss', 'standard', true)
  const [ann, bob] = [await join('ann', 'vip'), await join('bob', 'whale')]
  const first = await post(ann, 'Hello @bob \u{1F44B}')
  const second = await post(bob, 'what *you* say', { replyTo: first.messageId })
  for (const emoji of ['👍', '🎉']) await run(commands.react, { messageId: first.messageId, emoji, isOn: true }, bob)
  await run(commands.react, { messageId: first.messageId, emoji: '👍', isOn: true }, ann)
  await run(commands.react, { messageId: first.messageId, emoji: '🎉', isOn: false }, bob)
  clock.set(clock.now() + MINUTE)
  return { world, boss, ann, bob, first, second }
}

t.test('everything that is done in the chat has its rows, and every act of a moderator its trace', async (t) => {
  const database = await freshDatabase(t, admin, server.url)
  const { sql } = database
  const { world, boss, ann, bob, first, second } = await lively()
  const { commands, run, post, clock } = world
  await run(commands.report, { messageId: second.messageId, because: 'rude' }, ann)
  await run(commands.report, { messageId: first.messageId, because: 'dull' }, bob)
  await run(commands.keepMessage, { messageId: first.messageId }, boss)
  await run(commands.report, { messageId: first.messageId, because: 'still dull' }, bob)
  await run(commands.reportMember, { userId: bob.userId, because: 'a bully' }, ann)
  await run(commands.pin, { messageId: first.messageId }, boss)
  await run(commands.timeOut, { userId: bob.userId, length: '1h', because: 'rude' }, boss)
  await run(commands.unsilence, { userId: bob.userId }, boss)
  const worst = await post(bob, 'the worst')
  await run(commands.judge, { messageId: worst.messageId, verdict: 'remove', because: 'hate' })
  const bad = await post(bob, 'bad')
  await run(commands.judge, { messageId: bad.messageId, verdict: 'flag', because: 'spam' })
  clock.set(clock.now() + MINUTE)
  const regretted = await post(bob, 'regretted')
  await run(commands.report, { messageId: regretted.messageId, because: 'hm' }, ann)
  await run(commands.remove, { messageId: regretted.messageId }, bob)
  await run(commands.setWordRules, { rules: [{ id: 'w', pattern: 'x\0y', action: 'flag', exemptFrom: null }] }, boss)
  await run(commands.editChannel, { channelId: 'general', edit: { name: 'Everybody' }, isActive: false }, boss)
  const { apply } = await journalInto(t, database)
  await apply(world.records, 7)

  for (const { messageId } of [first, second, worst, bad, regretted]) {
    t.same((await storedMessage(sql, messageId))?.message, await world.messageOf(messageId))
  }
  t.equal(await storedMessage(sql, 'none'), null)
  t.match((await storedMessage(sql, first.messageId))?.postedOffset, first.offset)
  const shown = await chat.history(sql, { channelId: 'general', beforeNumber: 5, sinceMs: 0, limit: 2 })
  t.same(shown.map(idOf), [bad.messageId, second.messageId])
  t.same(await chat.history(sql, { channelId: 'general', sinceMs: clock.now(), limit: 9 }), [])
  const reactors = await sql`select message_id, user_id, emoji from social_message_reactions order by user_id`
  t.same(
    [...reactors],
    [ann, bob].map(({ userId: user_id }) => ({ message_id: first.messageId, user_id, emoji: '👍' })),
  )

  const waiting = await chat.openReports(sql, { limit: 3 })
  const later = await chat.openReports(sql, { after: waiting.at(-1) ?? assert.fail('no reports'), limit: 9 })
  t.same(
    [...waiting, ...later].map(({ because, by, message, userId }) => [because, by, message?.messageId ?? userId]),
    [
      ['rude', ann.userId, second.messageId],
      ['still dull', bob.userId, first.messageId],
      ['a bully', ann.userId, bob.userId],
      ['spam', 'filter', bad.messageId],
    ],
  )
  const closed =
    await sql`select because, decision, closed_by from chat_reports where closed_at is not null order by seq`
  t.same(
    closed.map(({ because, decision, closed_by }) => [because, decision, closed_by]),
    [
      ['dull', 'kept', boss.userId],
      ['hate', 'removed', 'filter'],
      ['hm', 'deleted', bob.userId],
    ],
  )
  t.match(await chat.silencesOf(sql, bob.userId, { limit: 5 }), [
    { how: 'lifted', until: null, by: boss.userId },
    { how: 'timed_out', because: 'rude', by: boss.userId },
  ])
  const [, timeout] = await chat.silencesOf(sql, bob.userId, { limit: 5 })
  t.equal((timeout?.until ?? 0) - (timeout?.at ?? 0), HOUR)
  const acts = await chat.auditLog(sql, { by: boss.userId, limit: 50 })
  t.same(
    acts.map(({ action }) => action),
    [
      ...['chat.channel_changed', 'chat.channel_changed', 'chat.word_rules_set', 'chat.member_lifted'],
      ...['chat.member_timed_out', 'chat.message_pinned', 'chat.reports_closed'],
    ],
  )
  t.same(acts[2]?.changes, { rules: [{ id: 'w', pattern: 'x\0y', action: 'flag', exemptFrom: null }] })
  const page = await chat.auditLog(sql, { by: boss.userId, before: acts[4] ?? assert.fail('no acts'), limit: 1 })
  t.match(page, [{ action: 'chat.message_pinned', resourceId: first.messageId }])
  const onWorst = await chat.auditLog(sql, { resource: { type: 'message', id: worst.messageId }, limit: 5 })
  t.match(onWorst, [{ by: 'filter', action: 'chat.message_removed', changes: { text: 'the worst' } }])
  const told = await sql`select user_id, title, data from notifications order by seq, entry`
  t.match(
    [...told],
    [
      { user_id: bob.userId, title: 'ann mentioned you', data: { message_id: first.messageId, because: 'mention' } },
      { user_id: ann.userId, title: 'bob replied to you', data: { message_id: second.messageId, because: 'reply' } },
    ],
  )
  t.match(await sql`select * from social_channels where id in ('general', 'whale-room') order by id`, [
    { name: 'Everybody', tier_restriction: 'all', is_active: false, created_by: 'system', changed_by: boss.userId },
    { tier_restriction: 'whale', is_active: true, changed_by: null },
  ])
  t.match(await sql`select pinned, pinned_by_admin from social_messages where id = ${first.messageId}`, [
    { pinned: true, pinned_by_admin: boss.userId },
  ])

  const translation = { messageId: 'm', language: 'de', version: 2, text: 'neu\0', sourceLanguage: 'en', at: EPOCH }
  await chat.keepTranslation(sql, translation)
  await chat.keepTranslation(sql, { ...translation, version: 1, text: 'alt' })
  t.same(await chat.translations(sql, ['m', 'n'], 'de'), [{ ...translation, text: 'neu\ufffd' }])
  t.same(await chat.translations(sql, ['m'], 'fr'), [])
})

t.test('a message that starts read back is never parked, and one that cannot be read blocks', async (t) => {
  const database = await freshDatabase(t, admin, server.url)
  const { directory, journal, write } = await freshJournal(t)
  await write([{ facts: [{ type: messagePosted.type }] }])
  const limits = { ...defaultProjectorLimits, blockedDelayMs: 0 }
  const reports = await applyAll({ url: database.url, directory, limits }, journal.lastSeq)
  t.match(reports.at(-1), { kind: 'blocked', seq: 1 })
  t.same([...(await database.sql`select 1 from dead_letters`)], [])
})

/** A retention whose alarm clock is in the hands of the test. */
function retentionOf(
  sql: Sql,
  world: ChatWorld,
  more: Partial<ChatRetentionLimits & { mayWrite: () => boolean }> = {},
) {
  const { mayWrite = () => true, messagesMax = 3, rowsMax = 2, retryIntervalMs = HOUR } = more
  const due: { readonly at: number; readonly wake: () => void }[] = []
  const retention = new ChatRetention({
    ...{ sql, shard: SHARD, retentionMs: world.program.rules.chat.retentionMs, mayWrite, log: silent },
    environment: {
      // Far ahead of every record: nothing goes by it.
      now: () => world.clock.now() + 1_000 * DAY,
      wakeAt: (at, wake) => {
        const alarm = { at: at - world.clock.now() - 1_000 * DAY, wake }
        due.push(alarm)
        return () => void due.splice(due.indexOf(alarm), 1)
      },
    },
    limits: { messagesMax, rowsMax, retryIntervalMs },
  })
  return { retention, due }
}

const ofChat = async (sql: Sql) => ({
  messages: (await sql`select id from social_messages order by number`).map(({ id }) => String(id)),
  reactions: Number((await sql`select count(*) from social_message_reactions`)[0]?.count),
  translations: (await sql`select message_id as id from social_message_translations`).map(({ id }) => String(id)),
  images: (await sql`select actor from actor_images where actor ~ '^(message|reaction)/' order by actor`).map(
    ({ actor }) => String(actor),
  ),
})

t.test(
  'A1 A2 B1 what is 90 days old goes with all that belongs to it, and nothing else, however it is cut short',
  async (t) => {
    const database = await freshDatabase(t, admin, server.url)
    const { sql } = database
    const { world, boss, ann, bob, first } = await lively()
    const { commands, run, post, clock } = world
    const { apply } = await journalInto(t, database)
    let applied = 0
    const catchUp = async () => {
      await apply(world.records.slice(applied))
      applied = world.records.length
    }
    const old: string[] = []
    for (let count = 0; count < 7; count++) {
      clock.set(clock.now() + MINUTE)
      const { messageId } = await post(bob, `old ${count}`, { channelId: count % 2 ? 'whale-room' : 'general' })
      old.push(messageId)
      for (const emoji of ['👍', '🎉']) await run(commands.react, { messageId, emoji, isOn: true }, bob)
    }
    await run(commands.report, { messageId: old[4] ?? '', because: 'nobody has looked' }, ann)
    const last = clock.now()
    clock.set(last + 1)
    const young = await post(ann, 'young')
    await run(commands.react, { messageId: young.messageId, emoji: '👍', isOn: true }, bob)
    for (const messageId of [first.messageId, young.messageId]) {
      await chat.keepTranslation(sql, {
        messageId,
        language: 'de',
        version: 0,
        text: 't',
        sourceLanguage: 'en',
        at: last,
      })
    }
    const { retention } = retentionOf(sql, world)
    await catchUp()
    const all = await ofChat(sql)
    t.equal(await retention.run(), 0, 'by the clock they are old, by the records they are not')
    t.same(await ofChat(sql), all)

    // The moment at which no turn knows the last of the old ones any more, and knows the young one still.
    clock.set(last + world.program.rules.chat.retentionMs)
    t.equal(
      (await world.refuse(commands.report, { messageId: old[6] ?? '', because: 'late' }, ann)).code,
      'message_unknown',
    )
    await run(commands.pin, { messageId: young.messageId }, boss)
    await catchUp()
    const remaining = { messages: [young.messageId], reactions: 1, translations: [young.messageId] }
    const images = [`message/${young.messageId}`, `reaction/${young.messageId}:${bob.userId}`]
    for (let statements = 0, runs = 0; ; runs++) {
      let left = statements
      const { retention: interrupted } = retentionOf(sql, world, { mayWrite: () => left-- > 0 })
      await interrupted.run()
      const { messages, ...rest } = await ofChat(sql)
      const belonging = rest.images.flatMap((image) => (image.startsWith('reaction/') ? [image.slice(9, 45)] : []))
      t.ok(
        [...belonging, ...rest.translations].every((id) => messages.includes(id)),
        'nothing is left behind',
      )
      statements += 1
      if (messages.length > 1) continue
      t.same({ messages, ...rest }, { ...remaining, images })
      t.ok(runs > 5, `${runs} runs were cut short`)
      break
    }
    t.equal(await retention.run(), 0)

    // Memory has it still, and it is written about after all: whole, and gone the next time.
    await run(commands.judge, { messageId: old[6] ?? '', verdict: 'flag', because: 'very late' })
    await catchUp()
    const late = await storedMessage(sql, old[6] ?? '')
    t.same([late?.message, late?.postedOffset], [await world.messageOf(old[6] ?? ''), 0])
    const { retention: next, due } = retentionOf(sql, world)
    next.start()
    t.match(due, [{ at: HOUR }])
    due[0]?.wake()
    t.equal(await next.run(), 1, 'one run for all who ask')
    await new Promise(setImmediate)
    t.match(due.at(-1), { at: DAY })
    t.same(await ofChat(sql), { ...remaining, images })
    t.same(await chat.openReports(sql, { limit: 9 }), [], 'nothing waits that nobody can decide')
    const view = await restored(sql, 10)
    t.same(view.latest('general', 10).map(idOf), [young.messageId])
    await next.stop()
  },
)

t.test('A1 messages go while others are written, and neither waits for the other for good', async (t) => {
  const database = await freshDatabase(t, admin, server.url)
  const { sql } = database
  const channels = new Channels()
  const many = (count: number, from: number) =>
    Array.from({ length: count }, (_, at) => ({
      facts: channels.facts({ channel: 'a', does: 'post', pick: 0, text: `${from + at}` }, from + at),
    }))
  const { world } = await lively()
  const { apply } = await journalInto(t, database)
  await apply(many(300, 1))
  // Records count a second each; what is older than 400 of them goes.
  const retention = new ChatRetention({
    ...{ sql, shard: SHARD, retentionMs: 400_000, mayWrite: () => true, log: silent, environment: world.clock },
  })
  let deleted = 0
  let isWriting = true
  const writing = (async () => {
    for (let from = 301; from < 1_000; from += 100) await apply(many(100, from), 10)
    isWriting = false
  })()
  while (isWriting) deleted += await retention.run()
  await writing
  deleted += await retention.run()
  const left = await chat.history(sql, { channelId: 'a', sinceMs: 0, limit: 2_000 })
  t.same([deleted, left.length], [600, 400])
  t.same(
    left.map(({ message }) => message),
    channels.messages.slice(-400).reverse(),
  )
})
