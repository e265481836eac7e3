// Many payees in one transaction, on a real EVM node: one payee who cannot be paid harms nobody, no id is paid twice, and
// nobody but the wallet can make the contract pay.

import t from 'tap'
import { encodeFunctionData, type Hex } from 'viem'
import { type BatchPayment, type BatchStep, batchActions, type OpenBatchStep } from '../chain/batch-payer.js'
import { barOnTestToken, deployBatchPayout } from '../chain/dev/evm-token.js'
import { EvmBatchPayer, PAYMENTS_PER_BATCH_MAX } from '../chain/evm/batch.js'
import { batchIdOf, batchPayoutAbi } from '../chain/evm/contracts.js'
import { DOLLAR, type EvmWorld, evmWorld, newAccount, newAddress, payment, USDT, WALLET } from './support/evm.js'
import type { TestScope } from './support/server.js'

const payments = (count: number): BatchPayment[] => Array.from({ length: count }, () => payment(0))

async function batchWorld(t: TestScope, nodes = 1) {
  const world = await evmWorld(t, { nodes })
  const contract = await deployBatchPayout(world.anvil.client, world.account.address)
  const { endpoints, signer, account } = world
  const options = { endpoints, signer, name: WALLET, address: account.address, token: USDT.address, contract }
  return { ...world, contract, options, payer: new EvmBatchPayer(options) }
}

type BatchWorld = Awaited<ReturnType<typeof batchWorld>>

/** Signs and sends everything a distribution takes. */
async function distribute({ payer, wallet }: BatchWorld, wanted: readonly BatchPayment[], firstNonce: number) {
  const steps = batchActions(wanted).map(
    (action, i): BatchStep => ({ id: `batch-${firstNonce + i}`, nonce: firstNonce + i, action }),
  )
  const transactions = await payer.sign(steps)
  const open = steps.map((step, i): OpenBatchStep => {
    const transaction = transactions[i]
    return { ...step, signed: transaction === undefined ? [] : [transaction] }
  })
  for (const sent of await wallet.broadcast(transactions)) if (sent.kind !== 'accepted') throw new Error(sent.message)
  return open
}

const balances = (world: EvmWorld, of: readonly BatchPayment[]) => Promise.all(of.map(({ to }) => world.balanceOf(to)))

t.test('a payee who is barred harms nobody else: each payout has its own outcome', async (t) => {
  const world = await batchWorld(t)
  const wanted = payments(5)
  await barOnTestToken(world.anvil.client, wanted[2]?.to as Hex, true)
  const steps = await distribute(world, wanted, 0)
  t.match(steps, [{ action: { amount: 0n } }, { action: { amount: 5n * DOLLAR } }, { action: { kind: 'pay' } }])
  await world.mine(1)
  t.match(await world.payer.observe(steps), [{ ok: true }, { kind: 'mined', ok: true }, { kind: 'mined' }])
  await world.mine(9)
  t.match(await world.payer.observe(steps), [
    { kind: 'final', ok: true, outcomes: [] },
    { kind: 'final', ok: true, outcomes: [] },
    { kind: 'final', outcomes: ['paid', 'paid', 'failed', 'paid', 'paid'] },
  ])
  t.same(await balances(world, wanted), [DOLLAR, DOLLAR, 0n, DOLLAR, DOLLAR])
  const fromWallet = await world.wallet.movements([world.account.address], 4, 10)
  t.equal(fromWallet.length, 4, 'each transfer is seen to come from the wallet')
  t.equal((await world.wallet.holdings()).asset, 996n * DOLLAR)

  await barOnTestToken(world.anvil.client, wanted[2]?.to as Hex, false)
  const again = await distribute(world, wanted, 3)
  await world.mine(10)
  t.match((await world.payer.observe(again))[2], {
    kind: 'final',
    outcomes: ['duplicate', 'duplicate', 'paid', 'duplicate', 'duplicate'],
  })
  t.same(await balances(world, wanted), [DOLLAR, DOLLAR, DOLLAR, DOLLAR, DOLLAR], 'no id is paid twice')
})

t.test('one id twice in one batch is paid once', async (t) => {
  const world = await batchWorld(t)
  const [first, second] = payments(2)
  if (first === undefined || second === undefined) throw new Error('there are two')
  const twins = [first, { ...second, payoutId: first.payoutId }]
  t.throws(() => batchActions(twins), /twice/)
  const steps: readonly BatchStep[] = [
    { id: 'allow', nonce: 0, action: { kind: 'allow', amount: 2n * DOLLAR } },
    { id: 'twins', nonce: 1, action: { kind: 'pay', payments: twins } },
  ]
  const transactions = await world.payer.sign(steps)
  await world.wallet.broadcast(transactions)
  await world.mine(10)
  const open = steps.map((step, i) => ({ ...step, signed: transactions.slice(i, i + 1) }))
  t.match((await world.payer.observe(open))[1], { kind: 'final', outcomes: ['paid', 'duplicate'] })
  t.same(await balances(world, [first, second]), [DOLLAR, 0n])
})

t.test('nobody but the wallet can make the contract pay', async (t) => {
  const world = await batchWorld(t)
  await distribute(world, payments(1), 0)
  const thief = newAccount().address
  const args = [[{ id: batchIdOf('theft'), to: thief, amount: DOLLAR }]] as const
  const data = encodeFunctionData({ abi: batchPayoutAbi, functionName: 'pay', args })
  await t.rejects(world.anvil.client.call({ account: thief, to: world.contract, data }), /not the owner/)
})

t.test('a full batch fits its gas, and is replaced at the same nonce without paying twice', async (t) => {
  const world = await batchWorld(t)
  const wanted = payments(PAYMENTS_PER_BATCH_MAX)
  const steps = await distribute(world, wanted, 0)
  const full = steps[2]
  if (full === undefined) throw new Error('there is none')
  const replacement = await world.payer.replace(full)
  t.match(await world.wallet.broadcast([replacement]), [{ kind: 'accepted' }])
  const open = { ...full, signed: [...full.signed, replacement] }
  await world.mine(10)
  const [observation] = await world.payer.observe([open])
  t.match(observation, { kind: 'final', ok: true, hash: replacement.hash })
  const { gasUsed } = await world.anvil.client.getTransactionReceipt({ hash: replacement.hash as Hex })
  t.ok(gasUsed < 70_000n * BigInt(PAYMENTS_PER_BATCH_MAX), `${gasUsed / BigInt(PAYMENTS_PER_BATCH_MAX)} gas for each`)
  t.ok((await balances(world, wanted)).every((balance) => balance === DOLLAR))
})

t.test('a batch without its allowance pays nobody; an outcome that failed needs every node', async (t) => {
  const world = await batchWorld(t, 2)
  const wanted = payments(2)
  const action = { kind: 'pay', payments: wanted } as const
  const [transaction] = await world.payer.sign([{ id: 'early', nonce: 0, action }])
  if (transaction === undefined) throw new Error('nothing was signed')
  await world.wallet.broadcast([transaction])
  await world.mine(10)
  const step = { id: 'early', nonce: 0, action, signed: [transaction] }
  world.nodes[1]?.setDown(true)
  t.match(await world.payer.observe([step]), [{ kind: 'unknown', message: /repair/ }])
  world.nodes[1]?.mend()
  let [observation] = await world.payer.observe([step])
  while (observation?.kind === 'unknown') [observation] = await world.payer.observe([step])
  t.match(observation, { kind: 'final', ok: false, outcomes: ['failed', 'failed'] })
})

t.test('a contract of somebody else is found out before anything is signed', async (t) => {
  const world = await batchWorld(t)
  const others = await deployBatchPayout(world.anvil.client, newAddress())
  for (const contract of [others, newAddress(), USDT.address]) {
    const payer = new EvmBatchPayer({ ...world.options, contract })
    await t.rejects(payer.sign([{ id: 'x', nonce: 0, action: { kind: 'allow', amount: 1n } }]), Error)
  }
})
