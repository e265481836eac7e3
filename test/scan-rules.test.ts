// Hunts: a code used twice, a quarter that ends a millisecond early or late, a tier taken or kept wrongly, a limit off
// by one, a fraud sign missed. Prizes and money are in prizes.test, random histories in scan-oracle.test.
import assert from 'node:assert/strict'
import t from 'tap'
import { packCodes } from '../actors/codes/commands.js'
import { batchCompleted } from '../actors/codes/facts.js'
import { blakjaksRules } from '../actors/programs/blakjaks/rules.js'
import { memberId, quarterOf, standingIn } from '../actors/programs/tiers.js'
import {
  referralTinsCredited,
  scanAccepted,
  scanFlagged,
  scanRejected,
  type TierName,
  tierChanged,
} from '../actors/user/facts.js'
import type { Principal } from '../engine/command.js'
import { DAY, drawCodes, HOUR, type Loyalty, MINUTE, packTexts, startLoyalty } from './support/loyalty.js'

/** Scans as many codes as there are, a minute apart. */
async function scanAll(world: Loyalty, who: Principal, codes: readonly string[]): Promise<void> {
  for (const code of codes) {
    await world.scan(who, code)
    world.clock.advance(MINUTE)
  }
}

t.test('BJ-SCAN-03 only a manufactured code is accepted, and only once', async (t) => {
  const world = await startLoyalty()
  const [ann, bob] = [await world.openMember(), await world.openMember()]
  const [active] = await world.makeCodes(1)
  const [generated] = await world.makeCodes(1, 'generated')
  const [invalidated] = await world.makeCodes(1, 'invalidated')
  const refused: [string | undefined, string, string][] = [
    ['7777-7777-7777', 'not_found', 'code_unknown'],
    [generated, 'conflict', 'code_not_active'],
    [invalidated, 'conflict', 'code_not_active'],
    ['ABCD-EFGH-IJKL', 'invalid', 'code_malformed'],
    ['', 'invalid', 'code_malformed'],
  ]
  for (const [code, kind, name] of refused) t.match(await world.refuseScan(ann, code), { kind, code: name })
  t.match(await world.scan(ann, active?.toLowerCase()), { scan: { ordinal: 1 } }, 'typed in lower case')
  for (const who of [ann, bob]) t.match(await world.refuseScan(who, active), { code: 'code_already_scanned' })
  t.equal(world.facts(scanAccepted).length, 1)
  t.same(
    world.facts(scanRejected).map(({ reason }) => reason),
    ['code_unknown', 'code_not_active', 'code_not_active', 'code_already_scanned', 'code_already_scanned'],
    'BJ-T32 attempts are kept, what can be no code is not',
  )
  t.equal((await world.viewOf(bob)).lifetimeScans, 0)
})

t.test('BJ-SCAN-05, BJ-T33 a scan is recorded as it came, and the clock of the client is not believed', async (t) => {
  const world = await startLoyalty({ at: '2026-03-31T23:59:59.999Z' })
  const ann = await world.openMember()
  const [first, second] = await world.makeCodes(2)
  const location = { lat: 40.7, lng: -74 }
  await world.scan(ann, first, { timestamp: '2026-04-01T02:00:00+02:00', location, device_id: 'd', method: 'manual' })
  const sent = { clientAt: Date.parse('2026-04-01T00:00:00Z'), ...location, deviceId: 'd', method: 'manual' }
  t.match(world.facts(scanAccepted)[0], { ...sent, quarter: '2026-Q1', sku: 'SPEARMINT-3MG', ip: '203.0.113.7' })
  await world.scan(ann, second)
  const absent = { clientAt: null, lat: null, lng: null, deviceId: null, deviceFingerprint: 0, method: 'qr' }
  t.match(world.facts(scanAccepted)[1], absent)
  const isTime = (timestamp: number) =>
    world.commands.submitScan.input.safeParse({ code: '', ip: '', timestamp }).success
  t.same([8.64e15, 8.64e15 + 2, Number.MAX_SAFE_INTEGER].map(isTime), [true, false, false], 'a time is in the calendar')
})

t.test('BJ-TIER-01, BJ-TIER-02 the 7th, 15th and 30th scan of a quarter lift at once', async (t) => {
  const world = await startLoyalty()
  const ann = await world.openMember()
  const tiers: string[] = []
  for (const code of await world.makeCodes(31)) {
    const { tier_progress: progress } = await world.scan(ann, code)
    tiers.push(progress.current_tier)
    world.clock.advance(2 * MINUTE)
  }
  const starts = ['standard', 'vip', 'high_roller', 'whale'].map((tier) => tiers.indexOf(tier) + 1)
  t.same(starts, [1, 7, 15, 30])
  t.same(
    world.facts(tierChanged).map(({ to, because, quarterScans, expiresAt }) => [to, because, quarterScans, expiresAt]),
    (['vip', 'high_roller', 'whale'] as const).map((to, at) => [to, 'scan', [7, 15, 30][at], Date.UTC(2026, 3)]),
  )
  t.match(await world.viewOf(ann), { memberId: 'BJ-0001-WH', tierStatus: 'active', lifetimeScans: 31 })
})

t.test('BJ-SCAN-08 progress tells the next tier, and none at the top or beyond a permanent one', async (t) => {
  const world = await startLoyalty()
  const ann = await world.openMember()
  const codes = await world.makeCodes(4)
  const first = await world.scan(ann, codes[0])
  const progress = { current_tier: 'standard', current_count: 1, next_tier: 'vip', next_tier_threshold: 7 }
  t.same(first.tier_progress, { ...progress, quarter_label: 'Q1 2026' })
  t.same([first.comp_earned, first.usdt_earned, first.milestone_hit], [null, 0n, null], 'BJ-T11 no pay per scan')
  await world.giveTier(ann, 'high_roller')
  t.match((await world.scan(ann, codes[1])).tier_progress, { next_tier: 'whale', next_tier_threshold: 30 })
  await world.giveTier(ann, 'whale')
  t.match((await world.scan(ann, codes[2])).tier_progress, { next_tier: null, next_tier_threshold: null })
})

t.test(
  'BJ-TIER-03, BJ-T29 a quarter ends at 00:00 UTC to the millisecond, also for a member not in memory',
  async (t) => {
    const boundaries = ['2026-04-01', '2026-07-01', '2026-10-01', '2027-01-01', '2028-04-01']
    for (const [at, boundary] of boundaries.entries()) {
      const ends = Date.parse(`${boundary}T00:00:00Z`)
      const world = await startLoyalty({ at: new Date(ends - DAY).toISOString(), cachedActorsMax: 4 })
      const ann = await world.openMember()
      const codes = await world.makeCodes(10)
      await scanAll(world, ann, codes.slice(0, 7))
      // Pushed out of memory, so that what comes next reads her from the store.
      for (let other = 0; other < 4; other++) await world.openMember()
      world.clock.set(ends - 1)
      t.match(await world.viewOf(ann), { tier: 'vip', quarterEndsAt: ends, progress: { current_count: 7 } })
      const last = await world.scan(ann, codes[7])
      t.match(last.tier_progress, { current_tier: 'vip', current_count: 8 }, 'the last millisecond still counts')
      for (let other = 0; other < 4; other++) await world.openMember()
      world.clock.set(ends)
      t.match(await world.viewOf(ann), { tier: 'standard', memberId: 'BJ-0001-ST', progress: { current_count: 0 } })
      t.equal(world.facts(tierChanged).length, 1, 'nothing is announced before the member scans')
      const first = await world.scan(ann, codes[8])
      t.match(first.tier_progress, { current_tier: 'standard', current_count: 1 }, 'the first scan of the new quarter')
      const label = `Q${(at % 4) + 2}`.replace('Q5', 'Q1')
      t.match(first.tier_progress.quarter_label, boundary === '2028-04-01' ? 'Q2 2028' : label)
      const [, fell] = world.facts(tierChanged)
      t.match(fell, {
        from: 'vip',
        to: 'standard',
        because: 'quarter_end',
        quarter: quarterOf(ends).key,
        quarterScans: 1,
      })
      await world.scan(ann, codes[9])
      t.equal(world.facts(tierChanged).length, 2, 'announced once')
    }
  },
)

t.test('BJ-TIER-03 a tier that ended is not called lost by referrals when tins come first', async (t) => {
  const world = await startLoyalty({ at: '2026-03-20T00:00:00Z' })
  const ann = await world.openMember({ username: 'ann' })
  const bob = await world.openMember({ ref: 'ann' })
  await scanAll(world, ann, await world.makeCodes(7))
  world.clock.set('2026-04-01T00:00:00Z')
  await world.sell(5, 'sale', bob.userId)
  t.match(world.facts(tierChanged)[1], { from: 'vip', to: 'standard', because: 'quarter_end', quarter: '2026-Q2' })
})

t.test('BJ-TIER-04, BJ-T23 referred members’ tins sum up to permanent tiers at 210, 2,100 and 21,000', async (t) => {
  const world = await startLoyalty()
  const ann = await world.openMember({ username: 'Ann' })
  const friends = [await world.openMember({ ref: 'Ann' }), await world.openMember({ ref: 'ann' })]
  const stranger = await world.openMember()
  const sales: [number, TierName][] = [
    [209, 'standard'],
    [1, 'vip'],
    [1_889, 'vip'],
    [1, 'high_roller'],
    [18_899, 'high_roller'],
    [1, 'whale'],
  ]
  for (const [at, [tins, tier]] of sales.entries()) {
    await world.sell(tins, `sale ${at}`, friends[at % 2]?.userId)
    t.match(await world.viewOf(ann), { tier, tierStatus: tier === 'standard' ? 'active' : 'locked' }, `after ${tins}`)
  }
  await world.sell(1_000, 'own', ann.userId)
  await world.sell(1_000, 'foreign', stranger.userId)
  t.equal((await world.viewOf(ann)).referralTins, 21_000, 'own tins and those of strangers do not count')
  t.same(
    world.facts(tierChanged).map(({ to, because, expiresAt }) => [to, because, expiresAt]),
    ['vip', 'high_roller', 'whale'].map((to) => [to, 'referrals', null]),
  )
  t.equal(world.facts(referralTinsCredited).at(-1)?.total, 21_000)
  world.clock.set('2027-02-01T00:00:00Z')
  t.match(await world.viewOf(ann), { tier: 'whale', tierStatus: 'locked' }, 'never resets')
})

t.test('BJ-TIER-05, BJ-T28 the higher of the quarterly and the permanent tier is held', async (t) => {
  const quarter = quarterOf(Date.parse('2026-02-01T00:00:00Z'))
  const cases: [number, number, TierName, boolean][] = [
    [0, 0, 'standard', false],
    [6, 209, 'standard', false],
    [7, 0, 'vip', false],
    [0, 210, 'vip', true],
    [7, 210, 'vip', true],
    [15, 210, 'high_roller', false],
    [14, 2_100, 'high_roller', true],
    [30, 2_100, 'whale', false],
    [0, 21_000, 'whale', true],
  ]
  for (const [quarterScans, referralTins, tier, locked] of cases) {
    const basis = { quarter: quarter.key, quarterScans, referralTins, override: null }
    t.same(standingIn(blakjaksRules, basis, quarter), { tier, locked, quarterScans })
  }
})

t.test('BJ-TIER-06 a tier that only becomes permanent is told too', async (t) => {
  const world = await startLoyalty()
  const ann = await world.openMember({ username: 'ann' })
  const bob = await world.openMember({ ref: 'ann' })
  await scanAll(world, ann, await world.makeCodes(7))
  await world.sell(210, 'sale', bob.userId)
  const both = { to: 'vip', quarterScans: 7 }
  t.match(world.facts(tierChanged), [
    { ...both, from: 'standard', because: 'scan', locked: false, expiresAt: Date.UTC(2026, 3) },
    { ...both, from: 'vip', because: 'referrals', locked: true, expiresAt: null },
  ])
})

t.test('BJ-TIER-09 an admin sets a tier until taking it back', async (t) => {
  const world = await startLoyalty({ at: '2026-03-30T00:00:00Z' })
  const ann = await world.openMember()
  await scanAll(world, ann, await world.makeCodes(7))
  await world.giveTier(ann, 'whale')
  t.match(await world.viewOf(ann), { tier: 'whale', tierStatus: 'locked', memberId: 'BJ-0001-WH' })
  await world.giveTier(ann, 'standard')
  t.match(await world.viewOf(ann), { tier: 'standard', tierStatus: 'locked' }, 'below what was earned')
  await world.giveTier(ann, null)
  t.match(await world.viewOf(ann), { tier: 'vip', tierStatus: 'active' })
  await world.giveTier(ann, 'whale')
  world.clock.set('2026-04-02T00:00:00Z')
  t.match(await world.viewOf(ann), { tier: 'whale', tierStatus: 'locked' }, 'outlives the quarter')
  const told = world.facts(tierChanged).slice(1)
  t.same(
    told.map(({ to, because, locked }) => [to, because, locked]),
    [
      ['whale', 'admin', true],
      ['standard', 'admin', true],
      ['vip', 'admin', false],
      ['whale', 'admin', true],
    ],
  )
  const unknown = { userId: ann.userId.replace('a', 'f'), tier: 'vip' as const }
  t.match(await world.refusal(world.commands.setTier, unknown), { code: 'user_unknown' })
})

t.test(
  'BJ-MID-01, BJ-MID-02, BJ-T30 the number is padded to four digits and grows, the suffix follows the tier',
  (t) => {
    const ids: [number, TierName, string][] = [
      [1, 'standard', 'BJ-0001-ST'],
      [42, 'vip', 'BJ-0042-VIP'],
      [9_999, 'high_roller', 'BJ-9999-HR'],
      [10_000, 'whale', 'BJ-10000-WH'],
      [1_234_567, 'vip', 'BJ-1234567-VIP'],
    ]
    for (const [number, tier, id] of ids) t.equal(memberId(blakjaksRules, number, tier), id)
    t.end()
  },
)

t.test('BJ-FRD-01, BJ-T32 the 61st scan in a rolling hour is refused and told when to come back', async (t) => {
  const world = await startLoyalty()
  const ann = await world.openMember()
  const codes = await world.makeCodes(63)
  const start = world.clock.at
  for (const [at, code] of codes.slice(0, 60).entries()) {
    world.clock.set(start + at * 30_000)
    await world.scan(ann, code)
    if (at === 30) t.match(await world.refuseScan(ann, '7777-7777-7777'), { code: 'code_unknown' }, 'does not count')
  }
  world.clock.advance(1)
  const refused = { kind: 'too_many', code: 'scan_velocity_exceeded' }
  const early = await world.refuseScan(ann, codes[60])
  t.match(early, { ...refused, details: { retryAfterMs: start + HOUR - world.clock.at } })
  t.match(await world.refuseScan(ann, codes[0]), refused, 'a used code tells nothing more')
  t.equal(world.facts(scanRejected).length, 3, 'refused attempts are kept')
  world.clock.set(start + HOUR - 1)
  t.match(await world.refuseScan(ann, codes[60]), { ...refused, details: { retryAfterMs: 1 } })
  world.clock.advance(1)
  await world.scan(ann, codes[60])
  const next = await world.refuseScan(ann, codes[61])
  t.match(next, { ...refused, details: { retryAfterMs: 30_000 } }, 'the window rolls: the second one leaves it next')
  world.clock.advance(next.details.retryAfterMs ?? 0)
  await world.scan(ann, codes[61])
  t.equal(world.facts(scanAccepted).length, 62)
  const bob = await world.openMember()
  await world.scan(bob, codes[62])
})

t.test('BJ-FRD-02 impossible travel is flagged, not refused', async (t) => {
  const newYork = { lat: 40.71, lng: -74.01 }
  const losAngeles = { lat: 34.05, lng: -118.24 }
  const here = { lat: -19.27, lng: 94.45 }
  const opposite = { lat: -here.lat, lng: here.lng - 180 }
  const journeys: [string, { lat: number; lng: number }, { lat: number; lng: number } | undefined, number, boolean][] =
    [
      ['New York to Los Angeles in 10 minutes', newYork, losAngeles, 10 * MINUTE, true],
      ['at the same instant', newYork, losAngeles, 0, true],
      ['by plane', newYork, losAngeles, 6 * HOUR, false],
      ['across town', newYork, { lat: 40.78, lng: -73.87 }, 1_000, false],
      ['over the date line', { lat: 0, lng: 179.9 }, { lat: 0, lng: -179.9 }, 1_000, false],
      ['to the other side of the world', here, opposite, HOUR, true],
      ['position not told', newYork, undefined, 1_000, false],
    ]
  for (const [name, from, to, ms, isFlagged] of journeys) {
    const world = await startLoyalty()
    const ann = await world.openMember()
    const [first, second, third] = await world.makeCodes(3)
    await world.scan(ann, first, { location: from })
    world.clock.advance(ms)
    const { scan } = await world.scan(ann, second, to === undefined ? {} : { location: to })
    const flags = world.facts(scanFlagged).map(({ rule, scanId }) => [rule, scanId])
    t.same(flags, isFlagged ? [['impossible_travel', scan.id]] : [], name)
    await world.scan(ann, third)
  }
})

t.test('BJ-FRD-03 a used code on another device is flagged', async (t) => {
  const world = await startLoyalty()
  const [ann, bob] = [await world.openMember(), await world.openMember()]
  const [code, bare] = await world.makeCodes(2)
  await world.scan(ann, code, { device_id: 'phone-1' })
  await world.refuseScan(ann, code, { device_id: 'phone-1' })
  await world.refuseScan(bob, code)
  await world.scan(ann, bare)
  await world.refuseScan(bob, bare, { device_id: 'phone-2' })
  t.equal(world.facts(scanFlagged).length, 0, 'the same device, or one that is not known')
  await world.refuseScan(bob, code, { device_id: 'phone-2' })
  t.match(world.facts(scanFlagged), [{ rule: 'several_devices', userId: bob.userId }])
  t.equal(world.facts(scanRejected).at(-1)?.deviceId, 'phone-2')
})

t.test('BJ-FRD-04 guessing codes is flagged once an hour', async (t) => {
  const world = await startLoyalty()
  const ann = await world.openMember()
  const guess = async (times: number) => {
    for (let time = 0; time < times; time++) await world.refuseScan(ann, '7777-7777-7777')
    return world.facts(scanFlagged).length
  }
  t.same([await guess(9), await guess(1), await guess(15)], [0, 1, 1])
  world.clock.advance(HOUR + 1)
  t.same([await guess(9), await guess(1)], [1, 2])
  await world.scan(ann, (await world.makeCodes(1))[0])
})

t.test('BJ-QR-02, BJ-QR-04 a batch takes each code once and no more than it was made for', async (t) => {
  const world = await startLoyalty()
  const { commands, program } = world
  const make = (quantity: number) =>
    world.run(commands.createBatch, { name: 'Spring', quantity, product_sku: 'COFFEE-12MG', checksum: false })
  const append = async (batch: number, after: number, ...parts: readonly Uint8Array[]) =>
    (await world.run(commands.appendCodes, { batch, after, codes: Uint8Array.from(Buffer.concat(parts)) })).generated
  const [one, two, three] = ['1', '2', '3'].map((seed) => packCodes(drawCodes(seed, 10)))
  assert.ok(one && two && three)
  const { batch } = await make(25)
  t.equal(await append(batch, 0, one, one.subarray(0, 24)), 10, 'doubles within a chunk')
  t.equal(await append(batch, 0, one), 10, 'a repeat of the chunk')
  t.equal(await append(batch, 0, two), 10, 'another chunk for the same place')
  t.equal(await append(batch, 10, one, two), 15, 'ten known codes, and of the others as many as were asked to look at')
  t.equal(await append(batch, 15, two), 20)
  t.equal(await append(batch, 20, three), 25, 'not one too many')
  t.equal(await append(batch, 25, three), 25, 'complete')
  t.equal(await append(batch + 1, 0, three), 0, 'a batch that nobody opened')
  t.same(world.facts(batchCompleted), [batchCompleted.make({ batch, quantity: 25 })], 'completes once')
  const { batch: other } = await make(10)
  t.equal(other, 2)
  t.equal(await append(other, 0, one), 0, 'codes of another batch')
  t.same([program.book.size, program.book.batchCounts(1).generated], [25, 25])
  const rows = await world.shard.query(world.queries.listBatches, {})
  t.match(rows, [
    { number: 2, state: 'generating', generated: 0 },
    { number: 1, state: 'complete', quantity: 25 },
  ])
  const wrong = { name: 'x', quantity: 1, product_sku: 'NO-SUCH', checksum: false }
  t.match(await world.refusal(commands.createBatch, wrong), { code: 'sku_unknown' })
})

t.test('BJ-QR-05, BJ-QR-07, BJ-QR-08 feedback repeats harmlessly, and only unused codes are taken back', async (t) => {
  const world = await startLoyalty()
  const { commands } = world
  const ann = await world.openMember()
  const [used = '', fresh = '', other = ''] = await world.makeCodes(3, 'generated')
  const manufacture = (...texts: string[]) => world.run(commands.manufacture, { codes: packTexts(...texts) })
  const set = (status: 'generated' | 'invalidated', ...texts: string[]) =>
    world.run(commands.setUnused, { codes: packTexts(...texts), status })
  t.same(await manufacture(used, fresh, used, '7777-7777-7777'), { moved: 2, already: 1, unknown: 1, invalid: 0 })
  await world.scan(ann, used)
  t.same(await manufacture(used, fresh), { moved: 0, already: 2, unknown: 0, invalid: 0 }, 'uploaded again')
  t.same(await set('invalidated', used, fresh, other), { moved: 2, already: 0, unknown: 0, invalid: 1 })
  t.match(await world.refuseScan(ann, fresh), { code: 'code_not_active' })
  t.same(await manufacture(fresh), { moved: 0, already: 0, unknown: 0, invalid: 1 }, 'invalidated stays so')
  t.same(await set('generated', used, fresh), { moved: 1, already: 0, unknown: 0, invalid: 1 }, 'reuse')
  await manufacture(fresh)
  t.match(await world.scan(ann, fresh), { scan: { ordinal: 2 } })
  t.match(await world.refuseScan(ann, used), { code: 'code_already_scanned' }, 'used for ever')
})
