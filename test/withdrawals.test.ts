// Hunts, on the real anvil and the real Solana VM: a withdrawal told done that is not, or failed that may still be mined;
// bytes that a crash loses; somebody else's transfer taken for a member's; a deposit that is missed or counted twice.
import assert from 'node:assert/strict'
import { Connection, Keypair, Transaction } from '@solana/web3.js'
import fc from 'fast-check'
import t from 'tap'
import { encodeFunctionData, type Hex, keccak256, parseGwei } from 'viem'
import type { PrivateKeyAccount } from 'viem/accounts'
import {
  OPEN_PER_MEMBER_MAX,
  SEEN_WITHIN_MS,
  type WithdrawalReport,
  withdrawalIdOf,
} from '../actors/withdrawal/commands.js'
import { withdrawalSubmitted } from '../actors/withdrawal/facts.js'
import { barOnTestToken, mintTestToken, TEST_TOKEN } from '../chain/dev/evm-token.js'
import { startSolanaDev } from '../chain/dev/solana-dev.js'
import { testTokenAbi } from '../chain/evm/contracts.js'
import { transferData } from '../chain/evm/transactions.js'
import type { Principal } from '../engine/command.js'
import { DOLLAR, evmWorld, newAccount, newAddress } from './support/evm.js'
import { uuid } from './support/loyalty.js'
import { expire, finalise, newPayer, SOL, someone } from './support/solana.js'
import { WithdrawalWorld } from './support/withdrawals.js'

t.setTimeout(120_000)

t.test('on EVM', async (t) => {
  const evm = await evmWorld(t, { nodes: 2, timeoutMs: 10_000 })
  const { client, chainId } = evm.anvil
  const [first, second] = evm.nodes
  const world = await WithdrawalWorld.open(evm.wallet)

  /** A member with money, and how the member's wallet signs. */
  async function memberWithMoney() {
    const account = newAccount()
    await client.setBalance({ address: account.address, value: 10n ** 18n })
    await mintTestToken(client, account.address, 100n * DOLLAR)
    return { account, who: await world.member(account.address) }
  }
  const sign = (account: PrivateKeyAccount, nonce: number, to = newAddress(), data = transferData(to, 3n * DOLLAR)) =>
    account.signTransaction({
      ...{ type: 'eip1559', chainId, nonce, to: TEST_TOKEN, data, gas: 100_000n },
      ...{ maxFeePerGas: parseGwei('50'), maxPriorityFeePerGas: parseGwei('2') },
    })
  const send = (serializedTransaction: Hex) => client.sendRawTransaction({ serializedTransaction })
  const round = async (blocks = 0) => {
    if (blocks > 0) await client.mine({ blocks })
    await world.tracker.round()
  }

  await t.test('S1 a crash between the record and the sending: the next process sends the same bytes', async (t) => {
    const { account, who } = await memberWithMoney()
    const to = newAddress()
    const raw = await sign(account, 0, to)
    const hash = keccak256(raw)
    t.match(await world.submit(who, raw), { hash, state: 'submitted', from: account.address, because: null })
    await world.crash()
    t.equal(await client.getTransaction({ hash }).catch(() => null), null, 'no node has it')
    t.match(await world.submit(who, raw), { hash, state: 'submitted' }, 'the same again answers the same')
    t.equal(world.facts(withdrawalSubmitted).length, 1)
    await round()
    await round(1)
    t.equal(await world.stateOf(who, hash), 'mined')
    await world.crash()
    await round(8)
    t.equal(await world.stateOf(who, hash), 'mined', 'nine blocks are not final')
    await round(1)
    t.equal(await world.stateOf(who, hash), 'completed')
    await round(1)
    t.same([world.openCount, world.completed(hash), world.pathOf(hash)], [0, 1, 'mined completed'])
    t.equal(await evm.balanceOf(to), 3n * DOLLAR, 'once')
    t.match(await world.submit(who, raw), { state: 'completed' })
  })

  await t.test('S3 reorganised at depth 1 to 9: submitted again, sent again, completed once', async (t) => {
    const { account, who } = await memberWithMoney()
    for (let depth = 1; depth <= 9; depth++) {
      const raw = await sign(account, depth - 1)
      const hash = keccak256(raw)
      await world.submit(who, raw)
      await round()
      await round(depth)
      t.equal(await world.stateOf(who, hash), 'mined', `${depth} deep`)
      await client.request({ method: 'anvil_reorg', params: [depth, []] } as never)
      for (let looks = 0; looks < 2; looks++) await round()
      t.equal(await world.stateOf(who, hash), 'submitted')
      await round(10)
      await round(1)
      t.same([await world.stateOf(who, hash), world.completed(hash)], ['completed', 1])
      t.match(world.pathOf(hash), /^mined submitted (mined )?completed$/)
    }
  })

  await t.test('S3 its nonce is used by another transaction: failed, but not before that is final', async (t) => {
    const { account, who } = await memberWithMoney()
    const [raw, rival] = [await sign(account, 0), await sign(account, 0)]
    await world.submit(who, raw)
    await send(rival)
    await round(9)
    t.equal(await world.stateOf(who, keccak256(raw)), 'submitted')
    second?.setDown(true)
    await round(3)
    t.equal(await world.stateOf(who, keccak256(raw)), 'submitted', 'every node has to say so')
    second?.mend()
    await client.mine({ blocks: 1 })
    for (let looks = 0; (await world.stateOf(who, keccak256(raw))) === 'submitted' && looks < 200; looks++)
      await round()
    t.equal(await world.stateOf(who, keccak256(raw)), 'failed: nonce_used_by_another')
    t.match(await world.submit(who, rival), { state: 'submitted' })
    await round()
    t.equal(await world.stateOf(who, keccak256(rival)), 'completed')
  })

  await t.test('S3 reverted, and a node that tells of no receipt: nothing is told before all agree', async (t) => {
    const { account, who } = await memberWithMoney()
    const to = newAddress()
    const raw = await sign(account, 0, to)
    await world.submit(who, raw)
    await barOnTestToken(client, to, true)
    await round()
    await round(1)
    t.equal(await world.stateOf(who, keccak256(raw)), 'mined')
    await round(10)
    t.equal(await world.stateOf(who, keccak256(raw)), 'failed: reverted')

    const honest = await sign(account, 1)
    await world.submit(who, honest)
    await round()
    second?.lie('eth_getTransactionReceipt', () => null)
    await round(12)
    await round()
    t.notMatch(await world.stateOf(who, keccak256(honest)), /completed|failed/)
    second?.mend()
    await round(1)
    t.equal(await world.stateOf(who, keccak256(honest)), 'completed')
  })

  await t.test('S2 dropped by every node: the same bytes again; S3 with no node, nothing is told', async (t) => {
    const { account, who } = await memberWithMoney()
    const raw = await sign(account, 0)
    const hash = keccak256(raw)
    await world.submit(who, raw)
    await round()
    await client.dropTransaction({ hash })
    for (const node of [first, second]) node?.setDown(true)
    await round()
    for (const node of [first, second]) node?.mend()
    t.equal(await world.stateOf(who, hash), 'submitted')
    for (let looks = 0; looks < 500 && (await client.getTransaction({ hash }).catch(() => null)) === null; looks++) {
      await round()
    }
    await round(11)
    t.equal(await world.stateOf(who, hash), 'completed')
  })

  await t.test('only a hash: its bytes are looked for, and only the member’s own transfer comes true', async (t) => {
    const { account, who } = await memberWithMoney()
    const stranger = await memberWithMoney()
    const own = await sign(account, 0)
    const data = encodeFunctionData({ abi: testTokenAbi, functionName: 'mint', args: [account.address, 5n] })
    const others = [await sign(stranger.account, 0), await sign(account, 1, newAddress(), data)]
    for (const raw of [own, ...others]) t.match(await world.submitHash(who, keccak256(raw)), { transfer: null })
    await round()
    t.equal(await world.stateOf(who, keccak256(own)), 'submitted', 'nobody has seen it')
    for (const raw of [own, ...others]) await send(raw)
    const shown = await client.request({
      method: 'eth_getTransactionByHash',
      params: [keccak256(others[1] ?? '0x')],
    } as never)
    for (const node of evm.nodes) node.lie('eth_getTransactionByHash', () => shown)
    await round()
    t.match(await world.submitHash(who, keccak256(own)), { transfer: null }, 'those bytes have another hash')
    for (const node of evm.nodes) node.mend()
    await round()
    t.equal(await world.stateOf(who, keccak256(own)), 'submitted')
    t.match(await world.submitHash(who, keccak256(own)), { transfer: { amount: 3n * DOLLAR, from: account.address } })
    for (const raw of others) t.equal(await world.stateOf(who, keccak256(raw)), 'failed: not_a_withdrawal')
    await round(1)
    await round(10)
    t.equal(await world.stateOf(who, keccak256(own)), 'completed')
    t.match(await world.submit(stranger.who, others[0] ?? ''), { state: 'submitted' }, 'nobody can claim it away')
    await round()
    t.equal(await world.stateOf(stranger.who, keccak256(others[0] ?? '0x')), 'completed')
  })

  await t.test('a hash that nobody ever shows is given up after a day, and looked for when told again', async (t) => {
    const { account, who } = await memberWithMoney()
    const raw = await sign(account, 0)
    const hash = keccak256(raw)
    await world.submitHash(who, hash)
    world.loyalty.clock.advance(SEEN_WITHIN_MS - 1)
    await round()
    t.equal(await world.stateOf(who, hash), 'submitted')
    world.loyalty.clock.advance(1)
    await round()
    t.equal(await world.stateOf(who, hash), 'failed: never_seen')
    t.equal(world.openCount, 0)
    await send(raw)
    t.match(await world.submitHash(who, hash), { state: 'submitted', because: null })
    await round(11)
    await round()
    t.equal(await world.stateOf(who, hash), 'completed')
  })

  await t.test('another wallet’s bytes are refused, and so are too many at once', async (t) => {
    const { account, who } = await memberWithMoney()
    const raw = await sign(newAccount(), 0)
    await t.rejects(world.submit(who, raw), { code: 'withdrawal_foreign' })
    await world.submitHash(who, keccak256(raw))
    await t.rejects(world.submit(who, raw), { code: 'withdrawal_foreign' }, 'also when its hash was told before')
    await t.rejects(world.submit(await world.newMember(), raw), {
      code: 'wallet_missing',
    })
    for (let nonce = 1; nonce < OPEN_PER_MEMBER_MAX; nonce++) await world.submit(who, await sign(account, nonce))
    await t.rejects(world.submit(who, await sign(account, 99)), { code: 'withdrawals_open' })
    await world.crash()
    await t.rejects(world.submit(who, await sign(account, 99)), { code: 'withdrawals_open' }, 'a crash forgets none')
    t.equal(world.loyalty.program.openWithdrawals.countOf(who.userId), OPEN_PER_MEMBER_MAX)
  })

  await t.test('D1, D2 deposits from elsewhere are recorded once, through crashes, reorgs and lag', async (t) => {
    await client.mine({ blocks: 10 })
    await world.watchAll()
    const { account, who } = await memberWithMoney()
    const { account: other, who: otherWho } = await memberWithMoney()
    await send(await sign(other, 0, account.address))
    await send(await sign(other, 1, account.address))
    await send(await sign(account, 0, account.address))
    await send(await sign(account, 1, newAddress()))
    await client.mine({ blocks: 1 })
    const pool = await sign(
      evm.account,
      await client.getTransactionCount({ address: evm.account.address }),
      account.address,
    )
    await send(pool)
    await client.mine({ blocks: 3 })
    await world.watchAll()
    const ofTwo = () => world.seen().filter(({ userId }) => [who.userId, otherWho.userId].includes(userId))
    t.same(ofTwo(), [], 'nothing is final')
    await client.request({ method: 'anvil_reorg', params: [3, []] } as never)
    await client.mine({ blocks: 12 })

    world.postgresHas = 0
    t.equal(await world.deposits.watch(), true, 'not matched before Postgres has caught up')
    await world.crash()
    t.equal(await world.deposits.watch(), true)
    t.same(ofTwo(), [])
    world.postgresHas = Number.POSITIVE_INFINITY
    await world.watchAll()
    const minted = { from: `0x${'0'.repeat(40)}`, amount: 100n * DOLLAR }
    const came = { userId: who.userId, from: other.address, amount: 3n * DOLLAR }
    t.match(ofTwo(), [{ userId: who.userId, ...minted }, { userId: otherWho.userId, ...minted }, came, came])
    await world.crash()
    await client.mine({ blocks: 3 })
    await world.watchAll()
    t.equal(ofTwo().length, 4, 'once')
    const { hash = '' } = ofTwo()[2] ?? {}
    t.not(hash, ofTwo()[3]?.hash)
    const recordsBefore = world.loyalty.journal.bodies.length
    for (let blocks = 0; blocks < 20; blocks++) {
      await client.mine({ blocks: 2 })
      await world.watchAll()
    }
    t.equal(world.loyalty.journal.bodies.length, recordsBefore, 'blocks without deposits are not told one by one')
    await client.mine({ blocks: 20 })
    await world.watchAll()
    t.equal(world.loyalty.journal.bodies.length, recordsBefore + 1)
    const { watchedThrough } = await world.loyalty.shard.query(world.loyalty.queries.depositsWatched, {})
    const again = { chain: evm.wallet.chain, from: watchedThrough, through: watchedThrough, deposits: [] }
    const { run, commands } = world.loyalty
    t.same(await run(commands.watchDeposits, again), { taken: false }, 'blocks are taken once')
  })
})

t.test('on Solana: sent after a crash, forked away, completed; expired; reverted; only a signature', async (t) => {
  const chain = await startSolanaDev({ slotMs: 0 })
  t.teardown(() => chain.stop())
  const mint = await chain.createMint('usdt', 6)
  const { wallet } = await newPayer(chain, { mint })
  const world = await WithdrawalWorld.open(wallet)
  const connection = new Connection(chain.url)
  const member = Keypair.generate()
  const owner = member.publicKey.toBase58()
  await chain.airdrop(owner, 10n * SOL)
  await chain.mintTo(mint, owner, 1_000n)
  await finalise(chain)
  const who = await world.member(owner)
  const sign = async (amount: bigint, to = someone()) => {
    const { transaction } = await wallet.unsigned(owner, to, amount)
    const signed = Transaction.from(Buffer.from(String(transaction.transaction), 'base64'))
    signed.sign(member)
    return signed.serialize().toString('base64')
  }
  const round = async (slots = 0) => {
    if (slots > 0) await chain.advance(slots)
    await world.tracker.round()
  }

  const to = someone()
  const raw = await sign(15n, to)
  const { hash } = await world.submit(who, raw)
  await world.crash()
  await chain.advance(1)
  await round()
  await round()
  t.equal(await world.stateOf(who, hash), 'mined')
  await chain.rollback(1)
  await round()
  t.equal(await world.stateOf(who, hash), 'submitted', 'a fork took it back')
  await round(33)
  t.equal(await world.stateOf(who, hash), 'completed')
  t.equal(await wallet.balanceOf(to), 15n)

  const { transaction } = await wallet.unsigned(owner, someone(), 5_000n)
  const overdraft = Transaction.from(Buffer.from(String(transaction.transaction), 'base64'))
  overdraft.sign(member)
  const never = overdraft.serialize().toString('base64')
  const { hash: expired } = await world.submit(who, never)
  await round()
  t.equal(await world.stateOf(who, expired), 'submitted', 'refused now is not failed')

  const reverted = await sign(2_000n)
  const { hash: failed } = await world.submit(who, reverted)
  await connection.sendRawTransaction(Buffer.from(reverted, 'base64'), { skipPreflight: true })
  await round(1)
  t.equal(await world.stateOf(who, failed), 'mined')
  await round(33)
  t.equal(await world.stateOf(who, failed), 'failed: reverted')

  const told = await wallet.readSigned(await sign(25n))
  await world.submitHash(who, told.hash)
  await round()
  await connection.sendRawTransaction(Buffer.from(told.raw, 'base64'), { skipPreflight: true })
  await round(3)
  await round(33)
  t.equal(await world.stateOf(who, told.hash), 'completed')
  await expire(chain)
  await round(150)
  t.equal(await world.stateOf(who, expired), 'failed: expired')
  t.equal(world.openCount, 0)
  t.equal(await world.deposits.watch(), false, 'there is no such thing as all movements of a mint')
})

t.test('whatever is reported in whatever order: it ends once, and what is open is what has not ended', async (t) => {
  const chain = { chain: 'eip155:1', address: '0xpool' } as never
  const block = (height: number) => ({ height, hash: `0x${height}` })
  const withdrawalId = withdrawalIdOf('0xh', uuid('a', 1))
  const transfer = (from: string) =>
    ({ hash: '0xh', raw: '0x', from, to: '0xto', amount: 7n, validity: { kind: 'nonce', nonce: 0 } }) as const
  const reports: readonly WithdrawalReport[] = [
    { type: 'identified', withdrawalId, transfer: transfer('0xmember') },
    { type: 'identified', withdrawalId, transfer: transfer('0xother') },
    { type: 'mined', withdrawalId, block: block(1) },
    { type: 'mined', withdrawalId, block: block(2) },
    { type: 'unmined', withdrawalId },
    { type: 'unseen', withdrawalId },
    { type: 'completed', withdrawalId, block: block(2) },
    { type: 'failed', withdrawalId, because: 'reverted', block: block(1) },
  ]
  const acts = {
    day: (world: WithdrawalWorld) => world.loyalty.clock.advance(SEEN_WITHIN_MS),
    crash: (world: WithdrawalWorld) => world.crash(),
    submit: (world: WithdrawalWorld, who: Principal) => world.submitHash(who, '0xh'),
  }
  const step = fc.constantFrom(...(['day', 'crash', 'submit'] as const), ...reports)
  const property = async (steps: readonly (keyof typeof acts | WithdrawalReport)[]) => {
    const world = await WithdrawalWorld.open(chain)
    const who = await world.member('0xmember')
    t.equal((await world.submitHash(who, '0xh')).withdrawalId, withdrawalId)
    let ended = ''
    for (const each of steps) {
      if (typeof each === 'string') await acts[each](world, who)
      else await world.report(each)
      const state = await world.stateOf(who, '0xh')
      const isOver = /completed|failed/.test(state)
      assert.equal(world.openCount, isOver ? 0 : 1)
      if (ended !== '' && !(ended === 'failed: never_seen' && each === 'submit')) assert.equal(state, ended)
      ended = isOver ? state : ''
    }
    assert.equal(world.completed('0xh'), ended === 'completed' ? 1 : 0)
  }
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 14 }), property), { numRuns: 60 })
  t.pass()
})
