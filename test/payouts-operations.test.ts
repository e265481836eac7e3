// Hunts, against the whole server with real chains: a payout over a limit that nobody has to agree to, a failed one that is
// lost or paid twice when it is tried again, a theft that is made good in silence, a proof that never goes stale, a
// transfer that one administrator can let go.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Connection, PublicKey } from '@solana/web3.js'
import { generateSync } from 'otplib'
import t from 'tap'
import { encodeFunctionData, getAddress, type Hex, parseAbi, parseEther } from 'viem'
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts'
import { pools } from '../actors/treasury/facts.js'
import { TEST_TOKEN } from '../chain/dev/evm-token.js'
import { startSolanaDev } from '../chain/dev/solana-dev.js'
import {
  activeCodes,
  Client,
  connectSocket,
  logInAdmin,
  mailed,
  saidOf,
  signUp,
  signUpMany,
  type Told,
} from './support/members.js'
import { chainOf, Office, refuseWhenMined, startOperations, unhurried } from './support/operations.js'
import { adminAccount, Deployment, until } from './support/server.js'

t.setTimeout(120_000)
// Servers, each on a chain of its own, that mostly wait for blocks.
t.jobs = 2
const USDT = 1_000_000n
const MINUTE_MS = 60_000
const STRANGER = getAddress(`0x${'5a'.repeat(20)}`)
const token = parseAbi(['function balanceOf(address) view returns (uint256)', 'function transfer(address,uint256)'])

t.test('on a local EVM chain', async (t) => {
  const { site, url, advance, now } = await startOperations(t)
  const admin = await logInAdmin({ url })
  const office = new Office(admin)
  const chain = chainOf(await office.nodeUrl())
  const held = (address: Hex) =>
    chain.readContract({ address: TEST_TOKEN, abi: token, functionName: 'balanceOf', args: [address] })
  const ann = await signUp({ url }, 'ann')
  const live = await connectSocket(t, { url }, '/insights/live', ann.token)
  const codes = await activeCodes(admin, 2)
  await admin.post('/v1/admin/treasury/fund', { pool: 'member', amount: '5000', reference: 'deposit 1' })
  const wallet: Hex = await until('ann has a wallet', async () => (await ann.get('/v1/users/me/wallet')).body.address)
  await until('the pool has its money', async () => (await office.poolOf('member')).onchain_balance === 5_000)

  await t.test(
    'BJ-T39: reverted on chain, a comp is failed and its money free; tried again, it is paid once',
    async (t) => {
      const lift = await refuseWhenMined(chain, wallet)
      t.match(await ann.scan(codes[0] ?? ''), { comp_earned: { amount: 100 } })
      const failed = await office.compOf(ann, 'failed')
      t.match(failed, { payout_state: 'failed', because: 'reverted', paid_at: null })
      const { attempt, state, transaction_hashes: sent } = await office.payoutOf(failed.id)
      t.match({ attempt, state, sent: sent.length }, { attempt: 1, state: 'failed', sent: 1 })
      t.equal((await chain.getTransactionReceipt({ hash: sent[0] })).status, 'reverted')
      t.match(await office.poolOf('member'), { available: 5_000, held: 0, paid: 0, paused_because: null })
      t.equal(await held(wallet), 0n)

      await lift()
      const retry = `/v1/admin/comps/retry/${failed.id}`
      t.match(await ann.post(retry), { status: 403 })
      t.match(await admin.post(retry), { status: 200, body: { attempt: 2 } })
      t.match(await admin.post(retry), { status: 409, body: { code: 'payout_state' } }, 'twice is once')
      const paid = await office.compOf(ann, 'paid')
      t.match(paid, { id: failed.id, amount: 100, payout_state: 'settled', because: null })
      t.not(paid.transaction_hash, sent[0])
      t.equal((await chain.getTransactionReceipt({ hash: paid.transaction_hash })).status, 'success')
      t.equal(await held(wallet), 100n * USDT)
      t.match(await office.poolOf('member'), { available: 4_900, held: 0, paid: 100 })
      t.match((await ann.get('/v1/transactions')).body.transactions, [{ status: 'confirmed', amount: 100 }])
      t.match((await mailed(site, ann.account.email, 'comp-paid')).text, paid.transaction_hash)
    },
  )

  await t.test('BJ-TRS-06: a comp over the limit is not paid before an administrator agrees to it', async (t) => {
    t.match(await ann.scan(codes[1] ?? ''), { comp_earned: { amount: 1_000 } })
    const comp = await office.compOf(ann, 'pending')
    const review = await until('it is in review', async () => {
      const payout = await office.payoutOf(comp.id)
      return payout.state === 'review' ? payout : null
    })
    t.match(review, { amount: 1_000, approvals_needed: 1, approved_by: [], transaction_hashes: [], nonce: null })
    t.match((await office.poolOf('member')).open, { review: { count: 1, amount: 1_000 }, queued: { count: 0 } })
    const listed = await until('the reason is listed', async () => {
      const { body } = await admin.get(`/v1/admin/comps?status=pending&user_id=${ann.user.id}`)
      return body.comps[0]?.payout_state === 'review' ? body.comps[0] : null
    })
    t.match(listed, { id: comp.id, because: 'payout_limit', transaction_hash: null })
    t.equal(await held(wallet), 100n * USDT)

    const approve = `/v1/admin/treasury/payouts/${comp.id}/approve`
    t.match(await ann.post(approve, { intent: review.intent }), { status: 403 })
    t.match(await admin.post(approve, { intent: 'f'.repeat(64) }), { status: 409, body: { code: 'intent_changed' } })
    t.same((await admin.post(approve, { intent: review.intent })).body, { approvals: 1, needed: 1 })
    await until('it is paid', async () => (await office.payoutOf(comp.id)).state === 'settled')
    t.equal(await held(wallet), 1_100n * USDT)
    t.match(await admin.post(approve, { intent: review.intent }), { status: 409, body: { code: 'payout_state' } })
    const trail = await until('its trail is written', async () => {
      const { steps, approvals } = await office.payoutOf(comp.id)
      const states: string[] = steps.map(({ state }: Told) => state)
      return states.at(-1) === 'settled' ? { states, approvals } : null
    })
    t.match(trail.states.join(), /^review,queued,prepared,signed/)
    t.match(trail.approvals, [{ intent: review.intent }])
  })

  await t.test('BJ-REC-02, 03: a theft stops its wallet, is told of, and stays a discrepancy', async (t) => {
    await admin.post('/v1/admin/treasury/fund', { pool: 'wholesale', amount: '50', reference: 'deposit 2' })
    const { address } = await office.poolOf('wholesale')
    await until('the local chain has given it', async () => (await held(address)) === 50n * USDT)
    const reconcile = async () =>
      (await admin.post('/v1/admin/treasury/reconcile', { pool: 'wholesale' })).body.results[0].status
    await until('the deposit is on record', async () => {
      await reconcile()
      const { body } = await admin.get('/v1/admin/treasury/reconciliations?pool=wholesale')
      return body.reconciliations[0]?.onchain_balance === 50
    })

    await chain.impersonateAccount({ address })
    await chain.setBalance({ address, value: parseEther('1') })
    const data = encodeFunctionData({ abi: token, functionName: 'transfer', args: [STRANGER, 20n * USDT] })
    const hash = await chain.sendTransaction({ account: address, to: TEST_TOKEN, data, chain: null })
    await chain.waitForTransactionReceipt({ hash })
    await until('its wallet is paused', async () => (await office.poolOf('wholesale')).paused_because !== null)
    t.match(await office.poolOf('wholesale'), { paused_because: 'foreign_transfer', available: 50 })
    t.match((await mailed(site, adminAccount.email, 'payouts-paused')).text, /wholesale[\s\S]*foreign_transfer/)
    await until('it is found', async () => (await reconcile()) === 'discrepancy')
    t.match((await mailed(site, adminAccount.email, 'treasury-discrepancy')).text, 'wholesale')
    const [row] = await until('it is on record', async () => {
      const { body } = await admin.get('/v1/admin/treasury/reconciliations?pool=wholesale')
      return body.reconciliations[0]?.status === 'discrepancy' && body.reconciliations
    })
    t.match(row, { difference: -20, onchain_balance: 30, ledger_balance: 50, in_flight: 0, cause: 'demand' })
    const { body: ready } = await new Client({ url }).get('/readyz')
    t.match(ready.warnings, ['The wallet of the pool wholesale is paused: foreign_transfer.'])
    t.equal((await office.poolOf('member')).paused_because, null, 'the others go on')

    t.equal((await admin.post('/v1/admin/treasury/wallets/wholesale/resume')).status, 200)
    t.equal(await reconcile(), 'discrepancy')
    t.equal((await office.poolOf('wholesale')).paused_because, 'discrepancy', 'resumed unexplained, it stops again')
    t.match((await mailed(site, adminAccount.email, 'payouts-paused', 2)).text, 'discrepancy')
    t.equal(await held(address), 30n * USDT, 'nobody makes it good in silence')
  })

  await t.test('BJ-T37: a member who watches is told every 5 s what the pools hold and owe', async (t) => {
    const seen = (name: string) => saidOf(live, 'treasury').filter(({ pool }) => pool === name)
    const now = { balance: 3_900, ledger_balance: 3_900, available: 3_900, held: 0 }
    // The chain has it before the ledger: that waits for blocks to be final.
    await until('it is told what was paid, for good', () => seen('member').at(-1)?.ledger_balance === 3_900)
    t.match(seen('member').at(-1), now)
    await until('it is told of the theft', () => seen('wholesale').at(-1)?.balance === 30)
    t.match(seen('wholesale').at(-1), { balance: 30, ledger_balance: 50 })
    const times = seen('member').map(({ at }) => Date.parse(at))
    for (const [index, at] of times.slice(1).entries()) t.ok(at - (times[index] ?? 0) > 4_000, 'not more often')
    t.same(
      seen('member').map(({ offset }) => offset),
      seen('wholesale').map(({ offset }) => offset),
    )
  })

  await t.test(
    'BJ-TRS-03, BJ-T17: two of three administrators let a transfer go, and none of them can be slipped in',
    async (t) => {
      const list = '/v1/admin/administrators'
      const [bea, carl] = [await signUp({ url }, 'bea'), await signUp({ url }, 'carl')]
      const { body: begun } = await admin.post('/v1/users/me/2fa', { password: adminAccount.password })
      /** Each works once, so the clock goes on. */
      const code = () => {
        advance(30_000)
        return generateSync({ secret: begun.secret, epoch: Math.floor(now() / 1_000) })
      }
      const byEmail = { email: bea.account.email.toUpperCase() }
      t.match(await admin.post(list, { ...byEmail, totp: '000000' }), {
        status: 403,
        body: { code: 'two_factor_required' },
      })
      t.equal((await admin.post('/v1/users/me/2fa/enable', { totp: code() })).status, 200)
      t.match(await admin.post(list, { ...byEmail, totp: '000000' }), { status: 401, body: { code: 'totp_invalid' } })
      t.match(await bea.post(list, { ...byEmail, totp: code() }), { status: 403 }, 'a member makes nobody one')
      t.match(await admin.post(list, { totp: code() }), { status: 422 })
      t.match(await admin.post(list, { email: 'nobody@example.com', totp: code() }), { body: { code: 'user_unknown' } })
      const used = code()
      t.match(await admin.post(list, { ...byEmail, totp: used }), { status: 200, body: { user_id: bea.user.id } })
      const again = { status: 401, body: { code: 'totp_invalid' } }
      t.match(await admin.post(list, { user_id: carl.user.id, totp: used }), again, 'a code makes one')
      t.equal((await admin.post(list, { user_id: carl.user.id, totp: code() })).status, 200)
      t.match(await bea.get(list), { status: 403 }, 'what was issued to a member stays a member’s')
      for (const each of [bea, carl]) {
        each.token = (await each.post('/v1/auth/login', { ...each.account, device: 'desktop' })).body.access_token
      }
      const listed = await until('all three are listed', async () => {
        const { administrators } = (await bea.get(list)).body
        return administrators.length === 3 ? (administrators as Told[]) : null
      })
      t.same(
        listed.map(({ email, two_factor_enabled }) => [email, two_factor_enabled]),
        [
          [adminAccount.email, true],
          [bea.account.email, false],
          [carl.account.email, false],
        ],
      )

      const transfer = { pool: 'member', to: STRANGER, amount: '12.5', reference: 'rent' }
      t.match(await bea.post('/v1/admin/treasury/send', { ...transfer, totp: '000000' }), { status: 403 }, 'no code')
      const before = await held(STRANGER)
      const { body: asked } = await admin.post('/v1/admin/treasury/send', { ...transfer, totp: code() })
      const approve = (who: Client) => {
        return who.post(`/v1/admin/treasury/payouts/${asked.id}/approve`, { intent: asked.intent })
      }
      t.same((await approve(bea)).body, { approvals: 1, needed: 2 })
      t.match(await approve(bea), { status: 409, body: { code: 'already_approved' } })
      t.match(await office.payoutOf(asked.id), { state: 'review', approved_by: [bea.user.id] })
      t.same((await approve(carl)).body, { approvals: 2, needed: 2 }, 'the initiator need not be one of them')
      await until('it is settled', async () => (await office.payoutOf(asked.id)).state === 'settled')
      t.equal((await held(STRANGER)) - before, 12_500_000n)

      const { body: doomed } = await admin.post('/v1/admin/treasury/send', { ...transfer, totp: code() })
      const { id: boss } = (await admin.get('/v1/users/me')).body
      const self = { status: 409, body: { code: 'administrator_self' } }
      t.match(await admin.delete(`${list}/${listed[0]?.user_id}`, { totp: code() }), self)
      t.match(await bea.delete(`${list}/${carl.user.id}`, { totp: '000000' }), { status: 403 })
      t.match(await admin.delete(`${list}/${carl.user.id}`, { totp: '000000' }), { status: 401 })
      t.equal((await admin.delete(`${list}/${carl.user.id}`, { totp: code() })).status, 200)
      const late = carl.post(`/v1/admin/treasury/payouts/${doomed.id}/approve`, { intent: doomed.intent })
      t.match(await late, { status: 403 }, 'at once, whatever the token says')
      const gone = { status: 404, body: { code: 'administrator_unknown' } }
      t.match(await admin.delete(`${list}/${carl.user.id}`, { totp: code() }), gone)
      await until('two are left', async () => (await admin.get(list)).body.administrators.length === 2)
      t.match((await admin.get('/v1/users/me')).body, { id: boss, is_admin: true })
      const sql = await site.database(t)
      t.match(
        await sql`select kind, detail from account_events where kind like '%administrator' order by seq`,
        ['made_administrator', 'made_administrator', 'removed_administrator'].map((kind) => ({ kind, detail: /^by / })),
      )
    },
  )

  await t.test('BJ-WAL-01: a proof that was asked for too long ago is refused, a new one is taken', async (t) => {
    ann.token = (await ann.post('/v1/auth/login', { ...ann.account, device: 'desktop' })).body.access_token
    const key = privateKeyToAccount(generatePrivateKey())
    const ask = async () => {
      const { body } = await ann.get(`/v1/users/me/wallet/challenge?address=${key.address}`)
      const proof = {
        address: key.address,
        nonce: body.nonce,
        signature: await key.signMessage({ message: body.message }),
      }
      return () => ann.put('/v1/users/me/wallet', proof)
    }
    const [stale, fresh] = [await ask(), await ask()]
    advance(10 * MINUTE_MS - 5_000)
    t.match(await fresh(), { status: 200, body: { address: key.address } }, 'a moment before')
    advance(5_000)
    t.match(await stale(), { status: 422, body: { code: 'proof_invalid', field: 'signature' } })
    t.match(await (await ask())(), { status: 200, body: { address: key.address } })
  })
})

t.test(
  'BJ-COMP-07 on a local Solana chain: the 500th scan is paid, with a signature that the chain knows',
  async (t) => {
    const site = await Deployment.create(t)
    await site.start({ env: { PAYOUTS: 'local-solana', CHAIN_POLL_INTERVAL_MS: '100', ...unhurried } })
    const admin = await logInAdmin(site)
    const office = new Office(admin)
    const members = await signUpMany(site, 'member', 10)
    const [winner] = members
    if (winner === undefined) throw new Error('nobody signed up')
    await admin.post('/v1/admin/treasury/fund', { pool: 'member', amount: '1000', reference: 'deposit 1' })
    const codes = await activeCodes(admin, 500)
    const last = codes.pop() ?? ''
    await Promise.all(
      members.map(async (member, index) => {
        for (const code of codes.slice(index * 50, (index + 1) * 50)) await member.scan(code)
      }),
    )
    t.match(await winner.scan(last), { comp_earned: { amount: 100, type: 'crypto' } })
    const comp = await office.compOf(winner, 'paid')
    t.match(comp, { type: 'crypto_100', amount: 100, payout_state: 'settled' })

    const chain = new Connection(await office.nodeUrl(), 'finalized')
    const { value: status } = await chain.getSignatureStatus(comp.transaction_hash, { searchTransactionHistory: true })
    t.match(status, { err: null, confirmationStatus: 'finalized' })
    const { body: purse } = await winner.get('/v1/users/me/wallet')
    t.match(purse, { chain: 'solana:local', balance: 100, pending_comps: { count: 0 } })
    const paid = await chain.getTransaction(comp.transaction_hash, { maxSupportedTransactionVersion: 0 })
    const received = paid?.meta?.postTokenBalances?.find(({ owner }) => owner === purse.address)
    t.equal(received?.uiTokenAmount.amount, String(100n * USDT))
    t.ok(PublicKey.isOnCurve(purse.address))
    t.match((await mailed(site, winner.account.email, 'comp-paid')).text, comp.transaction_hash)
    t.match(await office.poolOf('member'), { available: 900, held: 0, paid: 100, onchain_balance: 900 })
    t.match((await admin.post('/v1/admin/treasury/reconcile', { pool: 'member' })).body.results, [{ pool: 'member' }])
  },
)

t.test('BJ-NODE-02: without a node a server on Solana starts and warns, and goes on when there is one', async (t) => {
  const site = await Deployment.create(t)
  const stateFile = join(site.folder, 'chain.json')
  const before = await startSolanaDev({ stateFile })
  const { url } = before
  const mint = await before.createMint('usdt', 6)
  await before.advance(2)
  await before.stop()
  const secret = { KEYSTORE_PASSWORD: 'correct horse' }
  const limits = { payout: '1', destination_day: '1', hour: '1', day: '1' }
  const wallets: Told = {}
  for (const pool of pools) {
    const { code, stderr } = await site.run(['keys', 'create', pool, '--kind', 'solana'], secret)
    t.equal(code, 0, stderr)
    wallets[pool] = {
      chain: 'solana:devnet',
      key: `keystore:${pool}`,
      asset: { mint, decimals: 6 },
      limits,
      fee_max: '1',
    }
  }
  const policy = join(site.folder, 'policy.json')
  await writeFile(policy, JSON.stringify({ wallets }))
  const settings = { PAYOUTS: 'solana', CHAIN_ID: 'devnet', CHAIN_RPC_URLS: url, CHAIN_TOKEN: mint }
  await site.start({ env: { ...settings, ...secret, SIGNER_POLICY: policy, ...unhurried } })

  const ready = () => new Client(site).get('/readyz')
  await until('it warns of every pool', async () => (await ready()).body.warnings?.length === pools.length)
  t.match(await ready(), { status: 200, body: { warnings: [/Payouts of the pool member failed/] } })
  const office = new Office(await logInAdmin(site))
  t.match(await office.poolOf('member'), { address: null, onchain_balance: null })
  const after = await startSolanaDev({ stateFile, port: Number(new URL(url).port) })
  t.teardown(() => after.stop())
  await until('it is well again', async () => ((await ready()).body.warnings ?? []).length === 0)
  t.match(await office.poolOf('member'), { address: /^\w{32,44}$/, chain: 'solana:devnet', onchain_balance: 0 })
})
