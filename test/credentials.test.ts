// Hunts: a lock that never opens or never shuts, a code that works twice or too long, a session that outlives a new
// password.
import t from 'tap'
import { accountLocked, accountUnlocked, passwordChanged, twoFactorChanged } from '../actors/account/facts.js'
import { anonymous } from '../engine/command.js'
import { HOUR, type Loyalty, MINUTE, startLoyalty } from './support/loyalty.js'

/** Fails so many logins; false once the account is locked. */
async function fail(world: Loyalty, { userId }: { userId: string }, times: number): Promise<boolean> {
  for (let time = 0; time < times; time++) await world.run(world.commands.failLogin, { userId, ip: null }, anonymous)
  return world.facts(accountLocked).length === 0
}

t.test('BJ-AUTH-15 ten failed logins within an hour lock the account, nine do not', async (t) => {
  const worldAfter = async (steps: [times: number, waitMs: number][]) => {
    const world = await startLoyalty()
    const ann = await world.openMember()
    for (const [times, waitMs] of steps) {
      await fail(world, ann, times)
      world.clock.advance(waitMs)
    }
    return world.facts(accountLocked).length
  }
  t.equal(await worldAfter([[9, 0]]), 0)
  t.equal(await worldAfter([[10, 0]]), 1)
  t.equal(
    await worldAfter([
      [9, HOUR - 1],
      [1, 0],
    ]),
    1,
    'the tenth within the hour',
  )
  t.equal(
    await worldAfter([
      [9, HOUR],
      [9, 0],
    ]),
    0,
    'the hour rolls',
  )
  t.equal(
    await worldAfter([
      [1, HOUR / 2],
      [8, HOUR / 2],
      [1, 0],
      [1, 0],
    ]),
    1,
  )

  const world = await startLoyalty()
  const ann = await world.openMember()
  await fail(world, ann, 9)
  await world.logIn(ann)
  t.ok(await fail(world, ann, 9), 'a good login starts anew')
})

t.test(
  'BJ-AUTH-15 a lock refuses the right password too and opens by itself after an hour, also after a restart',
  async (t) => {
    const world = await startLoyalty()
    const ann = await world.openMember()
    await fail(world, ann, 10)
    const { credentials } = world.queries
    const until = world.clock.at + HOUR
    t.match(await world.shard.query(credentials, ann), { lockedUntil: until })
    world.clock.advance(20 * MINUTE)
    const refused = { kind: 'too_many', code: 'account_locked', details: { retryAfterMs: 40 * MINUTE } }
    t.match(await world.refuseLogIn(ann), refused)
    await fail(world, ann, 15)
    t.equal(world.facts(accountLocked).length, 1, 'failing on does not prolong it')
    t.same(await world.areLive(ann), [true], 'who was in stays in')

    const restarted = await startLoyalty({ at: new Date(world.clock.at).toISOString(), after: world })
    for (const life of [world, restarted]) {
      life.clock.set(until - 1)
      await life.idle()
      t.match(await life.refuseLogIn(ann), { code: 'account_locked' })
      life.clock.set(until)
      await life.idle()
      t.equal(life.facts(accountUnlocked).length, 1)
      t.match(await life.shard.query(credentials, ann), { lockedUntil: null })
      if (life === restarted) await life.logIn(ann)
    }
  },
)

t.test('BJ-AUTH-05, BJ-AUTH-23 a reset opens a locked account and ends all sessions; its alarm is void', async (t) => {
  const world = await startLoyalty()
  const ann = await world.openMember()
  const laptop = await world.logIn(ann, 'desktop')
  await fail(world, ann, 10)
  const { userId } = ann
  await world.run(
    world.commands.requestReset,
    { userId, hash: 'r', expiresAt: world.clock.at + 15 * MINUTE },
    anonymous,
  )
  await world.run(world.commands.confirmReset, { userId, hash: 'r', passwordHash: 'new' }, anonymous)
  t.same(world.closings(), [
    [ann.sessionId, 'password_changed'],
    [laptop.sessionId, 'password_changed'],
  ])
  t.match(await world.shard.query(world.queries.credentials, ann), { passwordHash: 'new', lockedUntil: null })
  const again = await world.refusal(world.commands.confirmReset, { userId, hash: 'r', passwordHash: 'x' }, anonymous)
  t.match(again, { kind: 'unprocessable', code: 'code_invalid' }, 'a code works once')
  const phone = await world.logIn(ann)
  await fail(world, ann, 9)
  world.clock.advance(2 * HOUR)
  await world.idle()
  t.same([world.facts(accountUnlocked).length, world.facts(passwordChanged).length], [0, 1])
  await world.run(world.commands.changePassword, { passwordHash: 'newer' }, phone)
  t.same(await world.areLive(phone), [false], 'the device that changed it too')
})

t.test('BJ-AUTH-22 three reset requests an hour, fifteen minutes, five tries', async (t) => {
  const world = await startLoyalty()
  const { commands, clock } = world
  const { userId } = await world.openMember()
  const request = (hash: string) => ({ userId, hash, expiresAt: clock.at + 15 * MINUTE })
  const confirm = async (hash: string) =>
    (await world.attempt(commands.confirmReset, { userId, hash, passwordHash: hash })).ok
  await world.run(commands.requestReset, request('first'))
  clock.advance(MINUTE)
  await world.run(commands.requestReset, request('second'))
  t.notOk(await confirm('first'), 'only the newest code counts')
  for (let time = 0; time < 4; time++) t.notOk(await confirm('wrong'))
  t.notOk(await confirm('second'), 'void after five wrong tries')
  await world.run(commands.requestReset, request('third'))
  for (let time = 0; time < 4; time++) t.notOk(await confirm('wrong'))
  t.ok(await confirm('third'), 'a new code has five tries of its own')
  const limited = { kind: 'too_many', code: 'reset_limit', details: { retryAfterMs: 59 * MINUTE } }
  t.match(await world.refusal(commands.requestReset, request('fourth')), limited)
  clock.advance(59 * MINUTE - 1)
  t.match(await world.refusal(commands.requestReset, request('fourth')), { details: { retryAfterMs: 1 } })
  clock.advance(1)
  await world.run(commands.requestReset, request('fourth'))
  clock.advance(15 * MINUTE)
  t.notOk(await confirm('fourth'), 'expired')
  clock.advance(HOUR)
  await world.run(commands.requestReset, request('fifth'))
  clock.advance(15 * MINUTE - 1)
  t.ok(await confirm('fifth'), 'a millisecond before')
})

t.test('BJ-AUTH-20, BJ-AUTH-21 a one-time code and a backup code work once', async (t) => {
  const world = await startLoyalty()
  const { beginTwoFactor, enableTwoFactor, disableTwoFactor } = world.commands
  const ann = await world.openMember()
  const secret = { sealedSecret: 'sealed', backupHashes: ['one', 'two'] }
  t.match(await world.refusal(enableTwoFactor, { step: 1 }, ann), { code: 'two_factor_not_begun' })
  await world.run(beginTwoFactor, secret, ann)
  t.match(await world.viewOf(ann), { twoFactorEnabled: false }, 'not before the first code')
  await world.run(enableTwoFactor, { step: 100 }, ann)
  t.match(await world.refusal(beginTwoFactor, { ...secret, sealedSecret: 'thief' }, ann), {
    code: 'two_factor_enabled',
  })
  const used = { kind: 'unauthorized', code: 'totp_invalid' }
  t.match(await world.refuseLogIn(ann, { step: 100 }), used, 'the code that enabled it')
  const phone = await world.logIn(ann, 'mobile', { step: 102 })
  for (const step of [102, 101]) t.match(await world.refuseLogIn(ann, { step }), used, 'used, or older')
  await world.attempt(enableTwoFactor, { step: 100 }, phone)
  t.match(await world.refuseLogIn(ann, { step: 102 }), used, 'enabling it again brings no used code back')
  const laptop = await world.logIn(ann, 'desktop', { usedBackupHash: 'one' })
  t.match(await world.refuseLogIn(ann, { usedBackupHash: 'one' }), used)
  await world.logIn(ann, 'mobile', { usedBackupHash: 'two' })
  t.same((await world.shard.query(world.queries.credentials, ann))?.twoFactor?.backupHashes, [])
  await world.run(disableTwoFactor, {}, laptop)
  t.match(await world.shard.query(world.queries.credentials, ann), { twoFactor: null })
  t.same(
    world.facts(twoFactorChanged).map(({ enabled }) => enabled),
    [true, false],
  )
})
