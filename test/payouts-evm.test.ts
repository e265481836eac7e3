// Hunts, on the real anvil: a payout that is paid twice or never, a hold nobody releases, a nonce that is missing.
import t from 'tap'
import { type Hex, parseGwei } from 'viem'
import { barOnTestToken } from '../chain/dev/evm-token.js'
import { evmWorld, newAddress } from './support/evm.js'
import { evmBench } from './support/payout-evm.js'
import { mustAddUp, open, oversightHazards, signerHazards } from './support/payout-suite.js'
import type { PayoutWorld } from './support/payouts.js'

t.setTimeout(600_000)
const evm = await evmWorld(t, { timeoutMs: 10_000 })
const { client } = evm.anvil
const [node] = evm.nodes
const { bench, faults, foreign } = evmBench(evm)

signerHazards(t, bench, faults)
oversightHazards(t, bench, 50)

const hashes = async (world: PayoutWorld, payoutId: string) =>
  (await world.detail(payoutId)).signed.map(({ hash }) => hash as Hex)

/** The next block costs so much. */
const setBaseFee = (gwei: string) => client.setNextBlockBaseFeePerGas({ baseFeePerGas: parseGwei(gwei) })

t.test(
  'S2 what a node says of bytes it has, or will not take, changes nothing: they are sent as they are',
  async (t) => {
    for (const message of [
      'already known',
      'transaction already imported',
      'nonce too low',
      'replacement transaction underpriced',
      'internal error',
      'no such method',
    ]) {
      const world = await open(t, bench)
      let lies = 2
      node.judge('eth_sendRawTransaction', () => (lies-- > 0 ? message : undefined))
      const payouts = [await world.owe(3n), await world.owe(5n)]
      await world.settle()
      node.mend()
      t.equal(await world.states(...payouts), 'settled settled', message)
      await mustAddUp(t, world)
    }
  },
)

t.test('S2 the base fee spikes: evicted and too cheap, it is signed again for the same nonce', async (t) => {
  const world = await open(t, bench, { stuckAfterMs: 20_000 })
  const payouts = [await world.owe(3n), await world.owe(5n)]
  await world.round()
  const nonces = await Promise.all(payouts.map(async ({ payoutId }) => (await world.detail(payoutId)).nonce))
  await setBaseFee('40')
  await client.mine({ blocks: 1 })
  for (let round = 0; round < 6; round++) {
    await world.round()
    await setBaseFee('40')
    await world.pass()
  }
  await world.settle()
  t.equal(await world.states(...payouts), 'settled settled')
  t.ok((await hashes(world, payouts[0]?.payoutId ?? '')).length > 1, 'it was replaced')
  const after = await Promise.all(payouts.map(async ({ payoutId }) => (await world.detail(payoutId)).nonce))
  t.same(after, nonces)
  await mustAddUp(t, world)
  await setBaseFee('1')
  await client.mine({ blocks: 1 })
})

t.test('S2 dropped from the pool at any time: the same bytes again', async (t) => {
  const world = await open(t, bench)
  const payouts = [await world.owe(3n), await world.owe(5n), await world.owe(7n)]
  await world.round()
  for (const { payoutId } of payouts) {
    for (const hash of await hashes(world, payoutId)) await client.dropTransaction({ hash })
    await world.round()
  }
  await world.settle()
  t.equal(await world.states(...payouts), 'settled settled settled')
  for (const { payoutId } of payouts) t.equal((await hashes(world, payoutId)).length, 1)
  await mustAddUp(t, world)
})

t.test('S3 reorganised at depth 1 to 9: unmined, sent again, paid once', async (t) => {
  const world = await open(t, bench)
  for (let depth = 1; depth <= 9; depth++) {
    const payout = await world.owe(BigInt(depth))
    await world.round()
    await client.mine({ blocks: depth })
    await world.round()
    t.equal(await world.states(payout), 'mined', `${depth} deep`)
    await client.request({ method: 'anvil_reorg', params: [depth, []] } as never)
    await world.round()
    t.equal(await world.states(payout), 'signed', 'reorganised')
    await world.settle()
    t.equal((await hashes(world, payout.payoutId)).length, 1)
  }
  await mustAddUp(t, world)
})

t.test(
  'S3, S4 a reorg puts another transaction of the wallet at its nonce: lost, held, and the wallet pauses',
  async (t) => {
    for (let depth = 1; depth <= 9; depth++) {
      const world = await open(t, bench)
      const payout = await world.owe(3n)
      await world.round()
      const { nonce } = await world.detail(payout.payoutId)
      await client.mine({ blocks: depth })
      await world.round()
      const raw = await foreign(world.chain.address, nonce ?? 0, newAddress(), 11n)
      await client.request({ method: 'anvil_reorg', params: [depth, [[raw, 0]]] } as never)
      for (let round = 0; round < 5; round++) {
        await world.round()
        await world.pass()
      }
      t.equal(await world.states(payout), 'review', `${depth} deep`)
      t.equal(await bench.balanceOf(payout.to), 0n)
      t.match(await world.stand(), { pausedBecause: 'nonce_used_by_another', held: 3n, paid: 0n })
      // A person has looked at both: the transfer nobody knows is a discrepancy, the payout is paid with a nonce of its own.
      t.equal((await world.oversight.reconcile('continuous')).status, 'discrepancy')
      await world.approve(payout.payoutId)
      await world.loyalty.run(world.loyalty.commands.resumeWallet, { wallet: 'member' }, world.admin)
      await world.settle()
      t.equal(await bench.balanceOf(payout.to), 3n, 'once')
    }
  },
)

t.test('S3 a payee that reverts: failed, its hold released; tried again once it is lifted, it pays', async (t) => {
  const world = await open(t, bench)
  const barred = newAddress()
  const payouts = [await world.owe(3n), await world.owe(5n, barred), await world.owe(7n)]
  await world.round()
  // Out of the way of the block that bars the payee.
  for (const { payoutId } of payouts) {
    for (const hash of await hashes(world, payoutId)) await client.dropTransaction({ hash })
  }
  await barOnTestToken(client, barred, true)
  await world.settle()
  t.equal(await world.states(...payouts), 'settled failed settled')
  t.equal((await world.stand()).held, 0n)
  await mustAddUp(t, world, 1)
  await barOnTestToken(client, barred, false)
  await world.retry(payouts[1]?.payoutId ?? '')
  await world.settle()
  t.equal(await world.states(...payouts), 'settled settled settled')
  await mustAddUp(t, world)
})

t.test('a payee the token refuses beforehand is held for a person, and the rest flows', async (t) => {
  const world = await open(t, bench)
  const to = newAddress()
  await barOnTestToken(client, to, true)
  const payouts = [await world.owe(3n), await world.owe(5n, to), await world.owe(7n)]
  await world.settle()
  t.equal(await world.states(...payouts), 'settled review settled')
  await mustAddUp(t, world, 1)
  await barOnTestToken(client, to, false)
  await world.approve(payouts[1]?.payoutId ?? '')
  await world.settle()
  await mustAddUp(t, world)
})

t.test('S3 one of two nodes lies: nothing is settled on its word, and all once it tells the truth', async (t) => {
  const two = await evmWorld(t, { nodes: 2, timeoutMs: 10_000 })
  const { bench } = evmBench(two)
  const [, liar] = two.nodes
  for (const [method, lie] of [
    ['eth_getTransactionReceipt', () => null],
    ['eth_call', () => `0x${'7'.padStart(64, '0')}`],
    ['eth_getTransactionCount', () => '0x0'],
  ] as const) {
    const world = await open(t, bench)
    const payout = await world.owe(3n)
    await world.round()
    liar?.lie(method, lie)
    for (let round = 0; round < 6; round++) {
      await world.pass()
      await world.round()
    }
    t.notMatch(await world.states(payout), /failed|review|queued/, method)
    t.ok((await bench.balanceOf(payout.to)) <= 3n)
    liar?.mend()
    await world.settle()
    t.equal(await world.states(payout), 'settled')
    await mustAddUp(t, world)
  }
})
