// What facts, postings and deltas become in Postgres, and what cold reads tell of it.
import fc from 'fast-check'
import t, { type Test } from 'tap'
import {
  accountLocked,
  accountOpened,
  emailVerified,
  loggedIn,
  profileChanged,
  twoFactorChanged,
} from '../actors/account/facts.js'
import { CodeBook } from '../actors/codes/code-book.js'
import { batchCreated, batchExported } from '../actors/codes/facts.js'
import { compFunded, treasuryFunded } from '../actors/treasury/facts.js'
import {
  chipEarned,
  compAwarded,
  milestoneUnclaimed,
  scanFlagged,
  scanRejected,
  sessionOpened,
  tierChanged,
  userCreated,
  userStandingChanged,
} from '../actors/user/facts.js'
import { compUnlocked, tinsSold } from '../actors/volume/facts.js'
import { arrayText } from '../persistence/projector/columns.js'
import { defaultProjectorLimits } from '../persistence/projector/limits.js'
import { batchTimes, codeHistory } from '../persistence/queries/codes.js'
import { recentScans, scanFlags } from '../persistence/queries/scans.js'
import { restoreCodeBook } from '../persistence/restore/code-book.js'
import { open, startOnTemplate } from './support/postgres.js'
import {
  applyAll,
  codesMade,
  EPOCH,
  freshDatabase,
  freshJournal,
  type Parts,
  scansOf,
  uuidOf,
} from './support/projection.js'

t.setTimeout(240_000)

t.test('projections', async (t) => {
  const server = await startOnTemplate(t)
  const admin = open(t, server.url, 1)
  /** Applies records to a database of its own; `batchRecordsMax` sets where batches end. */
  const applied = async (test: Test, records: readonly Parts[], batchRecordsMax = 100) => {
    const { sql, url } = await freshDatabase(test, admin, server.url)
    const { directory, write } = await freshJournal(test)
    await write(records)
    const limits = { ...defaultProjectorLimits, batchRecordsMax, lingerRecordsMax: 1 }
    await applyAll({ url, directory, limits }, records.length)
    test.same([...(await sql`select table_name, error, row from dead_letters`)], [])
    return sql
  }

  await t.test('postings become ledger entries that sum to zero', async (t) => {
    const line = (account: string, amount: bigint, currency = 'USDT') => ({ account, currency, amount })
    const huge = 2n ** 63n - 1n
    const sql = await applied(t, [
      {
        postings: [
          { kind: 'hold', reference: 'a', lines: [line('treasury/member:available', -5n), line('x:held', 5n)] },
          { kind: 'wei', reference: 'b', lines: [line('y:in', -huge, 'WEI'), line('y:out', huge, 'WEI')] },
        ],
      },
    ])
    t.same(await sql`select line, posting, account, amount::text from ledger_entries order by line`, [
      { line: 0, posting: 0, account: 'treasury/member:available', amount: '-5' },
      { line: 1, posting: 0, account: 'x:held', amount: '5' },
      { line: 2, posting: 1, account: 'y:in', amount: `${-huge}` },
      { line: 3, posting: 1, account: 'y:out', amount: `${huge}` },
    ])
    const sums = await sql`select sum(amount)::text as sum from ledger_entries group by seq, posting, currency`
    t.ok(sums.every(({ sum }) => sum === '0'))
  })

  await t.test('any text, number and time arrives as it was sent', async (t) => {
    const sql = await applied(t, [])
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('NULL', '', '{}', '","', '\\', '\0', '\ud800', 'a,b'),
    )
    const time = fc.integer({ min: -2_000_000_000_000, max: 9_000_000_000_000 })
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ text, time, number: fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n) })),
        async (rows) => {
          const entries = rows.map((row) => ({ row }))
          const got = await sql`
          select text, (extract(epoch from to_timestamp(time / 1000.0::float8)) * 1000)::int8 as time, number
          from unnest(${arrayText(entries, 'text')}::text[], ${arrayText(entries, 'time')}::int8[],
            ${arrayText(entries, 'number')}::int8[]) as sent (text, time, number)`
          const expected = rows.map(({ text, time, number }) => ({
            text: Buffer.from(text.replaceAll('\0', '\ufffd')).toString(),
            time: BigInt(time),
            number,
          }))
          t.same([...got], expected)
        },
      ),
      { numRuns: 60 },
    )
  })

  for (const batchRecordsMax of [1, 100]) {
    await t.test(`a member's row tells the latest of everything, in batches of ${batchRecordsMax}`, async (t) => {
      const userId = uuidOf(7)
      const [first, second] = [uuidOf(20), uuidOf(21)]
      const address = { line1: '1 Main St', city: 'Reno', state: 'NV', zip_code: '89501', country: 'US' }
      const account = { userId, number: 42, email: 'a@x.test', username: 'a', fullName: 'A', phone: null }
      const more = { dateOfBirth: '1990-02-03', address, language: 'en', referrerId: uuidOf(1), isAdmin: false }
      const tier = { userId, number: 42, quarter: '2026-Q4', quarterScans: 7, because: 'scan', locked: false } as const
      const locked = { quarterScans: 7, because: 'admin', locked: true, expiresAt: null } as const
      const changed = { userId, username: 'b', fullName: 'B', emailVerified: false }
      const sql = await applied(
        t,
        [
          { facts: [userCreated.make({ userId, number: 42, referrerId: uuidOf(1), isAdmin: false })] },
          { facts: [accountOpened.make({ ...account, ...more }), emailVerified.make({ userId })] },
          { facts: [sessionOpened.make({ userId, sessionId: 's1', device: 'mobile' })] },
          { facts: [loggedIn.make({ userId, ip: '203.0.113.7' }), twoFactorChanged.make({ userId, enabled: true })] },
          { facts: [tierChanged.make({ ...tier, from: 'standard', to: 'vip', expiresAt: EPOCH })] },
          {
            facts: [
              profileChanged.make({ ...changed, email: 'b@x.test' }),
              accountLocked.make({ userId, until: EPOCH }),
            ],
          },
          { facts: [userStandingChanged.make({ userId, standing: 'suspended', by: 'admin', reason: 'fraud' })] },
          { facts: [tierChanged.make({ ...tier, ...locked, from: 'vip', to: 'high_roller' })] },
          { facts: [chipEarned.make({ userId, fromUserId: first, scanId: second, chipType: 'referral_scan' })] },
        ],
        batchRecordsMax,
      )
      t.match(await sql`select * from users`, [
        {
          id: userId,
          member_id: 'BJ-0042-HR',
          email: 'b@x.test',
          username: 'b',
          city: 'Reno',
          address_line2: null,
          date_of_birth: new Date('1990-02-03'),
          tier: 'high_roller',
          tier_status: 'locked',
          email_verified: false,
          totp_enabled: true,
          is_active: false,
          referred_by_id: uuidOf(1),
          member_since: new Date(EPOCH + 2_000),
          last_login: new Date(EPOCH + 4_000),
          locked_until: new Date(EPOCH),
        },
      ])
      t.match(
        await sql`select seq, entry, previous_tier, tier, is_permanent, expires_at from tier_history order by seq`,
        [
          {
            seq: 5n,
            entry: 0,
            previous_tier: 'standard',
            tier: 'vip',
            is_permanent: false,
            expires_at: new Date(EPOCH),
          },
          { seq: 8n, entry: 0, previous_tier: 'vip', tier: 'high_roller', is_permanent: true, expires_at: null },
        ],
      )
      const events = await sql`select kind from account_events order by seq, entry`
      t.same(
        events.map(({ kind }) => kind),
        ['session_opened', 'logged_in', 'two_factor_enabled', 'locked', 'suspended'],
      )
      t.match(await sql`select * from affiliate_chips`, [{ user_id: userId, referred_user_id: first, chips_earned: 1 }])
    })
  }

  await t.test('prizes, unlocks and funding keep every micro-USDT', async (t) => {
    const [compId, userId, scanId] = [uuidOf(1), uuidOf(2), uuidOf(3)]
    const comp = { compId, userId, compType: 'crypto_100', amount: 100_000_001n, scanId, ordinal: 500 } as const
    const sql = await applied(t, [
      {
        facts: [
          compAwarded.make({ ...comp, milestone: '500th', funded: false }),
          milestoneUnclaimed.make({ ordinal: 1000, userId, compType: 'crypto_100', because: 'tier_too_low' }),
        ],
      },
      { facts: [treasuryFunded.make({ pool: 'member', amount: 2n ** 62n, reference: 'r', by: 'admin' })] },
      { facts: [compFunded.make({ compId, userId, amount: 100_000_001n })] },
      { facts: [tinsSold.make({ tins: 12, userId: null, reference: 'order 1', average: 4.5, by: 'shop' })] },
      { facts: [compUnlocked.make({ compType: 'trip', average: 500_000.25, by: 'sales' })] },
    ])
    t.match(await sql`select *, amount::text from comps`, [
      {
        id: compId,
        type: 'crypto_100',
        amount: '100.000001',
        status: 'pending',
        funded: true,
        trigger_scan_id: scanId,
      },
    ])
    t.match(await sql`select ordinal, because from milestones_unclaimed`, [{ ordinal: 1000n, because: 'tier_too_low' }])
    t.match(await sql`select amount::text from treasury_funding`, [{ amount: '4611686018427.387904' }])
    t.match(await sql`select tins, user_id, monthly_average from tins_sold`, [
      { tins: 12, user_id: null, monthly_average: 4.5 },
    ])
    t.match(await sql`select unlocked_at from comp_unlocks`, [{ unlocked_at: new Date(EPOCH + 5_000) }])
  })

  await t.test('cold reads and the view for analysts tell what happened to a code', async (t) => {
    const attempt = { userId: uuidOf(1), attemptId: uuidOf(9), code: 'aaaa-ahaa-aaac', reason: 'used' }
    const flag = { userId: uuidOf(1), scanId: uuidOf(9), rule: 'several_devices', detail: 'd' } as const
    const made = { batch: 1, name: 'First', sku: 'SKU', quantity: 40, checksum: true, by: 'admin' }
    const sql = await applied(t, [
      { ...codesMade(40), facts: [batchCreated.make(made)] },
      ...scansOf(30),
      { facts: [scanRejected.make({ ...attempt, deviceId: null, ip: '::1' }), scanFlagged.make(flag)] },
      { facts: [batchExported.make({ batch: 1, by: 'admin' })] },
    ])

    const page = await recentScans(sql, uuidOf(2), { limit: 2 })
    t.same(
      page.map(({ ordinal }) => ordinal),
      [22, 12],
    )
    t.same(await recentScans(sql, uuidOf(2), { beforeOrdinal: 12, limit: 5 }), [
      {
        scanId: uuidOf(2_000_002),
        ordinal: 2,
        at: EPOCH + 3_000,
        code: { hi: 7, lo: 2 },
        sku: 'BJ-MINT-12',
        method: 'qr',
        tier: 'vip',
        compType: null,
        compAmount: 0n,
        milestone: null,
      },
    ])
    const used = await codeHistory(sql, { row: 2, hi: 7, lo: 2 })
    t.match(used, {
      generatedAt: EPOCH + 1_000,
      batch: 1,
      changes: [{ status: 'manufactured', at: EPOCH + 1_000 }],
      scan: { ordinal: 2, userId: uuidOf(2), at: EPOCH + 3_000, deviceId: 'phone', ip: '203.0.113.7' },
      attempts: [{ attemptId: uuidOf(9), reason: 'used', ip: '::1' }],
    })
    t.match(await codeHistory(sql, { row: null, hi: 1, lo: 1 }), { generatedAt: null, scan: null, attempts: [] })
    t.match(await scanFlags(sql, { limit: 5 }), [{ rule: 'several_devices', at: EPOCH + 32_000, seq: 32 }])
    t.same(await scanFlags(sql, { userId: uuidOf(2), limit: 5 }), [])
    t.match(await batchTimes(sql), [{ batch: 1, generatedAt: EPOCH + 1_000, exportedAt: EPOCH + 33_000 }])

    const book = new CodeBook()
    await restoreCodeBook(sql, book)
    const codes = await sql`select code, status, manufactured_at, product_sku from qr_codes order by code_row`
    t.same(
      codes.map(({ code, status }) => [code, status]),
      Array.from({ length: 40 }, (_, row) => [book.code(row), book.status(row)]),
    )
    t.match(codes[39], { manufactured_at: new Date(EPOCH + 1_000), product_sku: 'SKU' })
  })
})
