// Hunts, against the whole server with real chains: a payout over a limit that nobody has to agree to, a failed one that is
// lost or paid twice when it is tried again, a theft that is made good in silence, a proof that never goes stale.
import { Connection, PublicKey } from '@solana/web3.js'
import t, { type Test } from 'tap'
import {
  concat,
  createTestClient,
  encodeFunctionData,
  getAddress,
  type Hex,
  http,
  parseAbi,
  parseEther,
  publicActions,
  walletActions,
} from 'viem'
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts'
import { blakjaksRules } from '../actors/programs/blakjaks/rules.js'
import { createLoyaltyProgram } from '../actors/programs/loyalty.js'
import type { LoyaltyRules } from '../actors/programs/rules.js'
import { TEST_TOKEN } from '../chain/dev/evm-token.js'
import { environment } from '../core.js'
import { startServer } from '../server.js'
import { readSettings } from '../settings.js'
import {
  activeCodes,
  Client,
  connectSocket,
  logInAdmin,
  type Member,
  mailed,
  saidOf,
  signUp,
  signUpMany,
  type Told,
} from './support/members.js'
import { recordingLog } from './support/postgres.js'
import { adminAccount, Deployment, until } from './support/server.js'

t.setTimeout(120_000)
// Two servers, each on a chain of its own, that mostly wait for blocks.
t.jobs = 2
const USDT = 1_000_000n
const MINUTE_MS = 60_000
const STRANGER = getAddress(`0x${'5a'.repeat(20)}`)
const token = parseAbi(['function balanceOf(address) view returns (uint256)', 'function transfer(address,uint256)'])
/** These tests ask again and again. */
const unhurried = { RATE_LIMIT_MEMBER_PER_SECOND: '10000', RATE_LIMIT_MEMBER_BURST: '10000' }

/** Every scan wins: $100, and every second one $1,000, which is more than is paid without review. */
const [trip, , crypto1k, crypto100] = blakjaksRules.milestones
const rules: LoyaltyRules = {
  ...blakjaksRules,
  milestones: [
    ...(trip === undefined ? [] : [trip]),
    ...(crypto1k === undefined ? [] : [{ ...crypto1k, every: 2, minimumTier: 'standard' as const }]),
    ...(crypto100 === undefined ? [] : [{ ...crypto100, every: 1, minimumTier: 'standard' as const }]),
  ],
  unlocks: blakjaksRules.unlocks.map((unlock) => ({ ...unlock, tinsPerMonth: 0 })),
  payouts: { ...blakjaksRules.payouts, reviewAbove: 500n * USDT },
}

/** A server in this process, by those rules, with a clock that the test sets ahead. */
async function startOperations(test: Test) {
  const site = await Deployment.create(test)
  let aheadMs = 0
  const settings = readSettings({
    ...unhurried,
    DATA_DIR: site.dataDirectory,
    PORT: '0',
    ADMIN_EMAIL: adminAccount.email,
    ADMIN_PASSWORD: adminAccount.password,
    PAYOUTS: 'local-evm',
    CHAIN_POLL_INTERVAL_MS: '100',
    CHAIN_CONFIRMATIONS: '3',
  })
  const { log } = recordingLog()
  const server = await startServer(settings, log, (error) => test.fail(error.message), {
    environment: {
      ...environment,
      now: () => Date.now() + aheadMs,
      wakeAt: (at, callback) => environment.wakeAt(at - aheadMs, callback),
    },
    program: createLoyaltyProgram('blakjaks', rules),
  })
  test.teardown(() => server.stop())
  const advance = (ms: number) => {
    aheadMs += ms
  }
  return { site, url: server.url, advance }
}

/** Sees the pools and payouts as an administrator does. */
class Office {
  constructor(readonly admin: Client) {}

  async poolOf(name: string): Promise<Told> {
    const { body } = await this.admin.get('/v1/admin/treasury/pools')
    return body.pools.find(({ pool }: Told) => pool === name)
  }

  async payoutOf(id: string): Promise<Told> {
    return (await this.admin.get(`/v1/admin/treasury/payouts/${id}`)).body
  }

  /** The one comp of a member in this status, once there is one. */
  compOf(member: Member, status: string): Promise<Told> {
    return until(`a comp of ${member.account.email} is ${status}`, async () => {
      const { body } = await this.admin.get(`/v1/admin/comps?status=${status}&user_id=${member.user.id}`)
      return body.comps[0] as Told | undefined
    })
  }

  /** A node of the chain, as the server names it. */
  async nodeUrl(): Promise<string> {
    const { body } = await until('a node is known', async () => {
      const answer = await this.admin.get('/v1/admin/treasury/metrics')
      return answer.body.nodes?.[0]?.block_height && answer
    })
    return `http://${body.nodes[0].name}`
  }
}

const chainOf = (url: string) =>
  createTestClient({ mode: 'anvil', transport: http(url), pollingInterval: 100 })
    .extend(publicActions)
    .extend(walletActions)
type Chain = ReturnType<typeof chainOf>

/**
 * A token that refuses a payee only when a transaction is mined, never when it is asked beforehand: in front of the real
 * one it reverts if gas is paid for and the first argument is that address. Returns how to lift it.
 */
async function refuseWhenMined(chain: Chain, payee: Hex): Promise<() => Promise<void>> {
  const code = (await chain.getCode({ address: TEST_TOKEN })) ?? '0x'
  const implementation = getAddress(`0x${'c0'.repeat(20)}`)
  await chain.setCode({ address: implementation, bytecode: code })
  const bytecode = concat([
    '0x3a15602557', // no gas price: go on at 0x25
    concat(['0x60043573', payee, '0x1415602557']), // another payee: the same
    '0x5f5ffd',
    '0x5b365f5f375f5f365f73',
    implementation,
    '0x5af43d5f5f3e604f573d5ffd5b3d5ff3', // delegates, and answers as it is answered
  ])
  await chain.setCode({ address: TEST_TOKEN, bytecode })
  return () => chain.setCode({ address: TEST_TOKEN, bytecode: code })
}

t.test('on a local EVM chain', async (t) => {
  const { site, url, advance } = await startOperations(t)
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
    await until('it is told what was paid', () => seen('member').at(-1)?.balance === 3_900)
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

  await t.test('BJ-WAL-01: a proof that was asked for too long ago is refused, a new one is taken', async (t) => {
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
