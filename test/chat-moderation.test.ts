// Hunts: a mode, a word rule or a silence that can be got round, a moderator who is hindered, an act that is told to
// nobody or with an offset that was given before, and a tier or right that the chat believes too long (BJ-T29).
import t from 'tap'
import {
  channelChanged,
  memberSilenced,
  memberUnsilenced,
  reportFiled,
  reportsClosed,
  type WordRule,
} from '../actors/chat/facts.js'
import type { Principal } from '../engine/command.js'
import { type ChatWorld, checkOffsets, refused, startChat } from './support/chat.js'
import { DAY, HOUR, MINUTE } from './support/loyalty.js'

const rule = (pattern: string, over: Partial<WordRule> = {}): WordRule => ({
  ...{ id: pattern, pattern, action: 'refuse', exemptFrom: null },
  ...over,
})

async function people(world: ChatWorld) {
  const boss = await world.join('boss', 'standard', true)
  return { boss, ann: await world.join('ann'), bob: await world.join('bob'), whale: await world.join('whale', 'whale') }
}

t.test('slow mode: each member, in that channel, with the time that is left; never a moderator', async (t) => {
  const world = await startChat()
  const { boss, whale } = await people(world)
  await world.post(whale, 'before')
  await world.setModes({ slowModeSeconds: 30 })
  for (const who of [whale, boss]) await world.post(who, 'first')
  await world.post(boss, 'a moderator again')
  world.clock.advance(10_000)
  t.same(await world.refusePost(whale, 'second'), refused('slow_mode', 20_000))
  await world.post(whale, 'elsewhere', { channelId: 'comps' })
  world.clock.advance(19_999)
  t.same(await world.refusePost(whale, 'second'), refused('slow_mode', 1))
  world.clock.advance(1)
  await world.post(whale, 'second')
  await world.setModes({ slowModeSeconds: 0 })
  await world.post(whale, 'third')
})

t.test('emote-only, unique messages, and members who are too new', async (t) => {
  const world = await startChat()
  const { boss, whale, ann } = await people(world)
  await world.setModes({ emoteOnly: true })
  for (const text of ['hello', ':Kappa: hello', 'ok 👍', ':a', '1', '\u200d']) {
    t.equal((await world.refusePost(whale, text)).code, text === '\u200d' ? 'message_empty' : 'emote_only', text)
  }
  const gif = { media: { type: 'gif' as const, url: 'https://giphy.com/a', code: null } }
  t.same(await world.refusePost(whale, '👍', gif), refused('emote_only'))
  for (const text of [':Kappa:', '👍🎉  :PogChamp:', '❤️']) await world.post(whale, text)
  await world.post(boss, 'moderators say what they like')
  await world.setModes({ emoteOnly: false, uniqueMessages: true })
  const { messageId } = await world.post(whale, 'Hello there')
  t.same(await world.refusePost(ann, 'hello, THERE!'), refused('not_unique'))
  await world.run(world.commands.edit, { messageId, text: 'Hello there!' }, whale)
  for (let at = 0; at < 49; at++) await world.post(whale, `other ${at}`)
  t.same(await world.refusePost(ann, 'hello there'), refused('not_unique'), 'among the last fifty')
  await world.post(boss, 'hello there')
  await world.setModes({ uniqueMessages: false })
  await world.setModes({ uniqueMessages: true, memberAgeSecondsMin: 3_600 })
  t.same(await world.refusePost(ann, 'x'), refused('member_too_new', HOUR))
  world.clock.advance(HOUR - 1)
  t.same(await world.refusePost(ann, 'x'), refused('member_too_new', 1))
  world.clock.advance(1)
  await world.post(ann, 'hello there')
})

t.test('links below a tier are refused however they are written; what is no link passes', async (t) => {
  const world = await startChat()
  const { ann, boss, whale } = await people(world)
  await world.setModes({ linksFrom: 'high_roller' })
  const links = [
    ...[
      'https://example.com',
      'HTTP://EXAMPLE.COM/a',
      'see http://1.2.3.4',
      'www.example.museum',
      'example.com',
      'a.b.example.io',
    ],
    ...[
      '(example.com)',
      'x,example.com!',
      'discord.gg/abc',
      't.me/abc',
      'bit.ly/abc',
      'bit.ly',
      'example.de/x',
      'youtu.be/xyz',
    ],
    ...[
      'example。com',
      'ｅｘａｍｐｌｅ．ｃｏｍ',
      'exam\u200bple.com',
      'example\u2060.com',
      'exa\u00admple.c\u200dom',
      'https\u200b://example.com',
    ],
    ...[
      'müller.com',
      'пример.рф/x',
      'xn--e1afmkfd.xn--p1ai/',
      'example.co.uk',
      'ftp://example',
      'tg://join',
      'user@example.com',
      'example.com:8080',
    ],
  ]
  for (const text of links) t.same(await world.refusePost(ann, text), refused('link_not_allowed'), JSON.stringify(text))
  const { messageId } = await world.post(ann, 'nothing')
  for (const text of links.slice(0, 3)) {
    t.same(await world.refuse(world.commands.edit, { messageId, text }, ann), refused('link_not_allowed'), 'by an edit')
  }
  for (const text of [
    'v1.2.3',
    'e.g. this',
    'Done.It was',
    'no...com',
    '1.5/2',
    'hm.',
    'a . com',
    'and/or',
    ':Kappa:',
    '12:30',
  ]) {
    world.clock.advance(MINUTE)
    await world.post(ann, text)
  }
  for (const who of [whale, boss]) await world.post(who, 'https://example.com')
  const started = process.hrtime.bigint()
  for (const piece of ['a', 'a.', '-', 'a-', '@a', 'http:', '://', '.com', '\u200b', "'"]) {
    world.clock.advance(MINUTE)
    await world.attempt(world.commands.post, world.postArgs(piece.repeat(2_000).slice(0, 2_000)), ann)
  }
  t.ok(process.hrtime.bigint() - started < 2_000_000_000n, 'no text takes long')
})

t.test(
  'word rules: refused or flagged, whole words however they are dressed, with tiers that are exempt',
  async (t) => {
    const world = await startChat()
    const { ann, boss, whale } = await people(world)
    const rules = [
      ...[rule('scam*'), rule('free money'), rule('free-coins'), rule('हिन्दी'), rule("don't buy")],
      ...[rule('casino', { action: 'flag' }), rule('lounge', { exemptFrom: 'whale' })],
    ]
    await world.run(world.commands.setWordRules, { rules })
    const bad = [
      ...[
        'scam',
        'a SCAMMER here',
        'ｓｃａｍ',
        's\u200bcam',
        'sc\u00adam',
        'sca\u0336m',
        'free money',
        'FREE,  money!',
        'free\nmoney',
      ],
      ...['free coins', 'free-coins', "'scam'", '_scam_', 'don\u2019t buy', 'यह हिन्दी है', "Don't buy", 'lounge'],
    ]
    for (const text of bad) t.same(await world.refusePost(ann, text), refused('word_refused'), JSON.stringify(text))
    for (const text of ['unscam', 'freemoney', 'money free', 'हिन्द', 'lounges', 'free of money']) {
      world.clock.advance(MINUTE)
      await world.post(ann, text)
    }
    await world.post(whale, 'lounge')
    t.same(await world.refusePost(whale, 'scam'), refused('word_refused'))
    await world.post(boss, 'this is a scam')
    world.clock.advance(MINUTE)
    const { messageId } = await world.post(ann, 'to the casino')
    t.equal((await world.messageOf(messageId)).status, 'flagged')
    t.match(world.facts(reportFiled), [
      { messageId, channelId: 'general', userId: ann.userId, because: 'words', by: 'system' },
    ])
    const other = await world.post(whale, 'hm')
    await world.run(world.commands.edit, { messageId: other.messageId, text: 'casino' }, whale)
    t.equal((await world.messageOf(other.messageId)).status, 'flagged')
    const twice = { rules: [rule('one'), rule('two', { id: 'one' })] }
    t.same(await world.refuse(world.commands.setWordRules, twice, boss), refused('rule_twice'))
    const { input } = world.commands.setWordRules
    t.same(
      ['!!', '* *', '\u200b\u200b', 'a', 'sc*m', '*am', 'ok*'].filter(
        (pattern) => input.safeParse({ rules: [rule(pattern)] }).success,
      ),
      ['ok*'],
    )
  },
)

t.test('BJ-MOD-03, BJ-MOD-04 time-outs end to the millisecond, a ban only when it is lifted', async (t) => {
  const world = await startChat()
  const { timeOut, ban, unsilence } = world.commands
  const { boss, whale } = await people(world)
  const { userId } = whale
  const because = 'test'
  for (const [length, ms] of [
    ['1h', HOUR],
    ['24h', DAY],
    ['7d', 7 * DAY],
  ] as const) {
    const until = world.clock.at + ms
    t.same(await world.run(timeOut, { userId, because, length }, boss), { until })
    t.match(world.facts(memberSilenced).at(-1), { userId, how: 'timed_out', until, by: boss.userId })
    t.same(await world.refusePost(whale, 'x'), refused('timed_out', ms))
    world.clock.set(until - 1)
    t.same(await world.refusePost(whale, 'x'), refused('timed_out', 1))
    world.clock.set(until)
    await world.post(whale, `after ${length}`)
  }
  await world.run(ban, { userId, because }, boss)
  world.clock.advance(1_000 * DAY)
  t.same(await world.refusePost(whale, 'x'), refused('banned'))
  const shorter = { userId, because, length: '1h' as const }
  t.same(await world.refuse(timeOut, shorter, boss), refused('already_banned'), 'a ban is not undone by a time-out')
  await world.run(unsilence, { userId }, boss)
  t.match(world.facts(memberUnsilenced), [{ userId, by: boss.userId }])
  await world.run(unsilence, { userId }, boss)
  t.equal(world.facts(memberUnsilenced).length, 1)
  await world.run(world.commands.enter, { userId })
  await world.post(whale, 'back')
  t.match(await world.shard.query(world.queries.standing, { userId }), { silence: null })
})

t.test('BJ-T44 only moderators moderate, and nobody silences one', async (t) => {
  const world = await startChat()
  const { boss, ann } = await people(world)
  const other = await world.join('other', 'standard', true)
  const { messageId } = await world.post(ann, 'hi')
  const { userId } = ann
  const { commands } = world
  const asked = [
    (who: Principal) => world.refuse(commands.removeMessage, { messageId }, who),
    (who: Principal) => world.refuse(commands.keepMessage, { messageId }, who),
    (who: Principal) => world.refuse(commands.pin, { messageId }, who),
    (who: Principal) => world.refuse(commands.unpin, { messageId }, who),
    (who: Principal) => world.refuse(commands.timeOut, { userId, because: 'x', length: '1h' }, who),
    (who: Principal) => world.refuse(commands.ban, { userId, because: 'x' }, who),
    (who: Principal) => world.refuse(commands.unsilence, { userId }, who),
    (who: Principal) => world.refuse(commands.setWordRules, { rules: [] }, who),
    (who: Principal) => world.refuse(commands.editChannel, { channelId: 'general', edit: {}, isActive: false }, who),
    (who: Principal) => world.refuse(commands.judge, { messageId, verdict: 'remove', because: 'x' }, who),
    (who: Principal) => world.refuse(commands.announce, { messageId: 'x', channelId: 'general', text: 'x' }, who),
  ]
  // A role that was taken from them a moment ago is not enough.
  for (const ask of asked)
    for (const role of ['member', 'admin'] as const) {
      t.same(await ask({ ...ann, role }), refused('forbidden'))
    }
  const silence = { userId: other.userId, because: 'x' }
  t.same(await world.refuse(commands.ban, silence, boss), refused('is_moderator'))
  t.same(await world.refuse(commands.timeOut, { ...silence, length: '1h' }, boss), refused('is_moderator'))
  t.same(await world.refuse(commands.ban, { userId: 'nobody', because: 'x' }, boss), refused('chat_not_entered'))
})

t.test('BJ-MOD-01, BJ-MOD-07 reports and verdicts go into the queue, and come out of it by a decision', async (t) => {
  const world = await startChat()
  const { boss, ann, whale } = await people(world)
  const { report, reportMember, judge, keepMessage, removeMessage } = world.commands
  const { messageId } = await world.post(whale, 'hm')
  const { reportId } = await world.run(report, { messageId, because: 'rude' }, ann)
  const filed = { reportId, messageId, channelId: 'general', userId: whale.userId, because: 'rude', by: ann.userId }
  t.match(world.facts(reportFiled), [filed])
  await world.run(reportMember, { userId: whale.userId, because: 'a bot' }, ann)
  t.match(world.facts(reportFiled).at(-1), { messageId: null, userId: whale.userId, because: 'a bot' })
  t.same(await world.refuse(reportMember, { userId: 'nobody', because: 'x' }, ann), refused('chat_not_entered'))
  t.same(world.toldIn(), ['posted'], 'reports are told to nobody in the channel')
  await world.run(judge, { messageId, verdict: 'flag', because: 'hate' })
  t.equal((await world.messageOf(messageId)).status, 'flagged')
  t.match(world.facts(reportFiled).at(-1), { messageId, because: 'hate', by: 'filter' })
  await world.run(keepMessage, { messageId }, boss)
  t.equal((await world.messageOf(messageId)).status, 'approved')
  t.match(world.facts(reportsClosed), [{ messageId, decision: 'kept', by: boss.userId }])
  await world.run(judge, { messageId, verdict: 'remove', because: 'hate' })
  t.match(await world.messageOf(messageId), { status: 'removed', deletedAt: world.clock.at })
  const records = world.records.length
  await world.run(judge, { messageId, verdict: 'remove', because: 'late' })
  await world.run(judge, { messageId: 'never', verdict: 'flag', because: 'late' })
  t.equal(world.records.length, records, 'what is gone is not judged again')
  for (const command of [keepMessage, removeMessage]) {
    t.same(await world.refuse(command, { messageId }, boss), refused('message_unknown'))
  }
  const second = await world.post(whale, 'worse')
  await world.run(removeMessage, { messageId: second.messageId }, boss)
  t.match(world.facts(reportsClosed).at(-1), { messageId: second.messageId, decision: 'removed', by: boss.userId })
  t.same(world.toldIn(), ['posted', 'moderated', 'moderated', 'moderated', 'posted', 'moderated'])
  checkOffsets(world)
})

t.test('BJ-MOD-05 pins: the newest first, so many, gone with their message, and none for ever', async (t) => {
  const world = await startChat()
  const { boss, whale } = await people(world)
  const { pin, unpin, removeMessage, remove } = world.commands
  const pins = async () => {
    const view = await world.shard.query(world.queries.readable, { userId: boss.userId, channelId: 'general' })
    return view.pins
  }
  const ids: string[] = []
  for (let at = 0; at < 52; at++) ids.push((await world.post(whale, `message ${at}`)).messageId)
  const [first = '', second = '', third = ''] = ids
  for (const messageId of [second, first, third]) await world.run(pin, { messageId }, boss)
  t.same(await pins(), [third, first, second])
  const { offset } = await world.channelOf()
  t.same(await world.run(pin, { messageId: first }, boss), { offset }, 'again changes nothing')
  await world.run(unpin, { messageId: first }, boss)
  t.same(await world.run(unpin, { messageId: first }, boss), { offset: offset + 1 })
  t.same(await pins(), [third, second])
  await world.run(removeMessage, { messageId: third }, boss)
  await world.run(remove, { messageId: second }, whale)
  t.same(await pins(), [])
  t.same(await world.refuse(pin, { messageId: third }, boss), refused('message_unknown'))
  const { messageId: last } = await world.post(whale, 'last')
  for (const messageId of [first, ...ids.slice(3)]) await world.run(pin, { messageId }, boss)
  t.equal((await pins()).length, 50)
  t.same(await world.refuse(pin, { messageId: last }, boss), refused('too_many_pins'))
  world.clock.advance(90 * DAY)
  t.same(await pins(), [], 'with their messages')
  const { messageId: fresh } = await world.post(whale, 'fresh')
  await world.run(pin, { messageId: fresh }, boss)
  t.same(await pins(), [fresh])
  checkOffsets(world)
})

t.test(
  'BJ-MOD-06 an archived channel is closed to members, and what is moderated there is numbered as elsewhere',
  async (t) => {
    const world = await startChat()
    const { boss, ann, whale } = await people(world)
    const { commands } = world
    const { messageId } = await world.post(whale, 'one')
    const { messageId: pinned } = await world.post(whale, 'two')
    const { messageId: flagged } = await world.post(whale, 'three')
    await world.run(commands.pin, { messageId: pinned }, boss)
    const { epoch } = await world.channelOf()
    await world.setActive(false)
    const text = 'x'
    t.same(await world.refusePost(boss, text), refused('channel_unknown'))
    t.same(await world.refuse(commands.edit, { messageId, text }, whale), refused('channel_unknown'))
    t.same(await world.refuse(commands.remove, { messageId }, whale), refused('channel_unknown'))
    t.same(await world.refuse(commands.react, { messageId, emoji: '👍', isOn: true }, ann), refused('channel_unknown'))
    t.same(await world.refuse(commands.report, { messageId, because: 'x' }, ann), refused('channel_unknown'))
    const profile = { edit: { name: 'New' }, isActive: null, channelId: 'general' }
    t.same(await world.refuse(commands.editChannel, profile, boss), refused('channel_archived'))
    await world.run(commands.judge, { messageId: flagged, verdict: 'remove', because: 'hate' })
    await world.run(commands.removeMessage, { messageId: pinned }, boss)
    await world.run(commands.pin, { messageId }, boss)
    await world.run(commands.unpin, { messageId }, boss)
    checkOffsets(world)
    await world.setActive(true)
    await world.post(whale, 'again')
    t.match(await world.channelOf(), { epoch, pins: [], messages: 4 })
    checkOffsets(world)
    t.same(
      world
        .facts(channelChanged)
        .slice(-2)
        .map(({ isActive, by }) => [isActive, by]),
      [
        [false, 'system'],
        [true, 'system'],
      ],
    )
  },
)
