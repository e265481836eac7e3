// Hunts: something said that may not be, or broadcast though it was refused; a limit off by one; a message, reaction or
// notification twice. Modes, moderators and standings are in chat-moderation.test, random histories in
// chat-oracle.test.
import t from 'tap'
import { memberMentioned, memberSilenced, reactionSet } from '../actors/chat/facts.js'
import { blakjaksChat } from '../actors/programs/blakjaks/chat.js'
import type { TierName } from '../actors/user/facts.js'
import { type Refused, refused, startChat } from './support/chat.js'
import { DAY, HOUR, MINUTE } from './support/loyalty.js'

/** Only the author's own record was changed. */
const noted = (code: string, retryAfterMs: number): Refused => ({ code, retryAfterMs, told: [], records: 1 })

const gif = (url: string | null, code: string | null = null) => ({ media: { type: 'gif' as const, url, code } })
const emote = (code: string | null, url: string | null = null) => ({ media: { type: 'emote' as const, url, code } })
const CAT = 'https://media.giphy.com/media/cat/giphy.gif'
const tiers: readonly TierName[] = ['standard', 'vip', 'high_roller', 'whale']

t.test(
  'BJ-CHAT-09, BJ-CHAT-10 the channels are there from the first start, once, and each tier sees its own',
  async (t) => {
    const world = await startChat()
    await world.run(world.commands.openDefaults, {})
    const counts: number[] = []
    for (const tier of tiers) {
      const { userId } = await world.join(`of_${tier}`, tier)
      const seen = await world.shard.query(world.queries.channels, { userId })
      counts.push(seen.length)
      t.same(
        seen.map(({ profile }) => profile.order),
        seen.map(({ profile }) => profile.order).sort((a, b) => a - b),
      )
    }
    t.same(counts, [10, 10, 12, 13])
    const categories = new Set(blakjaksChat.channels.map(({ category }) => category))
    for (const name of categories) {
      const { length } = blakjaksChat.channels.filter(({ category }) => category === name)
      t.ok(length >= 3 && length <= 6, `${name} has ${length}`)
    }
  },
)

t.test('what may not be said is refused with its code; nothing changes and nobody is told', async (t) => {
  const world = await startChat()
  const [ann, boss] = [await world.join('ann'), await world.join('boss', 'standard', true)]
  const stranger = await world.openMember()
  await world.setActive(false, 'crypto')
  await world.run(world.commands.setEmotes, { codes: ['Kappa'] })
  const { messageId: elsewhere } = await world.post(boss, 'elsewhere', { channelId: 'comps' })
  const { messageId: deleted } = await world.post(boss, 'deleted')
  await world.run(world.commands.remove, { messageId: deleted }, boss)
  const { messageId: old } = await world.post(boss, 'old')
  world.clock.advance(blakjaksChat.retentionMs)
  const before = await world.channelOf()
  const cases: [string, string, Parameters<typeof world.post>[2]][] = [
    ['text_too_long', 'x'.repeat(2_001), {}],
    ['message_empty', '', {}],
    ['message_empty', ' \n\t\u00a0\u3000', {}],
    ['message_empty', '\u200b\u200d\u2060\ufeff\u00ad\u2800\u3164\u{e0041}', {}],
    ['channel_unknown', 'x', { channelId: 'nowhere' }],
    ['channel_unknown', 'x', { channelId: 'crypto' }],
    ['tier_too_low', 'x', { channelId: 'high-roller-lounge' }],
    ['tier_too_low', 'x', { channelId: 'whale-room' }],
    ['posting_closed', 'x', { channelId: 'announcements' }],
    ['message_unknown', 'x', { replyTo: 'never' }],
    ['message_unknown', 'x', { replyTo: deleted }],
    ['message_unknown', 'x', { replyTo: old }],
    ['message_unknown', 'x', { messageId: 'itself', replyTo: 'itself' }],
    ['reply_elsewhere', 'x', { replyTo: elsewhere }],
    ['emote_unknown', '', emote('Keepo')],
    ['media_invalid', '', emote(null)],
    ['media_invalid', '', gif(null)],
    ['media_invalid', '', gif(null, 'Kappa')],
    ['media_invalid', '', gif(CAT, 'Kappa')],
    ['media_invalid', '', { media: { type: 'image', url: CAT, code: null } }],
    ['media_invalid', 'x', { media: { type: 'none', url: 'javascript:alert(1)', code: null } }],
    ['media_invalid', 'x', { media: { type: 'none', url: null, code: 'Kappa' } }],
  ]
  // Where this one would not exist any more, or the message would be too old.
  const fresh = await world.post(boss, 'fresh', { channelId: 'comps' })
  for (const [code, text, over] of cases) {
    const args = over?.replyTo === elsewhere ? { ...over, replyTo: fresh.messageId } : over
    t.same(await world.refusePost(ann, text, args), refused(code), `${code} ${JSON.stringify(over)}`)
  }
  t.same(await world.refusePost(stranger, 'x'), refused('chat_not_entered'))
  t.same(await world.channelOf(), before)
  await world.post(ann, 'x'.repeat(2_000))
  world.clock.advance(MINUTE)
  t.match(await world.post(ann, '', emote('Kappa')), { offset: before.offset + 2, number: before.messages + 2 })
})

t.test(
  'BJ-CHAT-13, BJ-CHAT-14 media come from the hosts that are allowed, whatever the address pretends',
  async (t) => {
    const world = await startChat()
    const whale = await world.join('whale', 'whale')
    const good = [
      'https://giphy.com/a',
      CAT,
      `${CAT}?cid=1&ep=v1#x`,
      'HTTPS://Media.GIPHY.com/a%20b',
      'https://i.giphy.com/',
    ]
    const bad = [
      ...['http://media.giphy.com/a', '//media.giphy.com/a', 'media.giphy.com/a', 'https:/media.giphy.com/a', ''],
      ...['javascript:alert(1)//https://giphy.com/', 'data:image/gif;base64,giphy.com/', 'https://giphy.com'],
      ...[
        'https://user@giphy.com/a',
        'https://giphy.com@evil.com/a',
        'https://giphy.com:pw@evil.com/',
        'https://@giphy.com/',
      ],
      ...['https://giphy.com:443/a', 'https://giphy.com:8080/a', 'https://giphy.com./a', 'https://.giphy.com/a'],
      ...['https://a..giphy.com/a', 'https://-.giphy.com/a', 'https://evilgiphy.com/a', 'https://giphy.com.evil.com/a'],
      ...[
        'https://evil.com/giphy.com/',
        'https://evil.com?giphy.com/',
        'https://evil.com#.giphy.com/',
        'https://giphy.com\\@evil.com/',
      ],
      ...[
        'https://evil.com\\.giphy.com/a',
        'https://gіphy.com/a',
        'https://ｇiphy.com/a',
        'https://giphy。com/a',
        'https://gip%68y.com/a',
      ],
      ...[
        'https://giphy.com/a b',
        'https://giphy.com/a\nb',
        'https://giphy.com/a\u0000',
        'https://giphy.com/\u202egnp',
      ],
      ...[
        'https://giphy.com/"onerror="x',
        'https://giphy.com/<b>',
        'https://giphy.com/a\\b',
        ' https://giphy.com/a',
        'https://giphy.com/a ',
      ],
      ...[
        'https://\u212aiphy.com/',
        'https://giphy.com\u200b/a',
        'https://\tgiphy.com/a',
        `https://giphy.com/${'a'.repeat(483)}`,
      ],
    ]
    for (const url of good) await world.post(whale, '', gif(url))
    for (const url of bad.slice(0, -1))
      t.same(await world.refusePost(whale, '', gif(url)), refused('media_invalid'), JSON.stringify(url))
    const long = { ...world.postArgs('', gif(bad.at(-1) ?? '')) }
    t.equal(world.commands.post.input.safeParse(long).success, false, 'too long for any')
    t.equal(world.toldIn().length, good.length)
  },
)

t.test('BJ-CHAT-21, BJ-T43 a message a second, one in half a second, and no limit from High Roller up', async (t) => {
  const world = await startChat()
  const [ann, vip] = [await world.join('ann'), await world.join('vip', 'vip')]
  const free = [
    await world.join('high', 'high_roller'),
    await world.join('whale', 'whale'),
    await world.join('mod', 'standard', true),
  ]
  for (const who of [ann, vip, ...free]) await world.post(who, 'first')
  for (const who of free) for (let at = 0; at < 20; at++) await world.post(who, `more ${at}`)
  world.clock.advance(499)
  t.same(await world.refusePost(vip, 'early'), noted('cooldown', 1_000))
  world.clock.advance(500)
  t.same(await world.refusePost(ann, 'early'), noted('cooldown', 2_000))
  world.clock.advance(2_000)
  for (const who of [ann, vip]) await world.post(who, 'in time')
  const bob = await world.join('bob')
  await world.post(bob, 'one')
  world.clock.advance(1_000)
  await world.post(bob, 'two')
})

t.test(
  'BJ-CHAT-22, BJ-T43 each message that comes too early doubles the wait, up to half a minute; calm forgets it',
  async (t) => {
    const world = await startChat()
    const ann = await world.join('ann')
    await world.post(ann, 'first')
    for (const seconds of [2, 4, 8, 16, 30, 30]) {
      t.same(await world.refusePost(ann, 'early'), noted('cooldown', seconds * 1_000))
      world.clock.advance(seconds * 1_000 - 1)
    }
    world.clock.advance(1)
    const at = world.clock.at
    await world.post(ann, 'waited')
    world.clock.advance(29_999)
    t.same(await world.refusePost(ann, 'early'), noted('cooldown', 30_000), 'not forgotten yet')
    const violatedAt = world.clock.at
    t.equal(violatedAt - at, 29_999)
    world.clock.advance(30_000)
    await world.post(ann, 'waited again')
    world.clock.set(violatedAt + MINUTE + 1)
    await world.post(ann, 'after a calm minute')
    world.clock.advance(999)
    t.same(await world.refusePost(ann, 'early'), noted('cooldown', 2_000), 'counts from the start')
    const error = await world.refusal(world.commands.post, world.postArgs('early'), ann)
    t.match(error, { kind: 'too_many', message: /in 4 s/ })
  },
)

t.test(
  'BJ-CHAT-23, BJ-T43 whoever says the same five times in a row is muted for an hour, whatever their tier',
  async (t) => {
    const world = await startChat()
    const boss = await world.join('boss', 'standard', true)
    for (const tier of tiers) {
      const who = await world.join(tier, tier)
      const same = ['Buy  now!', 'buy now', 'BUY, NOW', 'bu\u200by n\u00adow']
      for (const text of same) {
        await world.post(who, text)
        world.clock.advance(MINUTE)
      }
      const told = { told: [memberSilenced.type], records: 1 }
      t.same(await world.refusePost(who, 'ｂuy now'), { code: 'muted', retryAfterMs: HOUR, ...told }, tier)
      t.match(world.facts(memberSilenced).at(-1), { how: 'muted', until: world.clock.at + HOUR, by: 'system' })
      world.clock.advance(HOUR - 1)
      t.same(await world.refusePost(who, 'something else'), refused('muted', 1))
      world.clock.advance(1)
      await world.post(who, 'buy now')
    }
    for (let at = 0; at < 6; at++) await world.post(boss, 'the same')
  },
)

t.test(
  'BJ-CHAT-23 what looks the same is the same: punctuation alone, a picture by another address, an emote by another name',
  async (t) => {
    const world = await startChat()
    const said: (readonly [string, object])[][] = [
      ['!!!', '!!!', '! ! !', '!!!', '!!!'].map((text) => [text, {}]),
      ['1', '2', '3', '4', '5'].map((cid) => ['', gif(`${CAT}?cid=${cid}`)]),
      ['#1', '#2', '#3', '#4', '#5'].map((hash) => ['', gif(`${CAT}${hash}`)]),
      ['a', 'b', 'c', 'd', 'e'].map((code) => ['', emote(code, 'https://cdn.7tv.app/emote/1/4x.webp')]),
      ['a', 'a', 'a', 'a', 'a'].map((code) => ['', emote(code)]),
    ]
    for (const [row, posts] of said.entries()) {
      const who = await world.join(`whale${row}`, 'whale')
      for (const [text, over] of posts.slice(0, 4)) await world.post(who, text, over)
      const [text, over] = posts[4] ?? ['', {}]
      t.match(await world.refusePost(who, text, over), { code: 'muted' }, `row ${row}`)
    }
    const other = await world.join('other', 'whale')
    for (const text of ['!', '?', '!', '?', '!', '?']) await world.post(other, text)
    for (let at = 0; at < 4; at++) await world.post(other, 'again')
    await world.post(other, 'something between')
    for (let at = 0; at < 4; at++) await world.post(other, 'again')
    world.clock.advance(10 * MINUTE)
    await world.post(other, 'again')
  },
)

t.test('an edit: one’s own, for five minutes, by the rules that a message is posted by', async (t) => {
  const world = await startChat()
  const { edit } = world.commands
  const [ann, bob] = [await world.join('ann', 'whale'), await world.join('bob', 'whale')]
  const boss = await world.join('boss', 'standard', true)
  await world.run(world.commands.setEmotes, { codes: ['Kappa'] })
  const { messageId } = await world.post(ann, 'first', emote('Kappa'))
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
