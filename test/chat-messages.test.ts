// Hunts: a message, reaction or notification twice or lost, an edit that comes too late or is another's, a quote that
// changes with what it quotes, a message that outlives its ninety days, an unread count that is off.
import t from 'tap'
import { memberMentioned, reactionSet } from '../actors/chat/facts.js'
import type { Principal } from '../engine/command.js'
import { refused, startChat } from './support/chat.js'
import { DAY, MINUTE } from './support/loyalty.js'

const kappa = { media: { type: 'emote' as const, url: null, code: 'Kappa' } }

t.test('an edit: one’s own, for five minutes, by the rules that a message is posted by', async (t) => {
  const world = await startChat()
  const { edit } = world.commands
  const [ann, bob] = [await world.join('ann', 'whale'), await world.join('bob', 'whale')]
  const boss = await world.join('boss', 'standard', true)
  await world.run(world.commands.setEmotes, { codes: ['Kappa'] })
  const { messageId } = await world.post(ann, 'first', kappa)
  await world.run(world.commands.setWordRules, {
    rules: [{ id: '1', pattern: 'scam', action: 'refuse', exemptFrom: null }],
  })
  const asks = (text: string, id = messageId) => ({ messageId: id, text })
  t.same(await world.refuse(edit, asks('mine'), bob), refused('not_yours'))
  t.same(await world.refuse(edit, asks('mine'), boss), refused('not_yours'))
  t.same(await world.refuse(edit, asks('x', 'never'), ann), refused('message_unknown'))
  t.same(await world.refuse(edit, asks('x'.repeat(2_001)), ann), refused('text_too_long'))
  t.same(await world.refuse(edit, asks('a Scam'), ann), refused('word_refused'))
  await world.run(world.commands.setEmotes, { codes: ['Other'] })
  world.clock.advance(5 * MINUTE)
  await world.run(edit, asks('second'), ann)
  t.match(await world.messageOf(messageId), { text: 'second', editedAt: world.clock.at, media: { code: 'Kappa' } })
  world.clock.advance(1)
  t.same(await world.refuse(edit, asks('third'), ann), refused('edit_too_late'))
  const bare = await world.post(ann, 'bare')
  t.same(await world.refuse(edit, asks('\u200b', bare.messageId), ann), refused('message_empty'))
  await world.run(world.commands.ban, { userId: ann.userId, because: 'test' })
  t.same(await world.refuse(edit, asks('x', bare.messageId), ann), refused('banned'))
  t.same(await world.refuse(world.commands.remove, { messageId }, bob), refused('not_yours'))
  await world.run(world.commands.remove, { messageId }, ann)
  t.same(await world.refuse(edit, asks('again'), ann), refused('message_unknown'))
  t.same(await world.refuse(world.commands.remove, { messageId }, ann), refused('message_unknown'))
  t.same(world.toldIn(), ['posted', 'edited', 'posted', 'deleted'])
})

t.test('B1 edits and reports: so many at once, and one more with every interval; not for moderators', async (t) => {
  const world = await startChat()
  const { edit, report, reportMember } = world.commands
  const [ann, bob] = [await world.join('ann', 'whale'), await world.join('bob')]
  const boss = await world.join('boss', 'standard', true)
  const { messageId } = await world.post(ann, 'first')
  const told = await world.post(boss, 'told')
  let edits = 0
  const asks = (id = messageId) => ({ messageId: id, text: `edit ${++edits}` })
  for (let at = 0; at < 10; at++) await world.run(edit, asks(), ann)
  t.same(await world.refuse(edit, asks(), ann), refused('too_many_edits', 2_000))
  t.match((await world.refusal(edit, asks(), ann)).message, 'in 2 s')
  await world.run(world.commands.react, { messageId, emoji: '👍', isOn: true }, ann)
  world.clock.advance(1_999)
  t.same(await world.refuse(edit, asks(), ann), refused('too_many_edits', 1))
  world.clock.advance(1)
  await world.run(edit, asks(), ann)
  t.same(await world.refuse(edit, asks(), ann), refused('too_many_edits', 2_000))
  for (let at = 0; at < 20; at++) await world.run(edit, asks(told.messageId), boss)

  const reports = (at: number) => ({ messageId, because: `reason ${at}` })
  for (let at = 0; at < 9; at++) await world.run(report, reports(at), bob)
  await world.run(reportMember, { userId: ann.userId, because: 'a bot' }, bob)
  t.same(await world.refuse(report, reports(10), bob), refused('too_many_reports', MINUTE))
  t.same(
    await world.refuse(reportMember, { userId: ann.userId, because: 'x' }, bob),
    refused('too_many_reports', MINUTE),
  )
  await world.run(report, reports(11), ann)
  for (let at = 0; at < 20; at++) await world.run(report, reports(at), boss)
  world.clock.advance(10 * MINUTE)
  for (let at = 0; at < 10; at++) await world.run(report, reports(at), bob)
  t.same(await world.refuse(report, reports(10), bob), refused('too_many_reports', MINUTE))
})

t.test(
  'BJ-CHAT-15 a reply keeps what it replied to as it read then, in whole characters, whatever becomes of that',
  async (t) => {
    const world = await startChat()
    const [ann, bob] = [await world.join('ann', 'whale'), await world.join('bob', 'whale')]
    const text = `${'x'.repeat(199)}🎉 and more`
    const { messageId } = await world.post(ann, text)
    const reply = await world.post(bob, 'yes', { replyTo: messageId })
    const quote = { messageId, userId: ann.userId, username: 'ann', text: 'x'.repeat(199) }
    t.same((await world.messageOf(reply.messageId)).replyTo, quote)
    await world.run(world.commands.edit, { messageId, text: 'something else' }, ann)
    await world.run(world.commands.remove, { messageId }, ann)
    t.same((await world.messageOf(reply.messageId)).replyTo, quote)
    const second = await world.post(ann, 'really?', { replyTo: reply.messageId })
    t.match((await world.messageOf(second.messageId)).replyTo, { userId: bob.userId, text: 'yes' })
  },
)

t.test('BJ-CHAT-16 who is mentioned or replied to is told once, and nobody of himself', async (t) => {
  const world = await startChat()
  const [ann, bob, cyd] = [
    await world.join('Ann', 'whale'),
    await world.join('bob', 'whale'),
    await world.join('c.y.d-'),
  ]
  const tellings = () =>
    world.facts(memberMentioned).map(({ userId, by, because }) => {
      return `${[ann, bob, cyd].findIndex((who) => who.userId === userId)} by ${by.username}: ${because}`
    })
  const { messageId } = await world.post(ann, '@bob @BOB, (@Bob)! and @ann, @nobody, mail@bob.com, @@bob')
  t.same(tellings(), ['1 by Ann: mention'])
  t.same((await world.messageOf(messageId)).mentions, [bob.userId])
  const reply = await world.post(bob, '@ann @c.y.d- @bob', { replyTo: messageId })
  t.same(tellings().slice(1), ['2 by bob: mention', '0 by bob: reply'])
  await world.post(ann, 'to myself', { replyTo: messageId })
  t.equal(tellings().length, 3)
  const { edit } = world.commands
  await world.run(edit, { messageId: reply.messageId, text: '@c.y.d-' }, bob)
  await world.run(edit, { messageId: reply.messageId, text: '@c.y.d- @ann' }, bob)
  t.equal(tellings().length, 3, 'an edit to and fro rings nobody again')
  await world.run(edit, { messageId, text: 'hi @c.y.d- and @bob.' }, ann)
  t.same(tellings().slice(3), ['2 by Ann: mention'], 'whom an edit names for the first time')
  await world.run(edit, { messageId, text: 'hi' }, ann)
  await world.run(edit, { messageId, text: 'hi @c.y.d- @bob' }, ann)
  t.equal(tellings().length, 4)
  const direct = await world.post(bob, 'so', { replyTo: messageId })
  await world.run(edit, { messageId: direct.messageId, text: 'so @ann' }, bob)
  t.same(tellings().slice(4), ['0 by bob: reply'], 'not again by an edit')
  const many = []
  for (let at = 0; at < 12; at++) many.push(await world.join(`friend${at}`))
  const { messageId: crowd } = await world.post(ann, many.map((_, at) => `@friend${at}`).join(' '))
  t.same(
    (await world.messageOf(crowd)).mentions,
    many.slice(0, 10).map(({ userId }) => userId),
  )
})

t.test('BJ-CHAT-05 a reaction counts once for a member, message and emoji, and is one emoji', async (t) => {
  const world = await startChat()
  const { react } = world.commands
  const [ann, bob] = [await world.join('ann', 'whale'), await world.join('bob')]
  const { messageId, offset } = await world.post(ann, 'hi')
  const on = (emoji: string, isOn = true) => ({ messageId, emoji, isOn })
  const records = world.records.length
  t.same(await world.run(react, on('👍', false), bob), { offset, count: 0 })
  t.equal(world.records.length, records, 'what was never there goes without a trace')
  t.same(await world.run(react, on('👍'), bob), { offset: offset + 1, count: 1 })
  t.same(await world.run(react, on('👍'), bob), { offset: offset + 1, count: 1 }, 'again changes nothing')
  t.same(await world.run(react, on('👍'), ann), { offset: offset + 2, count: 2 })
  t.same(await world.run(react, on('🎉'), ann), { offset: offset + 3, count: 1 })
  t.same((await world.messageOf(messageId)).reactions, { '👍': 2, '🎉': 1 })
  t.same(await world.run(react, on('🎉', false), ann), { offset: offset + 4, count: 0 })
  t.same((await world.messageOf(messageId)).reactions, { '👍': 2 })
  t.equal(world.facts(reactionSet).length, 4)
  const england = '🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}'
  const one = ['❤️', '❤', '👍🏽', '👨‍👩‍👧‍👦', '👩🏽‍❤️‍💋‍👨🏿', '🇺🇸', england, '1️⃣', '#️⃣', '🏳️‍🌈', '☠']
  for (const emoji of one) t.match(await world.run(react, on(emoji), ann), { count: 1 }, emoji)
  const none = [
    ...['', 'a', '1', '#', 'ok', ':)', '<b>', '__proto__', '👍👍', '👍 ', ' 👍', '👍a', '🇺', '🇺🇸🇩', '🏴\u{e0067}'],
    ...['\u200d', '\ufe0f', '👍\u200d', '\u200d👍', '👍\ufe0f\ufe0f', '👍\u200d\u200d👍', '\u{1f3fd}\u{1f3fd}'],
  ]
  for (const emoji of none)
    t.same(await world.refuse(react, on(emoji), ann), refused('emoji_invalid'), JSON.stringify(emoji))
  for (const emoji of ['😀', '😁', '😂', '🤣', '😃', '😄', '😅', '😆']) await world.run(react, on(emoji), ann)
  t.same(await world.refuse(react, on('😎'), bob), refused('too_many_emojis'))
  t.match(await world.run(react, on('😀'), bob), { count: 2 }, 'of those there, one may have more')
  await world.run(world.commands.ban, { userId: bob.userId, because: 'test' })
  t.same(await world.refuse(react, on('😁'), bob), refused('banned'))
  await world.run(world.commands.remove, { messageId }, ann)
  t.same(await world.refuse(react, on('😁'), ann), refused('message_unknown'))
  t.same(await world.refuse(react, { ...on('😁'), messageId: 'never' }, ann), refused('message_unknown'))
})

t.test('BJ-CHAT-05 what is mine of the reactions on messages', async (t) => {
  const world = await startChat()
  const [ann, bob] = [await world.join('ann', 'whale'), await world.join('bob', 'whale')]
  const ids: string[] = []
  for (let at = 0; at < 3; at++) ids.push((await world.post(ann, `message ${at}`)).messageId)
  const [first = '', second = ''] = ids
  const react = (who: Principal, messageId: string, emoji: string, isOn = true) =>
    world.run(world.commands.react, { messageId, emoji, isOn }, who)
  await react(ann, first, '👍')
  await react(ann, first, '🎉')
  await react(bob, first, '😮')
  await react(bob, second, '👍')
  await react(ann, second, '👍')
  await react(ann, second, '👍', false)
  const mine = ({ userId }: Principal) =>
    world.shard.query(world.queries.ownReactions, { userId, messageIds: [...ids, 'never'] })
  t.same(await mine(ann), [{ messageId: first, emojis: ['👍', '🎉'] }])
  t.same(await mine(bob), [
    { messageId: first, emojis: ['😮'] },
    { messageId: second, emojis: ['👍'] },
  ])
})

t.test('a message sent twice with one key is there once, and answered alike', async (t) => {
  const world = await startChat()
  const ann = await world.join('ann')
  const send = (key: string) => world.run(world.commands.post, world.postArgs('hi'), ann, key)
  const first = await send('chat:1')
  t.same(await send('chat:1'), first)
  world.clock.advance(MINUTE)
  t.same(await send('chat:1'), first)
  t.equal((await send('chat:2')).number, first.number + 1)
  t.same(world.toldIn(), ['posted', 'posted'])
})

t.test('BJ-CHAT-20 after ninety days a message is gone, also from memory', async (t) => {
  const world = await startChat()
  const ann = await world.join('ann', 'whale')
  const open = async (position: { epoch: string; offset: number } | null) => {
    const asked = { userId: ann.userId, channelId: 'general', position, limit: 50 }
    return (await world.shard.query(world.queries.openChannel, asked)).messages.map(({ message }) => message.text)
  }
  const { messageId, offset } = await world.post(ann, 'old')
  const { epoch } = await world.channelOf()
  await world.run(world.commands.react, { messageId, emoji: '👍', isOn: true }, ann)
  world.clock.advance(90 * DAY - 1)
  await world.post(ann, 'new')
  t.same(await open(null), ['old', 'new'])
  world.clock.advance(1)
  t.same(await open(null), ['new'])
  t.same(await open({ epoch, offset }), ['new'])
  const gone = { messageId, emoji: '👍', isOn: false }
  t.same(await world.refuse(world.commands.react, gone, ann), refused('message_unknown'))
  t.same(await world.refuse(world.commands.report, { messageId, because: 'x' }, ann), refused('message_unknown'))
})

t.test('reading goes forward only, never past the last message, and unread counts are exact', async (t) => {
  const world = await startChat()
  const { read } = world.commands
  const [ann, bob] = [await world.join('ann', 'whale'), await world.join('bob')]
  const numberAt = (offset: number) => world.shard.query(world.queries.numberAt, { channelId: 'general', offset })
  const posts = [await world.post(ann, '1'), await world.post(ann, '2'), await world.post(ann, '3')]
  const unread: number[] = []
  for (const number of [0, 1, 3, 2, 99]) {
    unread.push((await world.run(read, { channelId: 'general', number }, bob)).unread)
    const view = await world.shard.query(world.queries.readable, { userId: bob.userId, channelId: 'general' })
    t.equal(view.unread, unread.at(-1))
  }
  t.same(unread, [3, 2, 0, 0, 0])
  t.same(await world.refuse(read, { channelId: 'whale-room', number: 1 }, bob), refused('tier_too_low'))
  t.same(await world.refuse(read, { channelId: 'nowhere', number: 1 }, bob), refused('channel_unknown'))
  await world.run(world.commands.react, { messageId: posts[0]?.messageId ?? '', emoji: '👍', isOn: true }, ann)
  const last = posts.at(-1)?.offset ?? 0
  const offsets = [0, last - 3, last - 2, last - 1, last, last + 1, last + 9]
  t.same(await Promise.all(offsets.map(numberAt)), [0, 0, 1, 2, 3, 3, 3])
})
