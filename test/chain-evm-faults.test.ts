// What goes wrong between signing and finality on a real node: lost answers, fees, dropped transactions, reorgs, others
// who use the nonce. After each the money has moved once, or not at all, and we know which.
import t from 'tap'
import { type Hex, parseGwei } from 'viem'
import type { OpenTransfer } from '../chain/chain.js'
import {
  DOLLAR,
  type EvmWorld,
  evmWorld,
  foreignTransaction,
  open,
  payment,
  signed,
  transactionsOf,
} from './support/evm.js'

const GWEI = parseGwei('1')

/** Signs one payment; it is not sent yet. */
async function one(world: EvmWorld, nonce: number): Promise<OpenTransfer> {
  const [transfer] = await signed(world.wallet, [payment(nonce)])
  if (transfer === undefined) throw new Error('nothing was signed')
  return transfer
}

const send = (world: EvmWorld, transfer: OpenTransfer) => world.wallet.broadcast(transfer.signed.slice(-1))

async function observed(world: EvmWorld, transfer: OpenTransfer) {
  const [observation] = await world.wallet.observe([transfer])
  return observation
}

const replaced = async (world: EvmWorld, transfer: OpenTransfer): Promise<OpenTransfer> =>
  open(transfer, ...transfer.signed, await world.wallet.replace(transfer))

const reorg = (world: EvmWorld, depth: number, transactions: readonly (readonly [Hex, number])[] = []) =>
  world.anvil.client.request({ method: 'anvil_reorg', params: [depth, transactions] } as never)

for (const how of ['hang', 'cut'] as const) {
  t.test(
    `an answer that is lost (${how}) after the node has accepted: unknown, and sending again is accepted`,
    async (t) => {
      const world = await evmWorld(t, { timeoutMs: 300 })
      const transfer = await one(world, 0)
      world.nodes[0].dropAnswers('eth_sendRawTransaction', how, 1)
      t.match(await send(world, transfer), [{ kind: 'unknown' }])
      t.match(await observed(world, transfer), { kind: 'pending' }, 'the node has it')
      t.match(await send(world, transfer), [{ kind: 'accepted' }], 'already imported')
      await world.mine(10)
      t.match(await observed(world, transfer), { kind: 'final', ok: true })
      t.match(
        await send(world, transfer),
        [{ kind: 'refused', code: 'nonce_used' }],
        'mined, the same bytes are refused',
      )
      t.match(await observed(world, transfer), { kind: 'final', ok: true })
      t.equal(await world.balanceOf(transfer.to), DOLLAR)
    },
  )
}

t.test('a node that cannot be reached throws nothing away: unknown for all, then all is as it was', async (t) => {
  const world = await evmWorld(t)
  const transfer = await one(world, 0)
  world.nodes[0].setDown(true)
  t.match(await send(world, transfer), [{ kind: 'unknown' }])
  t.match(await observed(world, transfer), { kind: 'unknown' })
  await t.rejects(world.wallet.sign([payment(1)]), { code: 'chain_unreachable' })
  await t.rejects(world.wallet.holdings(), { code: 'chain_unreachable' })
  world.nodes[0].mend()
  t.match(await observed(world, transfer), { kind: 'missing' })
  t.match(await send(world, transfer), [{ kind: 'accepted' }])
})

t.test('a replacement has both fees an eighth higher, the same nonce and content, and pays once', async (t) => {
  const world = await evmWorld(t)
  const first = await one(world, 0)
  await send(world, first)
  const second = await replaced(world, first)
  const third = await replaced(world, second)
  const terms = third.signed.map((transaction) => transaction.terms)
  for (const [i, now] of terms.entries()) {
    const before = terms[i - 1]
    if (before?.kind !== 'evm' || now.kind !== 'evm') continue
    t.ok(now.maxFeePerGas * 8n >= before.maxFeePerGas * 9n)
    t.ok(now.maxPriorityFeePerGas * 8n >= before.maxPriorityFeePerGas * 9n)
    t.equal(now.gas, before.gas)
  }
  t.match(await send(world, third), [{ kind: 'accepted' }])
  t.match(await world.wallet.broadcast(first.signed), [{ kind: 'refused', code: 'underpriced' }], 'the first is out')
  await world.mine(10)
  t.match(await observed(world, third), { kind: 'final', ok: true, hash: third.signed[2]?.hash })
  t.equal(await world.balanceOf(first.to), DOLLAR)
})

t.test('the first of several wins when it is mined: the others change nothing', async (t) => {
  const world = await evmWorld(t)
  const first = await one(world, 0)
  await send(world, first)
  const both = await replaced(world, first)
  await world.mine(10)
  t.match(await send(world, both), [{ kind: 'refused', code: 'nonce_used' }])
  t.match(await observed(world, both), { kind: 'final', ok: true, hash: first.signed[0]?.hash })
  t.equal(await world.balanceOf(first.to), DOLLAR)
})

t.test(
  'replacing stops at the cap with a code, and so does signing when the chain is dearer than the cap',
  async (t) => {
    const world = await evmWorld(t, { fees: { maxFeePerGasCap: 4n * GWEI, priorityFeeMin: GWEI } })
    let transfer = await one(world, 0)
    await t.rejects(
      async () => {
        for (let i = 0; i < 20; i += 1) transfer = await replaced(world, transfer)
      },
      { code: 'fee_cap_reached' },
    )
    t.ok(transfer.signed.length > 1)
    for (const { terms } of transfer.signed) t.ok(terms.kind === 'evm' && terms.maxFeePerGas <= 4n * GWEI)
    await world.anvil.client.setNextBlockBaseFeePerGas({ baseFeePerGas: 50n * GWEI })
    await world.mine(1)
    await t.rejects(world.wallet.sign([payment(1)]), { code: 'fees_above_cap' })
  },
)

t.test(
  'a base fee above what was offered evicts it: missing; the old bytes are underpriced; a replacement pays once',
  async (t) => {
    const world = await evmWorld(t)
    const transfers = [...(await signed(world.wallet, [payment(0), payment(1)]))]
    await world.wallet.broadcast(transactionsOf(transfers))
    await world.anvil.client.setNextBlockBaseFeePerGas({ baseFeePerGas: 40n * GWEI })
    await world.mine(1)
    t.match(await world.wallet.observe(transfers), [{ kind: 'missing' }, { kind: 'missing' }])
    t.match(await world.wallet.broadcast(transactionsOf(transfers)), [
      { kind: 'refused', code: 'underpriced' },
      { kind: 'refused', code: 'underpriced' },
    ])
    const dearer = await Promise.all(transfers.map((transfer) => replaced(world, transfer)))
    for (const transfer of dearer) t.match(await send(world, transfer), [{ kind: 'accepted' }])
    await world.mine(10)
    t.match(await world.wallet.observe(dearer), [
      { kind: 'final', ok: true },
      { kind: 'final', ok: true },
    ])
    for (const { to } of dearer) t.equal(await world.balanceOf(to), DOLLAR)
  },
)

t.test('a transaction that was dropped is missing, and is mined from the same bytes', async (t) => {
  const world = await evmWorld(t)
  const transfer = await one(world, 0)
  await send(world, transfer)
  await world.anvil.client.dropTransaction({ hash: transfer.signed[0]?.hash as Hex })
  t.match(await observed(world, transfer), { kind: 'missing' })
  t.match(await send(world, transfer), [{ kind: 'accepted' }])
  await world.mine(10)
  t.match(await observed(world, transfer), { kind: 'final', ok: true })
})

t.test('a gap below keeps a transaction waiting; filled, both pay', async (t) => {
  const world = await evmWorld(t)
  const [lower, upper] = await signed(world.wallet, [payment(0), payment(1)])
  if (lower === undefined || upper === undefined) throw new Error('nothing was signed')
  await send(world, upper)
  await world.mine(2)
  t.match(await world.wallet.observe([lower, upper]), [{ kind: 'missing' }, { kind: 'pending' }])
  await send(world, lower)
  await world.mine(10)
  t.match(await world.wallet.observe([lower, upper]), [{ kind: 'final' }, { kind: 'final' }])
})

t.test('reorgs of depth 1 to 9 take a payment back: missing, and the same bytes pay it once', async (t) => {
  const world = await evmWorld(t)
  for (let depth = 1; depth <= 9; depth += 1) {
    const transfer = await one(world, depth - 1)
    await send(world, transfer)
    await world.mine(depth)
    t.match(await observed(world, transfer), { kind: 'mined', ok: true })
    await reorg(world, depth)
    t.match(await observed(world, transfer), { kind: 'missing' }, `after a reorg of ${depth}`)
    t.match(await send(world, transfer), [{ kind: 'accepted' }])
    await world.mine(10)
    t.match(await observed(world, transfer), { kind: 'final', ok: true })
    t.equal(await world.balanceOf(transfer.to), DOLLAR)
  }
})

t.test('reorgs of depth 1 to 9 with our own replacement in the new chain: that one pays, once', async (t) => {
  const world = await evmWorld(t)
  for (let depth = 1; depth <= 9; depth += 1) {
    const first = await one(world, depth - 1)
    await send(world, first)
    const both = await replaced(world, first)
    await world.mine(depth)
    t.match(await observed(world, both), { kind: 'mined', hash: first.signed[0]?.hash })
    await reorg(world, depth, [[both.signed[1]?.raw as Hex, 0]])
    t.match(await observed(world, both), { kind: 'mined', ok: true, hash: both.signed[1]?.hash })
    await world.mine(10)
    t.match(await observed(world, both), { kind: 'final', ok: true, hash: both.signed[1]?.hash })
    t.equal(await world.balanceOf(first.to), DOLLAR)
  }
})

t.test(
  'reorgs of depth 1 to 9 with a foreign transaction at the nonce: lost, but only when that is final',
  async (t) => {
    const world = await evmWorld(t)
    for (let depth = 1; depth <= 9; depth += 1) {
      const transfer = await one(world, depth - 1)
      await send(world, transfer)
      await world.mine(depth)
      await reorg(world, depth, [[await foreignTransaction(world, depth - 1), 0]])
      t.match(await observed(world, transfer), { kind: 'missing' }, 'another reorg could bring it back')
      t.match(await send(world, transfer), [{ kind: 'refused', code: 'nonce_used' }])
      await world.mine(9 - depth)
      t.match(await observed(world, transfer), { kind: 'missing' }, 'one block before')
      await world.mine(1)
      t.same(await observed(world, transfer), { kind: 'lost', because: 'nonce_used_by_another' })
      t.equal(await world.balanceOf(transfer.to), 0n)
    }
  },
)

t.test('a reorg gives a lost nonce back before it is final: the same bytes still pay', async (t) => {
  const world = await evmWorld(t)
  const transfer = await one(world, 0)
  await world.anvil.client.sendRawTransaction({ serializedTransaction: await foreignTransaction(world, 0) })
  await world.mine(9)
  t.match(await observed(world, transfer), { kind: 'missing' })
  await reorg(world, 9)
  t.match(await send(world, transfer), [{ kind: 'accepted' }])
  await world.mine(10)
  t.match(await observed(world, transfer), { kind: 'final', ok: true })
})

t.test('the user of a nonce is found far below the final block', async (t) => {
  const world = await evmWorld(t)
  const transfers = await signed(world.wallet, [payment(0), payment(1), payment(2)])
  const own = transfers[1]
  if (own === undefined) throw new Error('nothing was signed')
  await world.anvil.client.sendRawTransaction({ serializedTransaction: await foreignTransaction(world, 0) })
  await world.mine(13)
  await send(world, own)
  await world.mine(21)
  await world.anvil.client.sendRawTransaction({ serializedTransaction: await foreignTransaction(world, 2) })
  await world.mine(77)
  t.match(await world.wallet.observe(transfers), [{ kind: 'lost' }, { kind: 'final', ok: true }, { kind: 'lost' }])
})

t.test('a wallet without gas: refused with a code, nothing moves; with gas the same bytes pay', async (t) => {
  const world = await evmWorld(t, { funds: { asset: 10n * DOLLAR, gas: 0n } })
  const transfer = await one(world, 0)
  t.match(await send(world, transfer), [{ kind: 'refused', code: 'no_gas' }])
  t.match(await observed(world, transfer), { kind: 'missing' })
  await world.anvil.client.setBalance({ address: world.account.address, value: 10n ** 18n })
  t.match(await send(world, transfer), [{ kind: 'accepted' }])
  await world.mine(10)
  t.match(await observed(world, transfer), { kind: 'final', ok: true })
})

t.test('a wallet that holds nothing signs nothing, and says why', async (t) => {
  const world = await evmWorld(t, { funds: { asset: 0n, gas: 10n ** 18n } })
  await t.rejects(world.wallet.sign([payment(0)]), { code: 'gas_not_estimated' })
})
