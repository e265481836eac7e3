// Hunts: a channel opened twice or edited by halves, a system that talks too much, and a tier, name or right that the
// chat believes too long: the loyalty side tells it by message, and a quarter ends with nobody saying so (BJ-T29).
import t from 'tap'
import { messagePosted } from '../actors/chat/facts.js'
import { quarterOf } from '../actors/programs/tiers.js'
import { administratorChanged, type TierName } from '../actors/user/facts.js'
import type { Principal } from '../engine/command.js'
import { RightsWatch } from '../gateway/sockets/rights-watch.js'
import { type ChatWorld, checkOffsets, refused, startChat } from './support/chat.js'
import { MINUTE } from './support/loyalty.js'
import { ManualTime, tier } from './support/sockets.js'

/** The tier the chat believes a member to have. */
const tierOf = async (world: ChatWorld, { userId }: Principal): Promise<TierName> =>
  (await world.shard.query(world.queries.standing, { userId })).tier

t.test(
  'BJ-T29 the millisecond a quarter turns, the lounge is closed to who was a High Roller, with nobody saying so',
  async (t) => {
    const turn = Date.parse('2026-04-01T00:00:00Z')
    const world = await startChat({ at: '2026-03-20T00:00:00Z' })
    const [ann, given] = [await world.join('ann'), await world.join('given', 'high_roller')]
    for (const code of await world.makeCodes(15)) {
      await world.scan(ann, code)
      world.clock.advance(2 * MINUTE)
    }
    const lounge = { channelId: 'high-roller-lounge' }
    await world.post(ann, 'in the lounge', lounge)
    const { messageId } = await world.post(ann, 'mine', lounge)
    const { userId } = ann
    const { epoch, offset } = await world.channelOf('high-roller-lounge')
    const asked = { userId, ...lounge, position: { epoch, offset: offset - 1 }, limit: 50 }
    const open = () => world.shard.query(world.queries.openChannel, asked)
    const listed = async () =>
      (await world.shard.query(world.queries.channels, { userId })).some(
        ({ channelId }) => channelId === lounge.channelId,
      )
    world.clock.set(turn - 1)
    await world.post(ann, 'the last millisecond', lounge)
    t.equal((await open()).messages.length, 2)
    t.equal(await listed(), true)
    const records = world.records.length
    world.clock.set(turn)
    const { commands } = world
    t.same(await world.refusePost(ann, 'one more', lounge), refused('tier_too_low'))
    t.same(await world.refuse(commands.edit, { messageId, text: 'x' }, ann), refused('tier_too_low'))
    t.same(await world.refuse(commands.remove, { messageId }, ann), refused('tier_too_low'))
    t.same(await world.refuse(commands.react, { messageId, emoji: '👍', isOn: true }, ann), refused('tier_too_low'))
    t.same(await world.refuse(commands.report, { messageId, because: 'x' }, ann), refused('tier_too_low'))
    t.same(await world.refuse(commands.read, { ...lounge, number: 1 }, ann), refused('tier_too_low'))
    await t.rejects(open(), { code: 'tier_too_low' })
    await t.rejects(world.shard.query(world.queries.readable, asked), { code: 'tier_too_low' })
    t.equal(await listed(), false)
    t.equal(world.records.length, records, 'nobody said a word')
    world.clock.advance(1_000)
    await world.post(ann, 'here still')
    t.equal((await world.refusePost(ann, 'too fast for a Standard')).code, 'cooldown')
    await world.post(given, 'what an administrator gave outlives the quarter', lounge)
  },
)

t.test('BJ-T29 tins of friends count for the chat too: what they hold is left when the quarter ends', async (t) => {
  const world = await startChat({ at: '2026-03-20T00:00:00Z' })
  const ann = await world.join('ann')
  const bob = await world.openMember({ ref: 'ann' })
  for (const code of await world.makeCodes(15)) {
    await world.scan(ann, code)
    world.clock.advance(2 * MINUTE)
  }
  await world.sell(210, 'sale', bob.userId)
  t.equal(await tierOf(world, ann), 'high_roller')
  world.clock.set('2026-04-01T00:00:00Z')
  t.equal((await world.viewOf(ann)).tier, 'vip')
  t.equal(await tierOf(world, ann), 'vip')
})

t.test('what the loyalty side decides is known to the chat in the same run', async (t) => {
  const world = await startChat()
  const ann = await world.join('ann')
  const stranger = await world.openMember()
  const whaleRoom = { channelId: 'whale-room' }
  t.same(await world.refusePost(ann, 'x', whaleRoom), refused('tier_too_low'))
  await world.giveTier(ann, 'whale')
  await world.post(ann, 'x', whaleRoom)
  world.clock.advance(MINUTE)
  await world.giveTier(ann, null)
  t.same(await world.refusePost(ann, 'x', whaleRoom), refused('tier_too_low'))
  for (const [at, code] of (await world.makeCodes(7)).entries()) {
    t.equal(await tierOf(world, ann), 'standard', `after ${at} scans`)
    await world.scan(ann, code)
  }
  t.equal(await tierOf(world, ann), 'vip')
  const standing = (to: 'active' | 'suspended', { userId }: Principal) =>
    world.run(world.program.commands.setStanding, { userId, standing: to, reason: 'test' })
  await standing('suspended', ann)
  await standing('suspended', stranger)
  const { messageId } = await world.post(await world.join('bob'), 'hi')
  t.same(await world.refusePost(ann, 'x'), refused('account_suspended'))
  const reaction = { messageId, emoji: '👍', isOn: true }
  t.same(await world.refuse(world.commands.react, reaction, ann), refused('account_suspended'))
  await standing('active', ann)
  await world.post(ann, 'back')
  const boss = await world.join('boss', 'standard', true)
  const { makeAdministrator, removeAdministrator, beginTwoFactor, enableTwoFactor } = world.program.commands
  await world.run(makeAdministrator, { userId: ann.userId, codeStep: null })
  await world.run(world.commands.pin, { messageId }, { ...ann, role: 'admin' })
  await world.run(beginTwoFactor, { sealedSecret: 'sealed', backupHashes: [] }, boss)
  await world.run(enableTwoFactor, { step: 1 }, boss)
  await world.run(removeAdministrator, { userId: ann.userId, codeStep: 2 }, boss)
  t.same(await world.refuse(world.commands.unpin, { messageId }, { ...ann, role: 'admin' }), refused('forbidden'))
  const told = world.facts(messagePosted).filter(({ channelId }) => channelId === 'wins')
  t.same(
    told.map(({ message }) => message.text),
    ['BJ-0001-WH is Whale now.', 'BJ-0001-VIP is VIP now.'],
    'BJ-CHAT-17',
  )
})

t.test('BJ-CHAT-11 channels: opened once by moderators, so many, edited in part', async (t) => {
  const world = await startChat()
  const [boss, ann] = [await world.join('boss', 'standard', true), await world.join('ann')]
  const { open, editChannel } = world.commands
  const { profile } = await world.channelOf()
  t.ok(profile)
  if (profile === null) return
  t.same(await world.refuse(open, { channelId: 'general', profile }, boss), refused('channel_exists'))
  t.same(await world.refuse(open, { channelId: 'new', profile }, ann), refused('forbidden'))
  t.same(
    await world.refuse(editChannel, { channelId: 'nowhere', edit: {}, isActive: null }, boss),
    refused('channel_unknown'),
  )
  for (const channelId of ['', 'Big', 'a b', '-a', 'a/b', 'ü', 'a'.repeat(65)]) {
    t.equal(open.input.safeParse({ channelId, profile }).success, false, channelId)
  }
  await world.run(
    editChannel,
    { channelId: 'general', edit: { name: 'Plaza', modes: { emoteOnly: true } }, isActive: null },
    boss,
  )
  t.same((await world.channelOf()).profile, { ...profile, name: 'Plaza', modes: { ...profile.modes, emoteOnly: true } })
  for (let at = 13; at < 200; at++) await world.run(open, { channelId: `c${at}`, profile }, boss)
  t.same(await world.refuse(open, { channelId: 'one-more', profile }, boss), refused('too_many_channels'))
  checkOffsets(world)
})

t.test(
  'BJ-CHAT-17 the system says so much in a minute, and no more; its words ring nobody and are moderated as others',
  async (t) => {
    const world = await startChat()
    const boss = await world.join('boss', 'standard', true)
    const said = () => world.facts(messagePosted).filter(({ channelId }) => channelId === 'wins').length
    world.clock.set((Math.floor(world.clock.at / MINUTE) + 1) * MINUTE)
    const say = (id: string, channelId = 'wins') =>
      world.run(world.commands.announce, { messageId: id, channelId, text: '@boss won' })
    for (let at = 0; at < 35; at++) await say(`a${at}`)
    t.equal(said(), 30)
    t.equal(await say('one-more'), null)
    world.clock.advance(MINUTE - 1)
    t.equal(await say('still'), null)
    world.clock.advance(1)
    t.match(await say('next'), { number: 31 })
    t.match(await world.messageOf('next'), { author: null, mentions: [], text: '@boss won', status: 'approved' })
    t.equal(await say('elsewhere', 'nowhere'), null)
    await world.setActive(false, 'wins')
    t.equal(await say('archived'), null)
    await world.setActive(true, 'wins')
    await world.run(world.commands.removeMessage, { messageId: 'next' }, boss)
    checkOffsets(world)
  },
)

t.test('BJ-T29, B1 everybody who is here when a quarter ends is looked at again, some at a time', async (t) => {
  const time = new ManualTime()
  const quarterMs = quarterOf(time.now()).endsAt - time.now()
  let present: readonly string[] = []
  const seen: string[] = []
  const waiting: (() => void)[] = []
  const rights = new RightsWatch({
    environment: time,
    present: () => present,
    recheck: (userId) => {
      seen.push(userId)
      return new Promise((resolve) => waiting.push(resolve))
    },
  })
  const answered = async () => {
    for (const answer of waiting.splice(0)) answer()
    await new Promise(setImmediate)
    return seen.length
  }
  rights.start()
  rights.start()
  t.equal(time.timers, 1)
  present = Array.from({ length: 250 }, (_, index) => `m${index}`)
  time.pass(quarterMs - 1)
  t.equal(seen.length, 0)
  time.pass(1)
  t.equal(seen.length, 100)
  t.equal(await answered(), 200)
  t.equal(await answered(), 250)
  t.same(seen, present)
  rights.hear(tier('ann', 'whale', 'standard'))
  rights.hear(administratorChanged.make({ userId: 'carl', isAdmin: false, by: 'boss' }))
  t.same(seen.slice(250), ['ann', 'carl'])
  present = ['left']
  time.pass(quarterOf(time.now()).endsAt - time.now())
  t.equal(seen.at(-1), 'left', 'and every quarter after it')
  rights.stop()
  t.equal(time.timers, 0)
})
