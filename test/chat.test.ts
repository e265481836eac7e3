// Hunts: something said that may not be, or broadcast though it was refused; a limit off by one. What becomes of messages
// is in chat-messages.test, modes and moderators in chat-moderation.test, standings in chat-standing.test, random
// histories in chat-oracle.test.
import t from 'tap'
import { memberSilenced } from '../actors/chat/facts.js'
import { blakjaksChat } from '../actors/programs/blakjaks/chat.js'
import type { TierName } from '../actors/user/facts.js'
import { type Refused, refused, startChat } from './support/chat.js'
import { HOUR, MINUTE } from './support/loyalty.js'

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
