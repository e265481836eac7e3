// Hunts, against the whole server with a real chain: a withdrawal that its member is not told the end of, one of somebody
// else's wallet, a list that misses or repeats what came and went, also across a restart.
import t from 'tap'
import { createPublicClient, encodeFunctionData, type Hex, http, keccak256 } from 'viem'
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts'
import { TEST_TOKEN } from '../chain/dev/evm-token.js'
import { testTokenAbi } from '../chain/evm/contracts.js'
import {
  activeCodes,
  type Client,
  connectSocket,
  logInAdmin,
  type Member,
  mailed,
  saidOf,
  signUpMany,
  type Told,
} from './support/members.js'
import { Deployment, until } from './support/server.js'

t.setTimeout(120_000)
const SCANS_TO_PRIZE = 500
const SCANNERS = 10
const DEPLOYER = '0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266'
const STRANGER = `0x${'77'.repeat(20)}`
const env = {
  ...{ PAYOUTS: 'local-evm', CHAIN_POLL_INTERVAL_MS: '100', CHAIN_CONFIRMATIONS: '3' },
  ...{ RATE_LIMIT_MEMBER_PER_SECOND: '10000', RATE_LIMIT_MEMBER_BURST: '10000' },
}

t.test('BJ-WAL-03…08, BJ-T19: what members’ own wallets send and get is followed, told and listed', async (t) => {
  const site = await Deployment.started(t, { env })
  const admin = await logInAdmin(site)
  const members = await signUpMany(site, 'member', SCANNERS)
  const [ann = t.fail('no members') as never, bob = t.fail('no members') as never] = members
  const key = privateKeyToAccount(generatePrivateKey())
  const nodeOf = async () => {
    const name = await until('a node is known', async () => {
      return (await admin.get('/v1/admin/treasury/metrics')).body.nodes?.[0]?.name
    })
    return createPublicClient({ transport: http(`http://${name}`), pollingInterval: 100 })
  }
  let node = await nodeOf()
  const asAnvil = (method: string, ...params: readonly unknown[]) => node.request({ method, params } as never)
  const listOf = async (member: Client, query = '') => (await member.get(`/v1/transactions${query}`)).body
  const submit = (member: Client, body: object) => member.post('/v1/wallet/withdraw/submit', body)
  /** As the member's own wallet signs what the server prepared. */
  const signed = async (nonce: number, amount: string): Promise<Hex> => {
    const { body } = await ann.post('/v1/wallet/withdraw', { to: STRANGER, amount })
    const { chainId, to, data, gas } = body.transaction
    const fees = await node.estimateFeesPerGas()
    return key.signTransaction({ type: 'eip1559', chainId, to, data, gas: BigInt(gas) * 2n, nonce, ...fees })
  }
  const settled = (hash: string) =>
    until(`${hash} is over`, async () => {
      const { transactions } = await listOf(ann, '?filter=withdrawals')
      return transactions.find((each: Told) => each.transaction_hash === hash && each.status !== 'pending')
    })

  await t.test('the address of a member’s wallet is in the profile', async (t) => {
    await until('a development wallet', async () => (await bob.get('/v1/users/me')).body.wallet_address)
    const { body } = await ann.get(`/v1/users/me/wallet/challenge?address=${key.address}`)
    const signature = await key.signMessage({ message: body.message })
    await ann.put('/v1/users/me/wallet', { address: key.address, nonce: body.nonce, signature })
    t.equal((await ann.get('/v1/users/me')).body.wallet_address, key.address)
    t.equal((await admin.get(`/v1/admin/users/${ann.user.id}`)).body.user.wallet_address, key.address)
  })

  await t.test('a deposit from elsewhere is listed, and a comp is no such deposit', async (t) => {
    const data = encodeFunctionData({ abi: testTokenAbi, functionName: 'mint', args: [key.address, 50_000_000n] })
    await asAnvil('eth_sendTransaction', { from: DEPLOYER, to: TEST_TOKEN, data })
    await asAnvil('anvil_setBalance', key.address, '0xde0b6b3a7640000')
    await until('it is listed', async () => (await listOf(ann)).transactions.length === 1)
    await winPrize(members, admin)
    const comps = await until('the comp is paid', async () => {
      const { transactions } = await listOf(ann, '?filter=deposits')
      return transactions[0]?.type === 'comp_deposit' && transactions[0].status === 'confirmed' && transactions
    })
    t.match(comps, [
      { type: 'comp_deposit', amount: 100, to: key.address },
      { type: 'external_deposit', amount: 50, status: 'confirmed', from: /^0x0+$/, to: key.address, because: null },
    ])
    t.same((await listOf(ann, '?filter=withdrawals')).transactions, [])
    t.same((await listOf(bob)).transactions, [])
  })

  const told = await connectSocket(t, site, '/', ann.token)
  await t.test('signed bytes are sent and followed; mail and socket tell that they are final', async (t) => {
    const raw = await signed(0, '40')
    const hash = keccak256(raw)
    const { status, body } = await submit(ann, { raw })
    t.equal(status, 202)
    t.match(body, { transaction_hash: hash, state: 'submitted', from: key.address, amount: 40, refused: null })
    t.match((await submit(ann, { raw })).body, { transaction_hash: hash, amount: 40 }, 'the same again')
    t.match(await submit(bob, { raw }), { status: 403, body: { code: 'withdrawal_foreign' } })
    const done = await settled(hash)
    t.match(done, { id: hash, type: 'withdrawal', amount: 40, status: 'confirmed', to: STRANGER, confirmed_at: String })
    t.match((await submit(ann, { raw })).body, { state: 'completed', block_height: Number })
    t.match((await mailed(site, ann.account.email, 'withdrawal-completed')).text, hash)
    await until('the socket is told', () => saidOf(told, 'withdrawal:completed').length > 0)
    t.match(saidOf(told, 'withdrawal:completed'), [{ transaction_hash: hash, amount: 40, to: STRANGER }])
    t.equal((await ann.get('/v1/users/me/wallet')).body.balance, 110)
  })

  await t.test('what is no withdrawal is refused, or fails with the reason', async (t) => {
    const refused = async (body: object, status: number, code: string) =>
      t.match(await submit(ann, body), { status, body: { code } }, JSON.stringify(body).slice(0, 60))
    await refused({}, 422, 'invalid_input')
    await refused({ raw: '0x', transaction_hash: '0x' }, 422, 'invalid_input')
    await refused({ raw: '0x1234' }, 422, 'withdrawal_unreadable')
    await refused({ transaction_hash: '0x1234' }, 422, 'hash_invalid')
    const other = privateKeyToAccount(generatePrivateKey())
    const { body } = await ann.post('/v1/wallet/withdraw', { to: STRANGER, amount: '1' })
    const { chainId, to, data } = body.transaction
    const foreign = { type: 'eip1559', chainId, to, data, nonce: 0, gas: 100_000n, maxFeePerGas: 10n ** 10n } as const
    await refused({ raw: await other.signTransaction(foreign) }, 403, 'withdrawal_foreign')
    const minted = (await listOf(ann, '?filter=deposits')).transactions[1].transaction_hash
    t.match(await submit(ann, { transaction_hash: minted }), {
      status: 202,
      body: { state: 'submitted', amount: null },
    })
    t.match(await settled(minted), { status: 'failed', because: 'not_a_withdrawal', amount: null, confirmed_at: null })
    const wrongNonce = await signed(0, '3')
    t.match((await submit(ann, { raw: wrongNonce })).body, { state: 'submitted', refused: null })
    t.match(await settled(keccak256(wrongNonce)), { status: 'failed', because: 'nonce_used_by_another' })
  })

  await t.test('a restart loses and repeats nothing', async (t) => {
    const raw = await signed(1, '7.5')
    const ahead = await signed(2, '2.5')
    t.match((await submit(ann, { transaction_hash: keccak256(raw) })).body, { state: 'submitted', to: null })
    await submit(ann, { raw: ahead })
    await site.stop()
    await site.start({ env })
    node = await nodeOf()
    await node.sendRawTransaction({ serializedTransaction: raw })
    t.match(await settled(keccak256(raw)), { status: 'confirmed', amount: 7.5, to: STRANGER })
    t.match(await settled(keccak256(ahead)), { status: 'confirmed', amount: 2.5 })
    const { transactions } = await listOf(ann)
    t.equal(transactions.length, 7, 'two deposits, five withdrawals')
    t.equal((await listOf(ann, '?filter=deposits')).transactions.length, 2)
    const paged: Told[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const page: Told = await listOf(ann, `?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`)
      paged.push(...page.transactions)
      cursor = page.next_cursor
    }
    t.same(paged, transactions, 'page by page the same')
    t.match((await admin.get('/metrics')).text, /^comptroller_withdrawals_open 0$/m)
  })
})

/** The first of them gets the comp of the 500th scan. */
async function winPrize(members: readonly Member[], admin: Client): Promise<void> {
  await admin.post('/v1/admin/treasury/fund', { pool: 'member', amount: '1000', reference: 'deposit 1' })
  const codes = await activeCodes(admin, SCANS_TO_PRIZE)
  const own = SCANS_TO_PRIZE / SCANNERS
  const ofMember = (index: number) => codes.slice(index * own, (index + 1) * own)
  const scanAll = async (index: number, list: readonly string[]) => {
    for (const code of list) await members[index]?.scan(code)
  }
  await Promise.all(members.map((_, index) => scanAll(index, ofMember(index).slice(index === 0 ? 1 : 0))))
  await scanAll(0, ofMember(0).slice(0, 1))
}
