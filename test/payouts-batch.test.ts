// Hunts, on the real anvil, where many payouts are paid by one transaction: a payout that is paid twice or never, one
// that keeps the others from being paid, a nonce that is missing, an allowance that nobody follows.
import t from 'tap'
import { type Address, type Hex, parseGwei } from 'viem'
import { distributionDropped, distributionMoved, distributionPrepared } from '../actors/payout/facts.js'
import type { BatchPayer } from '../chain/batch-payer.js'
import { SignerRefused } from '../chain/chain.js'
import { barOnTestToken } from '../chain/dev/evm-token.js'
import { evmWorld, newAddress } from './support/evm.js'
import { evmBench } from './support/payout-evm.js'
import { instead, mustAddUp, open } from './support/payout-suite.js'
import type { Owed, PayoutWorld } from './support/payouts.js'

t.setTimeout(600_000)
const evm = await evmWorld(t, { timeoutMs: 10_000 })
const { client } = evm.anvil
const { bench, foreign } = evmBench(evm)
const settled = (count: number) => Array(count).fill('settled').join(' ')

async function owing(world: PayoutWorld, count: number): Promise<Owed[]> {
  const all: Owed[] = []
  for (let each = 1; each <= count; each++) all.push(await world.owe(BigInt(each)))
  return all
}

/** What was signed last for the steps, in the order of their nonces. */
function hashesOf(world: PayoutWorld): Hex[] {
  const last = new Map<number, Hex>()
  for (const { nonce, state, hash } of world.facts(distributionMoved)) {
    if (state === 'signed' && hash !== null) last.set(nonce, hash as Hex)
  }
  return [...last].sort(([a], [b]) => a - b).map(([, hash]) => hash)
}

const setBaseFee = (gwei: string) => client.setNextBlockBaseFeePerGas({ baseFeePerGas: parseGwei(gwei) })
const contractOf = (world: PayoutWorld) => world.facts(distributionPrepared).at(-1)?.contract as Address

t.test('many are paid by one transaction, few one by one, each with its own row', async (t) => {
  const world = await open(t, bench, { batchAtLeast: 5 })
  const payouts = await owing(world, 7)
  const few = async () => {
    payouts.push(await world.owe(50n))
    await world.round()
    await world.pass()
  }
  await world.round()
  t.equal(await world.states(...payouts), Array(7).fill('signed').join(' '))
  await few()
  await world.settle()
  t.equal(await world.states(...payouts), settled(8))
  const mined = await Promise.all(payouts.map(async ({ payoutId }) => (await world.detail(payoutId)).mined?.hash))
  t.equal(new Set(mined.slice(0, 7)).size, 1)
  t.not(mined[7], mined[0], 'what came later went by itself')
  await owing(world, 5)
  await world.settle()
  t.equal(world.facts(distributionPrepared).length, 2)
  await mustAddUp(t, world)
})

t.test(
  'a payee that the token refuses harms nobody else: failed, its hold released, and paid when tried again',
  async (t) => {
    const world = await open(t, bench, { batchAtLeast: 3 })
    const payouts = await owing(world, 5)
    await world.round()
    // Out of the way of the block that bars the payee.
    for (const hash of hashesOf(world)) await client.dropTransaction({ hash })
    const barred = (payouts[2]?.to ?? '') as Address
    await barOnTestToken(client, barred, true)
    await world.settle()
    t.equal(await world.states(...payouts), 'settled settled failed settled settled')
    t.equal((await world.stand()).held, 0n)
    await mustAddUp(t, world, 1)
    await barOnTestToken(client, barred, false)
    await world.retry(payouts[2]?.payoutId ?? '')
    payouts.push(...(await owing(world, 2)))
    await world.settle()
    t.equal(world.facts(distributionPrepared).length, 2, 'what was left of the allowance is no hindrance')
    t.equal(await world.states(...payouts), settled(7))
    await mustAddUp(t, world)
  },
)

t.test('the whole transaction reverts: all failed with their holds released, and paid when tried again', async (t) => {
  const world = await open(t, bench, { batchAtLeast: 3 })
  const payouts = await owing(world, 4)
  await world.round()
  const [, , pay] = hashesOf(world)
  if (pay !== undefined) await client.dropTransaction({ hash: pay })
  const address = contractOf(world)
  const bytecode = (await client.getCode({ address })) ?? '0x'
  await client.setCode({ address, bytecode: '0xfe' })
  await world.settle()
  t.equal(await world.states(...payouts), 'failed failed failed failed')
  t.equal((await world.stand()).held, 0n)
  await mustAddUp(t, world, 4)
  await client.setCode({ address, bytecode })
  for (const { payoutId } of payouts) await world.retry(payoutId)
  await world.settle()
  t.equal(await world.states(...payouts), settled(4))
  await mustAddUp(t, world)
})

t.test('S3 reorganised at depth 1 to 9: unmined, sent again, each paid once', async (t) => {
  const world = await open(t, bench, { batchAtLeast: 3 })
  for (const depth of [1, 2, 5, 9]) {
    const payouts = await owing(world, 3)
    await world.round()
    await client.mine({ blocks: depth })
    await world.round()
    t.equal(await world.states(...payouts), 'mined mined mined', `${depth} deep`)
    await client.request({ method: 'anvil_reorg', params: [depth, []] } as never)
    await world.round()
    t.equal(await world.states(...payouts), 'signed signed signed', 'reorganised')
    await world.settle()
    t.equal(await world.states(...payouts), settled(3))
  }
  await mustAddUp(t, world)
})

t.test(
  'S3, S4 a reorg puts another transaction of the wallet at its nonce: all held, and the wallet pauses',
  async (t) => {
    for (const step of [2, 1]) {
      const world = await open(t, bench, { batchAtLeast: 3 })
      const payouts = await owing(world, 3)
      await world.round()
      await client.mine({ blocks: 2 })
      await world.round()
      t.equal(await world.states(...payouts), 'mined mined mined')
      const nonces = world.facts(distributionPrepared)[0]?.nonces ?? []
      const raws: [Hex, number][] = []
      for (const nonce of nonces.slice(step)) {
        raws.push([await foreign(world.chain.address, nonce, newAddress(), 11n), raws.length])
      }
      const kept = hashesOf(world).slice(0, step)
      const signed = await Promise.all(kept.map((hash) => rawOf(world, hash)))
      const block = [...signed, ...raws.map(([raw]) => raw)].map((raw) => [raw, 0])
      await client.request({ method: 'anvil_reorg', params: [2, block] } as never)
      for (let round = 0; round < 6; round++) {
        await world.round()
        await world.pass()
      }
      t.equal(await world.states(...payouts), 'review review review', `from step ${step} on`)
      for (const { to } of payouts) t.equal(await bench.balanceOf(to), 0n)
      t.match(await world.stand(), { pausedBecause: 'nonce_used_by_another', held: 6n, paid: 0n })
      t.equal((await world.oversight.reconcile('continuous')).status, 'discrepancy')
      for (const { payoutId } of payouts) await world.approve(payoutId)
      await world.loyalty.run(world.loyalty.commands.resumeWallet, { wallet: 'member' }, world.admin)
      await world.settle()
      for (const { to, amount } of payouts) t.equal(await bench.balanceOf(to), amount, 'once')
    }
  },
)

/** What was signed, by its hash. */
async function rawOf(world: PayoutWorld, hash: Hex): Promise<Hex> {
  const distributionId = world.facts(distributionPrepared).at(-1)?.distributionId ?? ''
  const { shard, queries } = world.loyalty
  const { steps } = await shard.query(queries.distributionDetail, { distributionId })
  return (steps.flatMap(({ signed }) => signed).find((each) => each.hash === hash)?.raw ?? '0x') as Hex
}

t.test('S2 the base fee spikes: every step is signed again for its own nonce', async (t) => {
  const world = await open(t, bench, { batchAtLeast: 3, stuckAfterMs: 20_000 })
  const payouts = await owing(world, 4)
  await world.round()
  await setBaseFee('40')
  await client.mine({ blocks: 1 })
  for (let round = 0; round < 8; round++) {
    await world.round()
    await setBaseFee('40')
    await world.pass()
  }
  await world.settle()
  t.equal(await world.states(...payouts), settled(4))
  const signed = world.facts(distributionMoved).filter(({ state }) => state === 'signed')
  t.ok(signed.length > 3, `signed ${signed.length} times`)
  t.equal(new Set(signed.map(({ nonce }) => nonce)).size, 3)
  await mustAddUp(t, world)
  await setBaseFee('1')
  await client.mine({ blocks: 1 })
})

t.test('S2 dropped from the pool, each step by itself: the same bytes again', async (t) => {
  const world = await open(t, bench, { batchAtLeast: 3 })
  for (const step of [0, 1, 2]) {
    const payouts = await owing(world, 3)
    await world.round()
    const hash = hashesOf(world).at(step - 3)
    if (hash !== undefined) await client.dropTransaction({ hash })
    await world.settle()
    t.equal(await world.states(...payouts), settled(3))
  }
  t.equal(world.facts(distributionMoved).filter(({ state }) => state === 'signed').length, 9, 'nothing was replaced')
  await mustAddUp(t, world)
})

t.test(
  'S2 the signer refuses one of a batch: that one is held, the others are paid, no nonce is missing',
  async (t) => {
    const world = await open(t, bench, { batchAtLeast: 3, signerPayoutMax: 1_000n })
    const payouts = []
    for (const amount of [1n, 2n, 1_001n, 4n, 5n]) payouts.push(await world.owe(amount))
    await world.round()
    t.equal(await world.states(...payouts), 'queued queued review queued queued')
    await world.settle()
    t.equal(await world.states(...payouts), 'settled settled review settled settled')
    t.match(world.facts(distributionDropped), [{ because: 'limit_payout' }])
    await mustAddUp(t, world, 1)
  },
)

t.test('the signer or the contract is not for batches: payouts go one by one, and later together', async (t) => {
  let isRefused = true
  const disguisePayer = (payer: BatchPayer) =>
    instead(payer, 'sign', async (steps) => {
      if (!isRefused) return payer.sign(steps)
      throw new SignerRefused('fee_too_high', 'no', steps[2]?.id ?? null)
    })
  const world = await open(t, bench, { batchAtLeast: 3, disguisePayer })
  const payouts = await owing(world, 4)
  await world.round()
  t.equal(await world.states(...payouts), 'queued queued queued queued')
  await world.settle()
  t.equal(await world.states(...payouts), settled(4))
  t.equal(world.facts(distributionPrepared).length, 1)
  isRefused = false
  world.loyalty.clock.advance(10 * 60_000)
  payouts.push(...(await owing(world, 3)))
  await world.settle()
  t.equal(world.facts(distributionPrepared).length, 2)
  t.equal(await world.states(...payouts), settled(7))
  await mustAddUp(t, world)
})

t.test('no coins for fees: a batch waits and goes on', async (t) => {
  const world = await open(t, bench, { batchAtLeast: 3, withoutGas: true })
  const payouts = await owing(world, 3)
  for (let round = 0; round < 4; round++) {
    await world.round()
    await world.pass()
  }
  t.equal(await world.states(...payouts), 'signed signed signed')
  await bench.giveGas(world.chain.address)
  await world.settle()
  t.equal(await world.states(...payouts), settled(3))
  await mustAddUp(t, world)
})

t.test(
  'S2 the setting of the contract is gone while a batch is under way: nothing is paid in another way',
  async (t) => {
    const world = await open(t, bench, { batchAtLeast: 3 })
    const payouts = await owing(world, 3)
    await world.stopSigner()
    await world.round()
    t.equal(await world.states(...payouts), 'prepared prepared prepared')
    await world.startSigner()
    const { contract } = world
    world.contract = null
    await world.crash()
    for (let round = 0; round < 3; round++) await world.round()
    t.match(world.failures.at(-1), /CHAIN_BATCH_CONTRACTS/)
    t.equal(await world.states(...payouts), 'prepared prepared prepared')
    world.contract = contract
    await world.crash()
    await world.round()
    const few = await world.owe(9n)
    await world.round()
    world.contract = null
    await world.crash()
    for (let round = 0; round < 5; round++) {
      await world.pass()
      await world.round()
    }
    t.equal(await world.states(...payouts, few), 'signed signed signed settled', 'what goes by itself is followed')
    world.contract = contract
    await world.crash()
    await world.settle()
    t.equal(await world.states(...payouts, few), settled(4))
    await mustAddUp(t, world)
  },
)
