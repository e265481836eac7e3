// Hunts, against the whole server with a real chain: a comp told paid that is not, a transfer that one person or a
// changed intent can start, a code that works twice, a wallet that somebody else's signature can claim, money that
// leaves a wallet or comes into it unnoticed.
import { generateSync } from 'otplib'
import t from 'tap'
import { createPublicClient, encodeFunctionData, getAddress, type Hex, http, parseAbi } from 'viem'
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts'
import { TEST_TOKEN } from '../chain/dev/evm-token.js'
import {
  activeCodes,
  Client,
  connectSocket,
  logInAdmin,
  mailed,
  newKey,
  saidOf,
  signUp,
  signUpMany,
  type Told,
} from './support/members.js'
import { adminAccount, Deployment, until } from './support/server.js'

t.setTimeout(120_000)
const CHAIN = 'eip155:31337'
const SCANS_TO_PRIZE = 500
const SCANNERS = 10
const STRANGER = getAddress(`0x${'5a'.repeat(20)}`)
const second = { email: 'second@example.com', password: adminAccount.password }
const token = parseAbi([
  'function balanceOf(address) view returns (uint256)',
  'function transfer(address,uint256)',
  'function mint(address,uint256)',
])
/** This test asks again and again. */
const unhurried = { RATE_LIMIT_MEMBER_PER_SECOND: '10000', RATE_LIMIT_MEMBER_BURST: '10000' }
const site = await Deployment.create(t)

t.test('with payouts off what needs a chain says so, and the rest answers', async (t) => {
  await site.start({ env: { ADMIN_EMAIL: second.email } })
  const admin = await logIn(second)
  const ann = await signUp(site, 'ann')
  const transfer = { pool: 'member', to: STRANGER, amount: '1', reference: 'r', totp: '000000' }
  const off = { status: 503, body: { code: 'payouts_off' } }
  t.match(await admin.post('/v1/admin/treasury/send', transfer), off)
  t.match(await admin.post('/v1/admin/treasury/reconcile', {}), off)
  t.match(await ann.get(`/v1/users/me/wallet/challenge?address=${STRANGER}`), off)
  t.match(await ann.post('/v1/wallet/withdraw', { to: STRANGER, amount: '1' }), off)
  t.match((await ann.get('/v1/users/me/wallet')).body, { address: null, chain: null, balance: null })
  const { body } = await admin.get('/v1/admin/treasury/pools')
  t.match(body.pools[0], { pool: 'member', address: null, onchain_balance: null, open: { queued: { count: 0 } } })
  t.match((await admin.get('/v1/admin/treasury/metrics')).body, { pending_count: 0, success_rate: null, nodes: [] })
  await site.stop()
})

async function logIn(account: { email: string; password: string }): Promise<Client> {
  const { body } = await new Client(site).post('/v1/auth/login', { ...account, device: 'desktop' })
  return new Client(site, body.access_token)
}

t.test('with payouts on', async (t) => {
  await site.start({ env: { PAYOUTS: 'local-evm', CHAIN_POLL_INTERVAL_MS: '100', ...unhurried } })
  const admin = await logInAdmin(site)
  const other = await logIn(second)
  const { body: metrics } = await until('a node is known', async () => {
    const answer = await admin.get('/v1/admin/treasury/metrics')
    return answer.body.nodes?.[0]?.block_height && answer
  })
  const node = createPublicClient({ transport: http(`http://${metrics.nodes[0].name}`), pollingInterval: 100 })
  const held = (address: Hex) =>
    node.readContract({ address: TEST_TOKEN, abi: token, functionName: 'balanceOf', args: [address] })
  const poolOf = async (name: string): Promise<Told> =>
    (await admin.get('/v1/admin/treasury/pools')).body.pools.find(({ pool }: Told) => pool === name)
  const payoutOf = async (id: string) => (await admin.get(`/v1/admin/treasury/payouts/${id}`)).body
  const roundsOf = async (pool: string) => {
    const { text } = await new Client(site).get('/metrics')
    return Number(new RegExp(`^comptroller_payouts_${pool}_rounds (\\d+)`, 'm').exec(text)?.[1])
  }
  const pause = (pool: string, reason: string) => admin.post(`/v1/admin/treasury/wallets/${pool}/pause`, { reason })
  /** Sends as anvil lets anybody do: from an address whose key nobody here has. */
  const sendAs = async (from: Hex, data: Hex) => {
    await node.request({ method: 'anvil_impersonateAccount' as never, params: [from] as never })
    const hash = (await node.request({
      method: 'eth_sendTransaction' as never,
      params: [{ from, to: TEST_TOKEN, data }] as never,
    })) as Hex
    await node.waitForTransactionReceipt({ hash })
    return hash
  }

  const members = await signUpMany(site, 'member', SCANNERS)
  const [winner = t.fail('no members') as never, loser] = members
  const key = privateKeyToAccount(generatePrivateKey())

  await t.test('a wallet is claimed only with a fresh signature of its own key, for this member', async (t) => {
    const challengeOf = async (client: Client, address: string) =>
      (await client.get(`/v1/users/me/wallet/challenge?address=${address}`)).body
    const { message, nonce } = await challengeOf(winner, key.address)
    t.match(message, new RegExp(`Address: ${key.address}\nChain: ${CHAIN}\nMember: ${winner.user.id}\n`))
    const signature = await key.signMessage({ message })
    const stranger = privateKeyToAccount(generatePrivateKey())
    const claim = (client: Client, body: object) => client.put('/v1/users/me/wallet', body)
    const refused = { status: 422, body: { code: 'proof_invalid', field: 'signature' } }
    const good = { address: key.address, nonce, signature }
    t.match(await claim(winner, { ...good, signature: await stranger.signMessage({ message }) }), refused, 'forged')
    t.match(await claim(winner, { ...good, signature: 'nonsense' }), refused)
    t.match(await claim(winner, { ...good, address: stranger.address }), refused, 'for another address')
    t.match(await claim(loser as Client, good), refused, 'another member’s')
    t.match(await claim(winner, { ...good, nonce: `${(Date.now() + 1e9).toString(36)}${nonce.slice(8)}` }), refused)
    t.match(await claim(winner, { ...good, nonce: '' }), refused)
    const { address: ours } = await poolOf('affiliate')
    const wrong = { status: 422, body: { code: 'address_invalid', field: 'address' } }
    for (const address of [ours, TEST_TOKEN, `0x${'0'.repeat(40)}`, key.address.slice(1), 'nobody']) {
      t.match(await claim(winner, { ...good, address }), wrong, address)
    }
    t.same((await claim(winner, { ...good, address: key.address.toLowerCase() })).body, { address: key.address })
    t.match((await winner.get('/v1/users/me/wallet')).body, { address: key.address, chain: CHAIN, balance: 0 })
  })

  await t.test('BJ-COMP-07, 09, BJ-PAY-01…03: the 500th scan is paid on chain, exactly, and told', async (t) => {
    const live = await connectSocket(t, site, '/insights/live')
    await admin.post('/v1/admin/treasury/fund', { pool: 'member', amount: '1000', reference: 'deposit 1' })
    const codes = await activeCodes(admin, SCANS_TO_PRIZE)
    const own = SCANS_TO_PRIZE / SCANNERS
    await Promise.all(
      members.map(async (member, index) => {
        for (const code of codes.slice(index * own, index * own + own - (index === 0 ? 1 : 0))) await member.scan(code)
      }),
    )
    const { comp_earned: won } = await winner.scan(codes[own - 1] ?? '')
    t.match(won, { amount: 100, type: 'crypto' })
    const [comp] = await until('the comp is paid', async () => {
      const { body } = await admin.get('/v1/admin/comps?status=paid')
      return body.comps.length === 1 && body.comps
    })
    t.match(comp, { user_id: winner.user.id, type: 'crypto_100', amount: 100, payout_state: 'settled', because: null })
    t.equal(await held(key.address), 100_000_000n)
    const receipt = await node.getTransactionReceipt({ hash: comp.transaction_hash })
    t.equal(receipt.status, 'success')

    const { state, steps } = await payoutOf(comp.id)
    t.equal(state, 'settled')
    await until('its trail is written', async () => (await payoutOf(comp.id)).steps.at(-1)?.state === 'settled')
    t.match(steps.map((step: Told) => step.state).join(), /^queued,prepared,signed/)
    t.match(await winner.get('/v1/users/me/wallet'), { body: { balance: 100, pending_comps: { count: 0 } } })
    const { body: history } = await winner.get('/v1/transactions')
    const { transaction_hash } = comp
    t.match(history.transactions, [{ type: 'comp_deposit', amount: 100, status: 'confirmed', transaction_hash }])
    t.same((await (loser as Client).get('/v1/transactions')).body, { transactions: [], next_cursor: null })
    t.match((await mailed(site, winner.account.email, 'comp-paid')).text, comp.transaction_hash)
    t.match(
      saidOf(live, 'feed').filter(({ kind }) => kind === 'payout'),
      [{ amount: 100, text: '$100 was paid out' }],
    )
    t.match((await admin.get('/v1/admin/comps?status=failed')).body, { comps: [], next_cursor: null })
    t.match((await admin.get(`/v1/admin/comps?user_id=${winner.user.id}&limit=1`)).body.comps, [{ id: comp.id }])
    t.match(await admin.post(`/v1/admin/comps/retry/${comp.id}`), { status: 409, body: { code: 'payout_state' } })
    t.match(await admin.post('/v1/admin/comps/retry/nothing'), { status: 404, body: { code: 'payout_unknown' } })
    t.match((await admin.get('/v1/admin/treasury/metrics')).body, {
      ...{ pending_count: 0, success_rate: 1, processed_24h: { count: 1, value: 100 } },
      average_confirmation_seconds: Number,
    })
  })

  await t.test('BJ-TRS-03, 04, BJ-T17: a transfer by hand needs a code and two administrators', async (t) => {
    const { body: begun } = await admin.post('/v1/users/me/2fa', { password: adminAccount.password })
    const codeAt = (ahead: number) =>
      generateSync({ secret: begun.secret, epoch: Math.floor(Date.now() / 1000) + ahead })
    const send = (more: object, key?: string) => {
      const body = { pool: 'member', to: STRANGER, amount: '12.5', reference: 'rent', totp: codeAt(0), ...more }
      return admin.post('/v1/admin/treasury/send', body, key === undefined ? {} : { key })
    }
    t.match(await send({}), { status: 403, body: { code: 'two_factor_required' } })
    t.equal((await admin.post('/v1/users/me/2fa/enable', { totp: codeAt(-30) })).status, 200)
    t.match(await send({ totp: '000000' }), { status: 401, body: { code: 'totp_invalid' } })
    t.match(await send({ totp: begun.backup_codes[0] }), { status: 401, body: { code: 'totp_invalid' } })
    const { address: own } = await poolOf('member')
    for (const to of [own, TEST_TOKEN, 'nobody', STRANGER.replace('5A', '5a')]) {
      t.match(await send({ to }), { status: 422, body: { code: 'address_invalid' } }, to)
    }
    t.match(await send({ amount: '0' }), { status: 422, body: { code: 'amount_invalid' } })
    t.match(await send({ amount: '-1' }), { status: 422, body: { code: 'invalid_input' } })
    t.match(await send({ amount: '100000' }), { status: 422, body: { code: 'insufficient_funds' } })
    t.match(await winner.post('/v1/admin/treasury/send', {}), { status: 403 })

    const again = newKey()
    const code = codeAt(0)
    const { status, body: asked } = await send({ totp: code }, again)
    t.equal(status, 202)
    t.same((await send({ totp: '000000' }, again)).body, asked, 'repeated with its key: the same transfer')
    t.match(await send({ totp: code }), { status: 401, body: { code: 'totp_invalid' } }, 'a code works once')
    t.match(await send({ amount: '12.51' }, again), { status: 409, body: { code: 'idempotency_conflict' } })
    const { body: doomed } = await send({ totp: codeAt(30), reference: 'doomed' })

    const approve = (who: Client, id: string, intent: string) =>
      who.post(`/v1/admin/treasury/payouts/${id}/approve`, { intent })
    t.match(await payoutOf(asked.id), { state: 'review', approvals_needed: 2, approved_by: [], intent: asked.intent })
    const changed = { status: 409, body: { code: 'intent_changed' } }
    t.match(await approve(admin, asked.id, doomed.intent), changed)
    t.match(await approve(winner, asked.id, asked.intent), { status: 403 })
    t.same((await approve(admin, asked.id, asked.intent)).body, { approvals: 1, needed: 2 })
    t.match(await approve(admin, asked.id, asked.intent), { status: 409, body: { code: 'already_approved' } })
    t.match(await payoutOf(asked.id), { state: 'review' }, 'one is not enough')
    await pause('member', 'drill')
    t.same((await approve(other, asked.id, asked.intent)).body, { approvals: 2, needed: 2 })
    const rounds = await roundsOf('member')
    await until('the pipeline has looked again', async () => (await roundsOf('member')) > rounds + 1)
    t.match(await payoutOf(asked.id), { state: 'queued', transaction_hashes: [] }, 'the wallet is paused')
    t.match((await poolOf('member')).open.queued, { count: 1, amount: 12.5 })
    t.equal((await admin.post('/v1/admin/treasury/wallets/member/resume')).status, 200)
    await until('it is settled', async () => (await payoutOf(asked.id)).state === 'settled')
    const paid = await payoutOf(asked.id)
    t.equal(await held(STRANGER), 12_500_000n)
    t.same(paid.approved_by.length, 2)
    t.match(await approve(other, asked.id, asked.intent), { status: 409, body: { code: 'payout_state' } })

    const held1 = (await poolOf('member')).held
    t.match(await admin.post(`/v1/admin/treasury/payouts/${doomed.id}/cancel`, {}), { status: 422 })
    t.equal((await admin.post(`/v1/admin/treasury/payouts/${doomed.id}/cancel`, { reason: 'no' })).status, 200)
    t.equal((await poolOf('member')).held, held1 - 12.5, 'its money is available again')
    t.match(await payoutOf(doomed.id), { state: 'cancelled' })
    const cancelled = { status: 409, body: { code: 'payout_state' } }
    t.match(await admin.post(`/v1/admin/comps/retry/${doomed.id}`), cancelled, 'cancelled is not failed')
    const list = '/v1/admin/treasury/payouts?limit=2&pool=member'
    await until('both are listed', async () => (await admin.get(list)).body.payouts[0].state === 'cancelled')
    const { body: sends } = await admin.get(list)
    t.match(sends.payouts, [
      { id: doomed.id, kind: 'send' },
      { id: asked.id, state: 'settled', to: STRANGER },
    ])
    const { body: rest } = await admin.get(`${list}&cursor=${sends.next_cursor}`)
    t.match(rest, { payouts: [{ kind: 'comp' }], next_cursor: null })
    const cursor = { status: 422, body: { code: 'cursor_invalid' } }
    for (const path of ['/v1/admin/treasury/payouts', '/v1/admin/comps']) {
      t.match(await admin.get(`${path}?cursor=12.x%27`), path.includes('comps') ? cursor : { status: 200 })
      t.match(await admin.get(`${path}?cursor=x`), cursor)
    }
  })

  await t.test('BJ-WAL-04, BJ-T19: a withdrawal is prepared here, and signed and paid for by its owner', async (t) => {
    const withdraw = (body: object) => winner.post('/v1/wallet/withdraw', body)
    const to = getAddress(`0x${'77'.repeat(20)}`)
    t.match(await withdraw({ to, amount: '100.01' }), { status: 422, body: { code: 'insufficient_balance' } })
    t.match(await withdraw({ to, amount: '0' }), { status: 422, body: { code: 'amount_invalid' } })
    t.match(await withdraw({ to: 'x', amount: '1' }), { status: 422, body: { code: 'address_invalid' } })
    const { status, body } = await withdraw({ to, amount: '40' })
    t.equal(status, 200)
    await node.request({ method: 'anvil_setBalance' as never, params: [key.address, '0xde0b6b3a7640000'] as never })
    const fees = await node.estimateFeesPerGas()
    const { transaction } = body
    const signed = await key.signTransaction({
      ...{ chainId: transaction.chainId, to: transaction.to, data: transaction.data, nonce: 0, type: 'eip1559' },
      ...{ gas: BigInt(transaction.gas), ...fees },
    })
    await node.waitForTransactionReceipt({ hash: await node.sendRawTransaction({ serializedTransaction: signed }) })
    t.equal(await held(to), 40_000_000n)
    t.match((await winner.get('/v1/users/me/wallet')).body, { balance: 60 })
  })

  await t.test('BJ-REC-01, BJ-TRS-11, BJ-WAL-08: ledger and chain agree, and a deposit counts once', async (t) => {
    const before = await poolOf('member')
    const deployer = getAddress('0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266')
    const args = [before.address, 250_000_000n] as const
    await sendAs(deployer, encodeFunctionData({ abi: token, functionName: 'mint', args }))
    await until('the deposit is credited', async () => (await poolOf('member')).available === before.available + 250)
    t.match((await admin.post('/v1/admin/treasury/reconcile', { pool: 'member' })).body, {
      results: [{ pool: 'member', status: 'balanced' }],
    })
    const rows = await until('the comparison is on record', async () => {
      const { body } = await admin.get('/v1/admin/treasury/reconciliations?pool=member')
      return body.reconciliations[0]?.cause === 'demand' && body.reconciliations
    })
    t.match(rows[0], { status: 'balanced', difference: 0, onchain_balance: before.available + before.held + 250 })
    await until('a snapshot of each pool', async () => {
      const { body } = await admin.get('/v1/admin/treasury/snapshots')
      return new Set(body.snapshots.map(({ pool }: Told) => pool)).size === 3
    })
    t.equal((await poolOf('member')).available, before.available + 250, 'once')
  })

  await t.test('BJ-PAY-07: a wallet that is paused is told of, everywhere', async (t) => {
    t.match(await pause('nothing', 'x'), { status: 422 })
    t.match(await winner.post('/v1/admin/treasury/wallets/member/pause', { reason: 'x' }), { status: 403 })
    t.equal((await pause('member', 'second drill')).status, 200)
    t.match(await poolOf('member'), { paused_because: 'second drill' })
    const ready = await new Client(site).get('/readyz')
    t.match(ready, { status: 200, body: { warnings: ['The wallet of the pool member is paused: second drill.'] } })
    t.match((await mailed(site, adminAccount.email, 'payouts-paused', 2)).text, 'The reason: second drill.')
    t.equal((await admin.post('/v1/admin/treasury/wallets/member/resume')).status, 200)
    t.match(await poolOf('member'), { paused_because: null })
    t.same((await new Client(site).get('/readyz')).body.warnings ?? [], [])
    const { text } = await new Client(site).get('/metrics')
    t.match(text, /^comptroller_payouts_member_signed [1-9]/m)
    t.match(text, /^comptroller_signer_is_reachable 1$/m)
    t.match(text, /^comptroller_signer_signed [1-9]/m)
  })

  await t.test(
    'BJ-REC-03: money that leaves a wallet without us stops it, and an administrator hears of it',
    async (t) => {
      await admin.post('/v1/admin/treasury/fund', { pool: 'wholesale', amount: '50', reference: 'deposit 2' })
      const { address } = await poolOf('wholesale')
      await until('the local chain has given it', async () => (await held(address)) === 50_000_000n)
      await node.request({ method: 'anvil_setBalance' as never, params: [address, '0xde0b6b3a7640000'] as never })
      await sendAs(address, encodeFunctionData({ abi: token, functionName: 'transfer', args: [STRANGER, 1_000_000n] }))
      await until('its wallet is paused', async () => (await poolOf('wholesale')).paused_because === 'foreign_transfer')
      t.match((await mailed(site, adminAccount.email, 'payouts-paused', 3)).text, 'pool wholesale')
      t.equal((await poolOf('member')).paused_because, null, 'the others go on')
    },
  )
})
