// Hunts: a member a day too young, a name given twice, a session that outlives what ended it, a token or code that works
// twice, a lock that never opens or never shuts, an old name that stays taken.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { signUpForm, username } from '../actors/account/commands.js'
import { accountOpened, emailVerified, loggedIn, profileChanged } from '../actors/account/facts.js'
import { administratorChanged, userStandingChanged } from '../actors/user/facts.js'
import { anonymous, system } from '../engine/command.js'
import { DAY, HOUR, startLoyalty, uuid } from './support/loyalty.js'

t.test('BJ-T54 nobody is a member a day before turning 21', async (t) => {
  const cases: [string, string, boolean][] = [
    ['2005-06-15', '2026-06-15T00:00:00Z', true],
    ['2005-06-15', '2026-06-14T23:59:59.999Z', false],
    ['2005-06-16', '2026-06-15T12:00:00Z', false],
    ['2005-12-31', '2027-01-01T00:00:00Z', true],
    ['2006-01-01', '2026-12-31T23:59:59Z', false],
    ['2004-02-29', '2025-02-28T23:59:59.999Z', false],
    ['2004-02-29', '2025-03-01T00:00:00Z', true],
    ['2004-03-01', '2025-02-28T12:00:00Z', false],
    ['2003-02-28', '2024-02-28T00:00:00Z', true],
    ['2003-03-01', '2024-02-29T12:00:00Z', false],
    ['2003-03-01', '2024-03-01T00:00:00Z', true],
    ['2030-01-01', '2026-01-01T00:00:00Z', false],
  ]
  for (const [date_of_birth, at, isOldEnough] of cases) {
    const world = await startLoyalty({ at })
    const outcome = await world.attempt(world.commands.open, world.signUpArgs({ date_of_birth }), anonymous)
    t.match(
      outcome,
      isOldEnough ? { ok: true } : { ok: false, error: { kind: 'unprocessable', code: 'under_age' } },
      at,
    )
    t.equal(world.records.length, isOldEnough ? 1 : 0)
  }
})

t.test('BJ-AUTH-01, BJ-AUTH-07, BJ-USER-01 a new account says what was told', async (t) => {
  const world = await startLoyalty()
  const address = { line1: '1 Main St', city: 'Reno', state: 'NV', zip_code: '89501', country: 'US' }
  const verification = { hash: 'v', expiresAt: world.clock.at + HOUR }
  const over = { full_name: 'Ann Lee', username: 'Ann.Lee', phone: '+1 555', address, language: 'es', verification }
  const ann = await world.openMember(over)
  const shown = { memberId: 'BJ-0001-ST', fullName: 'Ann Lee', username: 'Ann.Lee', language: 'es', tier: 'standard' }
  t.match(await world.shard.query(world.queries.me, ann), { ...shown, emailVerified: false, isAdmin: false })
  t.match(world.facts(accountOpened), [{ userId: ann.userId, number: 1, address, phone: '+1 555', referrerId: null }])
  const asAdmin = world.signUpArgs({ isAdmin: true })
  t.match(await world.refusal(world.commands.open, asAdmin, anonymous), { code: 'forbidden' })
  const early = { ...ann, role: 'admin' as const }
  const suspend = { userId: ann.userId, standing: 'suspended' as const, reason: '' }
  t.match(await world.refusal(world.commands.setStanding, suspend, early), { code: 'forbidden' }, 'a claim is no right')
  t.match(await world.refusal(world.commands.setStanding, suspend, ann), { code: 'forbidden' })
})

t.test('BJ-AUTH-10, BJ-MID-01 one e-mail, one username, one number, whatever its letters look like', async (t) => {
  const world = await startLoyalty()
  const { commands, shard, signUpArgs } = world
  await world.openMember({ email: 'Ann@Example.com', username: 'Ann_1' })
  for (const email of ['ann@example.com', 'ANN@EXAMPLE.COM', 'Ａｎｎ@example.com']) {
    const taken = { kind: 'unprocessable', code: 'email_taken', details: { field: 'email' } }
    await t.rejects(shard.execute(commands.open, { args: signUpArgs({ email }) }), taken, email)
  }
  for (const name of ['ann_1', 'ANN_1', 'Ａnn_1']) {
    await t.rejects(shard.execute(commands.open, { args: signUpArgs({ username: name }) }), { code: 'username_taken' })
  }
  const form = { email: 'b@example.com', full_name: 'B', date_of_birth: '1990-01-01' }
  for (const name of ['Ａnn', 'ann lee', 'an', 'x'.repeat(51), 'ann@home']) {
    t.notOk(signUpForm.safeParse({ ...form, username: name }).success, `${name} is no username`)
  }
  t.ok(signUpForm.safeParse({ ...form, username: 'x'.repeat(50) }).success)
  const bob = await world.openMember()
  t.equal((await world.viewOf(bob)).memberId, 'BJ-0002-ST', 'refused sign-ups take no number')
})

t.test('BJ-AUTH-10 of sign-ups with one e-mail at the same moment one succeeds', async (t) => {
  const world = await startLoyalty()
  const outcomes: (string | true)[] = []
  for (let at = 0; at < 5; at++) {
    const args = world.signUpArgs({ email: at % 2 === 0 ? 'ann@example.com' : 'ANN@example.com', full_name: 'Ann Lee' })
    world.submit(world.commands.open, { args, who: anonymous }, (outcome) => {
      outcomes.push(outcome.ok || Reflect.get(outcome.error, 'code'))
    })
  }
  await world.idle()
  t.same(outcomes, [true, 'email_taken', 'email_taken', 'email_taken', 'email_taken'])
  t.equal(world.program.directory.memberCount, 1)
})

t.test('BJ-AUTH-10 a username made from the name is free and one the member could have chosen', async (t) => {
  const world = await startLoyalty()
  const names = ['Jane Doe', 'jane  doe', 'Al', 'X', 'Æ', '李雷', 'Zoë Ø', 'J. R. R.', 'Bo', 'x'.repeat(255)]
  const made: string[] = []
  for (const full_name of names) made.push((await world.viewOf(await world.openMember({ full_name }))).username)
  t.same(made.slice(0, 2), ['janedoe', 'janedoe2'])
  t.equal(new Set(made).size, names.length)
  for (const name of made) t.ok(username.safeParse(name).success, name)
})

t.test('BJ-USER-03 any order of sign-ups and renames leaves each name with one member', async (t) => {
  const world = await startLoyalty()
  const [ann, bob, cat] = [await world.openMember(), await world.openMember(), await world.openMember()]
  const name = fc.constantFrom('Kim', 'KIM', 'kim', 'lee', 'Lee', 'max')
  const change = fc.record({ who: fc.constantFrom(ann, bob, cat), name, isEmail: fc.boolean() })
  const names = new Map<string, string>()
  const isTaken = (key: string, userId: string) =>
    [...names].some(([of, held]) => held === key && !of.startsWith(userId))
  await fc.assert(
    fc.asyncProperty(change, async ({ who, name, isEmail }) => {
      const key = `${isEmail ? 'mail' : 'user'} ${name.toLowerCase()}`
      const wanted = isEmail ? { email: `${name}@example.com` } : { username: name }
      const args = { ...wanted, verification: { hash: 'v', expiresAt: world.clock.at + HOUR } }
      const outcome = await world.attempt(world.commands.changeProfile, args, who)
      assert.equal(outcome.ok, !isTaken(key, who.userId))
      if (outcome.ok) names.set(`${who.userId} ${isEmail}`, key)
    }),
    { numRuns: 150, endOnFailure: true },
  )
  t.ok(world.facts(profileChanged).length > 20)
})

t.test(
  'BJ-USER-03 an old username is free, the case of the own one may change, a new e-mail is unverified',
  async (t) => {
    const world = await startLoyalty()
    const ann = await world.openMember({
      username: 'ann',
      verification: { hash: 'v1', expiresAt: world.clock.at + HOUR },
    })
    const bob = await world.openMember({ username: 'bob', email: 'bob@example.com' })
    const change = { verification: { hash: 'v2', expiresAt: world.clock.at + HOUR } }
    const { changeProfile, verifyEmail } = world.commands
    await world.run(verifyEmail, { hash: 'v1' }, ann)
    t.match(await world.run(changeProfile, { ...change, username: 'ANN' }, ann), {
      username: 'ANN',
      emailChanged: false,
    })
    t.match(await world.viewOf(ann), { username: 'ANN', emailVerified: true })
    t.match(await world.refusal(changeProfile, { ...change, username: 'Bob' }, ann), { code: 'username_taken' })
    const both = { ...change, username: 'anna', email: 'BOB@example.com' }
    t.match(await world.refusal(changeProfile, both, ann), { code: 'email_taken', details: { field: 'email' } })
    t.equal(world.program.directory.memberByUsername('anna'), null, 'all or nothing')
    await world.run(changeProfile, { ...change, username: 'anna', email: 'anna@example.com' }, ann)
    t.match(await world.viewOf(ann), { username: 'anna', email: 'anna@example.com', emailVerified: false })
    await world.run(changeProfile, { ...change, username: 'ann' }, bob)
    t.match(
      await world.refusal(verifyEmail, { hash: 'v1' }, ann),
      { code: 'code_invalid' },
      'the code of the old address',
    )
    await world.run(verifyEmail, { hash: 'v2' }, ann)
    t.equal(world.facts(emailVerified).length, 2)
    t.match(await world.refusal(verifyEmail, { hash: 'v2' }, ann), { code: 'code_invalid' }, 'a code works once')
  },
)

t.test('BJ-AUTH-17, BJ-AUTH-18, BJ-T45 one mobile and one desktop session', async (t) => {
  const world = await startLoyalty()
  const phone = await world.openMember()
  const laptop = await world.logIn(phone, 'desktop')
  t.same(await world.areLive(phone, laptop), [true, true])
  const newPhone = await world.logIn(phone, 'mobile')
  t.same(await world.areLive(phone, newPhone, laptop), [false, true, true])
  const [code] = await world.makeCodes(1)
  t.match(await world.refuseScan(phone, code), { kind: 'unauthorized', code: 'session_ended' })
  await world.scan(newPhone, code)
  const newLaptop = await world.logIn(phone, 'desktop')
  t.same(await world.areLive(newPhone, laptop, newLaptop), [true, false, true])
  t.same(world.closings(), [
    [phone.sessionId, 'other_device'],
    [laptop.sessionId, 'other_device'],
  ])
  t.match(await world.refuseScan({ ...newPhone, sessionId: 'made-up' }, code), { code: 'session_ended' })
  t.match(await world.refuseScan({ ...newPhone, userId: uuid('f', 1) }, code), { code: 'session_ended' })
})

t.test('BJ-AUTH-03, BJ-AUTH-13 a refresh token works once, and using an old one ends the session', async (t) => {
  const world = await startLoyalty()
  const ann = await world.openMember()
  const laptop = await world.logIn(ann, 'desktop')
  const token = (generation: number) => ({ userId: ann.userId, sessionId: ann.sessionId, generation })
  t.match(await world.run(world.commands.refresh, token(1), anonymous), { generation: 2, isAdmin: false })
  t.match(await world.run(world.commands.refresh, token(2), anonymous), { generation: 3 })
  const ended = { kind: 'unauthorized', code: 'session_ended' }
  t.match(await world.refusal(world.commands.refresh, token(2), anonymous), ended)
  t.match(await world.refusal(world.commands.refresh, token(3), anonymous), ended, 'the thief’s as well')
  t.same(world.closings(), [[ann.sessionId, 'token_reuse']])
  t.same(await world.areLive(ann, laptop), [false, true])
})

t.test('BJ-AUTH-13, BJ-AUTH-18 a session ends after 30 days without refresh', async (t) => {
  const world = await startLoyalty()
  const ann = await world.openMember()
  const laptop = await world.logIn(ann, 'desktop')
  world.clock.advance(29 * DAY)
  await world.run(world.commands.refresh, { ...laptop, generation: 1 }, anonymous)
  world.clock.advance(DAY - 1)
  t.same(await world.areLive(ann, laptop), [true, true])
  world.clock.advance(1)
  t.same(await world.areLive(ann, laptop), [false, true])
  t.match(await world.refusal(world.commands.refresh, { ...ann, generation: 1 }, anonymous), { code: 'session_ended' })
  t.match(await world.refuseScan(ann, '7777-7777-7777'), { code: 'session_ended' })
  world.clock.advance(29 * DAY - 1)
  t.same(await world.areLive(laptop), [true])
  world.clock.advance(1)
  t.same(await world.areLive(laptop), [false])
})

t.test('BJ-AUTH-06 a logout ends this session and no other', async (t) => {
  const world = await startLoyalty()
  const ann = await world.openMember()
  const laptop = await world.logIn(ann, 'desktop')
  for (let time = 0; time < 2; time++) await world.run(world.commands.logOut, {}, ann)
  t.same(await world.areLive(ann, laptop), [false, true])
  t.same(world.closings(), [[ann.sessionId, 'logout']])
  t.match(await world.refusal(world.commands.refresh, { ...ann, generation: 1 }, anonymous), { code: 'session_ended' })
})

t.test('BJ-T45 a suspended member is out at once, everywhere, until activated', async (t) => {
  const world = await startLoyalty()
  const ann = await world.openMember()
  const laptop = await world.logIn(ann, 'desktop')
  const admin = await world.openMember({ isAdmin: true })
  const set = (standing: 'active' | 'suspended') =>
    world.run(world.commands.setStanding, { userId: ann.userId, standing, reason: 'fraud' }, admin)
  for (let time = 0; time < 2; time++) await set('suspended')
  const because = 'suspended'
  t.same(world.closings(), [
    [ann.sessionId, because],
    [laptop.sessionId, because],
  ])
  t.match(await world.refuseScan(ann, '7777-7777-7777'), { kind: 'forbidden', code: 'account_suspended' })
  t.match(await world.refuseLogIn(ann), { kind: 'forbidden', code: 'account_suspended' })
  t.equal(world.facts(loggedIn).length, 1, 'a refused login leaves no trace')
  t.match(await world.viewOf(ann), { isSuspended: true })
  for (let time = 0; time < 2; time++) await set('active')
  t.same(await world.areLive(await world.logIn(ann)), [true])
  const told = world.facts(userStandingChanged).map(({ standing, by }) => [standing, by === admin.userId])
  t.same(told, [
    ['suspended', true],
    ['active', true],
  ])
})

t.test(
  'A1 two administrators who remove each other: one remains; the system, a member and a used code remove nobody',
  async (t) => {
    const world = await startLoyalty()
    const { makeAdministrator, removeAdministrator, beginTwoFactor, enableTwoFactor } = world.commands
    const [boss, ann, bob] = [
      await world.openMember({ isAdmin: true }),
      await world.openMember(),
      await world.openMember(),
    ]
    for (const each of [boss, ann]) {
      await world.run(beginTwoFactor, { sealedSecret: 'sealed', backupHashes: [] }, each)
      await world.run(enableTwoFactor, { step: 1 }, each)
    }
    const of = ({ userId }: { userId: string }, codeStep: number | null) => ({ userId, codeStep })
    t.match(await world.refusal(makeAdministrator, of(ann, null), boss), { code: 'totp_invalid' })
    t.match(
      await world.refusal(makeAdministrator, of(ann, 2), ann),
      { code: 'forbidden' },
      'nobody makes themselves one',
    )
    const suspension = { userId: bob.userId, standing: 'suspended', reason: 'fraud' } as const
    await world.run(world.commands.setStanding, suspension, boss)
    t.match(await world.refusal(makeAdministrator, of(bob, 2), boss), { code: 'user_suspended' })
    t.match(await world.refusal(makeAdministrator, of({ userId: 'nobody' }, 2), boss), { code: 'user_unknown' })
    await world.run(makeAdministrator, of(ann, 2), boss)
    await world.run(makeAdministrator, of(ann, 3), boss)
    t.match(await world.refusal(removeAdministrator, of(ann, 3), boss), { code: 'totp_invalid' })
    t.match(await world.refusal(removeAdministrator, of(boss, 4), boss), { code: 'administrator_self' })
    t.match(await world.refusal(removeAdministrator, of(boss, null), system), { code: 'forbidden' })
    t.match(await world.refusal(removeAdministrator, of(bob, 4), boss), { code: 'administrator_unknown' })

    const suspendSelf = { ...suspension, userId: boss.userId }
    t.match(await world.refusal(world.commands.setStanding, suspendSelf, boss), { code: 'administrator_self' })
    const annAsAdmin = { ...ann, role: 'admin' } as const
    const [first, second] = await Promise.allSettled([
      world.run(removeAdministrator, of(ann, 4), boss),
      world.run(removeAdministrator, of(boss, 2), annAsAdmin),
    ])
    t.match([first, second], [{ status: 'fulfilled' }, { status: 'rejected' }])
    t.match(await world.refusal(removeAdministrator, of(boss, 2), annAsAdmin), { code: 'forbidden' })
    t.same(
      world
        .facts(administratorChanged)
        .map(({ userId, isAdmin, by }) => [userId === ann.userId, isAdmin, by === boss.userId]),
      [
        [true, true, true],
        [true, false, true],
      ],
    )
    t.match(await world.viewOf(boss), { isAdmin: true })
  },
)
