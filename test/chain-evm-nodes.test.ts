// Several nodes of one chain, some of them down, behind, stuck or lying: what is final is final, and who lies is named.

import t from 'tap'
import { type Hex, zeroHash } from 'viem'
import type { OpenTransfer } from '../chain/chain.js'
import { barOnTestToken } from '../chain/dev/evm-token.js'
import { Endpoints } from '../chain/evm/endpoints.js'
import { JsonRpc } from '../chain/evm/json-rpc.js'
import {
  DOLLAR,
  type EvmWorld,
  evmWorld,
  faultProxy,
  foreignTransaction,
  payment,
  signed,
  transactionsOf,
} from './support/evm.js'

/** One payment that is final at honest nodes. */
async function finalPayment(world: EvmWorld): Promise<readonly OpenTransfer[]> {
  const transfers = await signed(world.wallet, [payment(0)])
  await world.wallet.broadcast(transactionsOf(transfers))
  await world.mine(10)
  return transfers
}

const forged = (receipt: unknown, changes: Record<string, unknown>) =>
  receipt === null ? null : { ...receipt, ...changes }

t.test('two honest nodes agree: final, and nobody is accused', async (t) => {
  const world = await evmWorld(t, { nodes: 2 })
  t.match(await world.wallet.observe(await finalPayment(world)), [{ kind: 'final', ok: true }])
  t.same(world.disagreements, [])
})

for (const liar of [0, 1] as const) {
  const position = liar === 0 ? 'first' : 'second'
  t.test(`the ${position} node denies a receipt: unknown, and both are named`, async (t) => {
    const world = await evmWorld(t, { nodes: 2 })
    const transfers = await finalPayment(world)
    world.nodes[liar]?.lie('eth_getTransactionReceipt', () => null)
    t.match(await world.wallet.observe(transfers), [{ kind: 'unknown' }])
    t.match(world.disagreements, [{ about: 'receipt', message: /127\.0\.0\.1.*127\.0\.0\.1/ }])
    world.nodes[liar]?.mend()
    t.match(await world.wallet.observe(transfers), [{ kind: 'final', ok: true }])
  })

  t.test(`the ${position} node says a payment failed, which was paid: never paid again`, async (t) => {
    const world = await evmWorld(t, { nodes: 2 })
    const transfers = await finalPayment(world)
    world.nodes[liar]?.lie('eth_getTransactionReceipt', (receipt) => forged(receipt, { status: '0x0', logs: [] }))
    t.match(await world.wallet.observe(transfers), [{ kind: 'unknown' }])
    t.equal(world.disagreements.length, 1)
  })

  t.test(`the ${position} node hides that a payment moved money: never paid again`, async (t) => {
    const world = await evmWorld(t, { nodes: 2 })
    const transfers = await finalPayment(world)
    world.nodes[liar]?.lie('eth_getTransactionReceipt', (receipt) => forged(receipt, { logs: [] }))
    t.match(await world.wallet.observe(transfers), [{ kind: 'unknown' }])
    t.equal(world.disagreements.length, 1)
  })

  t.test(`the ${position} node tells of another final block: nothing becomes final`, async (t) => {
    const world = await evmWorld(t, { nodes: 2 })
    const transfers = await finalPayment(world)
    world.nodes[liar]?.lie('eth_getBlockByNumber', (block) => forged(block, { hash: `0x${'ab'.repeat(32)}` }))
    const [observation] = await world.wallet.observe(transfers)
    t.equal(observation?.kind, 'unknown')
    t.match(world.disagreements[0], { about: 'block' })
    await t.rejects(world.wallet.heights(), { code: 'nodes_disagree' })
    await t.rejects(world.wallet.nonces(), { code: 'nodes_disagree' })
  })

  t.test(`the ${position} node tells of another nonce: nothing is lost by it`, async (t) => {
    const world = await evmWorld(t, { nodes: 2 })
    const transfers = await signed(world.wallet, [payment(0)])
    await world.mine(12)
    world.nodes[liar]?.lie('eth_getTransactionCount', () => '0x5')
    const [observation] = await world.wallet.observe(transfers)
    t.ok(observation?.kind === 'unknown' || observation?.kind === 'missing')
    t.match(world.disagreements[0], { about: 'nonce' })
  })

  t.test(`the ${position} node tells of another balance: nothing is told`, async (t) => {
    const { nodes, wallet, disagreements } = await evmWorld(t, { nodes: 2 })
    nodes[liar]?.lie('eth_getBalance', () => '0x1')
    await t.rejects(wallet.holdings(), { code: 'nodes_disagree' })
    t.match(disagreements, [{ about: 'balance' }])
  })

  t.test(`the ${position} node is far ahead of the chain: nothing is final too early`, async (t) => {
    const world = await evmWorld(t, { nodes: 2 })
    const transfers = await signed(world.wallet, [payment(0)])
    await world.wallet.broadcast(transactionsOf(transfers))
    await world.mine(3)
    world.nodes[liar]?.lie('eth_blockNumber', () => '0x1000')
    t.match(await world.wallet.observe(transfers), [{ kind: 'mined' }])
  })
}

t.test('a single node that forges a receipt does not hide that its block is another', async (t) => {
  const world = await evmWorld(t)
  const transfers = await finalPayment(world)
  world.nodes[0].lie('eth_getTransactionReceipt', (receipt) => forged(receipt, { blockHash: zeroHash }))
  t.match(await world.wallet.observe(transfers), [{ kind: 'unknown' }])
  world.nodes[0].lie('eth_getTransactionReceipt', (receipt) => forged(receipt, { transactionHash: zeroHash }))
  t.match(await world.wallet.observe(transfers), [{ kind: 'unknown', message: /another transaction/ }])
})

t.test('a single node without its index of receipts: who used the nonce tells that nothing is lost', async (t) => {
  const world = await evmWorld(t)
  const transfers = await finalPayment(world)
  world.nodes[0].lie('eth_getTransactionReceipt', () => null)
  t.match(await world.wallet.observe(transfers), [{ kind: 'unknown' }], 'the block has our transaction')
  t.match(world.disagreements, [{ about: 'receipt' }])
})

t.test('a success without the event of the transfer is a payment that failed', async (t) => {
  const world = await evmWorld(t)
  const transfers = await finalPayment(world)
  world.nodes[0].lie('eth_getTransactionReceipt', (receipt) => forged(receipt, { logs: [] }))
  t.match(await world.wallet.observe(transfers), [{ kind: 'final', ok: false }])
})

t.test('a transfer of another amount is neither: a person must look', async (t) => {
  const world = await evmWorld(t)
  const transfers = await finalPayment(world)
  const other = transfers.map((transfer) => ({ ...transfer, amount: DOLLAR * 2n }))
  t.match(await world.wallet.observe(other), [{ kind: 'unknown', message: /a person must look/ }])
})

t.test('that a payment failed or was lost needs every node; that it was paid does not', async (t) => {
  const world = await evmWorld(t, { nodes: 2, timeoutMs: 300 })
  const [paid, failed] = [payment(0), payment(1)]
  await barOnTestToken(world.anvil.client, failed.to as Hex, true)
  const transfers = await signed(world.wallet, [paid, failed])
  await world.wallet.broadcast(transactionsOf(transfers))
  await world.mine(10)
  world.nodes[1]?.setDown(true)
  t.match(await world.wallet.observe(transfers), [
    { kind: 'final', ok: true },
    { kind: 'unknown', message: /repair/ },
  ])
  t.match(world.endpoints.health(), [{ usable: true }, { usable: false }])
  world.nodes[1]?.mend()
  await recovered(world)
  t.match(await world.wallet.observe(transfers), [
    { kind: 'final', ok: true },
    { kind: 'final', ok: false },
  ])
  t.same(world.disagreements, [])
})

t.test('that a nonce was used by another needs every node', async (t) => {
  const world = await evmWorld(t, { nodes: 2 })
  const transfers = await signed(world.wallet, [payment(0)])
  await world.anvil.client.sendRawTransaction({ serializedTransaction: await foreignTransaction(world, 0) })
  await world.mine(10)
  world.nodes[1]?.refuse('eth_getTransactionReceipt', 'transaction indexing is in progress')
  t.match(await world.wallet.observe(transfers), [{ kind: 'unknown', message: /another transaction.*repair/ }])
  world.nodes[1]?.mend()
  world.nodes[1]?.setDown(true)
  t.match(await world.wallet.observe(transfers), [{ kind: 'unknown', message: /another transaction.*repair/ }])
  world.nodes[1]?.mend()
  await recovered(world)
  t.match(await world.wallet.observe(transfers), [{ kind: 'lost' }])
})

/** A node that failed rests for a moment. */
async function recovered(world: EvmWorld): Promise<void> {
  const deadline = performance.now() + 5_000
  while (world.endpoints.health().some(({ usable }) => !usable)) {
    if (performance.now() > deadline) throw new Error('the nodes do not recover')
    await world.wallet.heights()
  }
}

t.test('a node that hangs is passed over: the next one takes, tells and signs', async (t) => {
  const world = await evmWorld(t, { nodes: 2, timeoutMs: 300 })
  for (const method of ['eth_blockNumber', 'eth_sendRawTransaction', 'eth_feeHistory']) {
    world.nodes[0].dropAnswers(method, 'hang')
  }
  const transfers = await signed(world.wallet, [payment(0)])
  t.match(await world.wallet.broadcast(transactionsOf(transfers)), [{ kind: 'accepted' }])
  await world.mine(10)
  t.match(await world.wallet.observe(transfers), [{ kind: 'final', ok: true }])
  t.equal((await world.wallet.holdings()).asset, 999n * DOLLAR)
})

t.test('a slow node is waited for, up to its time; then the next one is asked', async (t) => {
  const world = await evmWorld(t, { nodes: 2, timeoutMs: 400 })
  const transfers = await finalPayment(world)
  world.nodes[0].delay(50)
  t.match(await world.wallet.observe(transfers), [{ kind: 'final', ok: true }])
  t.match(world.endpoints.health(), [{ usable: true, lastError: null }, { usable: true }])
  world.nodes[0].delay(1_000)
  t.match(await world.wallet.observe(transfers), [{ kind: 'final', ok: true }])
  t.match(world.endpoints.health(), [{ usable: false, lastError: 'no answer in time' }, { usable: true }])
})

t.test('three hundred open transfers take a handful of requests', async (t) => {
  const world = await evmWorld(t)
  const transfers = await signed(
    world.wallet,
    Array.from({ length: 300 }, (_, nonce) => payment(nonce)),
  )
  const { requests } = world.nodes[0]
  requests.length = 0
  const sent = await world.wallet.broadcast(transactionsOf(transfers))
  t.ok(sent.every(({ kind }) => kind === 'accepted'))
  t.equal(requests.length, 3)
  await world.mine(10)
  requests.length = 0
  const observations = await world.wallet.observe(transfers)
  t.ok(observations.every((observation) => observation.kind === 'final' && observation.ok))
  t.equal(requests.length, 6, 'the height, the round, three for receipts, the blocks')
})

t.test('a node that fails in the middle of a round: the next one is asked', async (t) => {
  const world = await evmWorld(t, { nodes: 2 })
  const transfers = await finalPayment(world)
  for (const fault of ['header not found', 'transaction indexing is in progress']) {
    world.nodes[0].refuse('eth_getTransactionReceipt', fault)
    t.match(await world.wallet.observe(transfers), [{ kind: 'final', ok: true }], fault)
    world.nodes[0].mend()
    await recovered(world)
  }
  world.nodes[0].lie('eth_getTransactionReceipt', () => 'rubbish')
  t.match(await world.wallet.observe(transfers), [{ kind: 'final', ok: true }], 'rubbish')
})

t.test('what one node refuses, another may take', async (t) => {
  const world = await evmWorld(t, { nodes: 2 })
  world.nodes[0].refuse('eth_sendRawTransaction', 'txpool is full')
  const transfers = await signed(world.wallet, [payment(0)])
  t.match(await world.wallet.broadcast(transactionsOf(transfers)), [{ kind: 'accepted' }])
  t.match(await world.wallet.observe(transfers), [{ kind: 'pending' }])
})

t.test('a transaction only the second node knows is pending, not missing', async (t) => {
  const world = await evmWorld(t, { nodes: 2 })
  const transfers = await signed(world.wallet, [payment(0)])
  await world.wallet.broadcast(transactionsOf(transfers))
  world.nodes[0].lie('eth_getTransactionByHash', () => null)
  t.match(await world.wallet.observe(transfers), [{ kind: 'pending' }])
})

t.test('a node of another chain is never believed', async (t) => {
  const world = await evmWorld(t, { nodes: 2 })
  world.nodes[0].lie('eth_chainId', () => '0x89')
  world.nodes[0].lie('eth_call', () => '0x0')
  world.nodes[0].lie('eth_sendRawTransaction', () => zeroHash)
  t.equal((await world.wallet.holdings()).asset, 1_000n * DOLLAR)
  t.match(await world.wallet.observe(await finalPayment(world)), [{ kind: 'final', ok: true }])
  t.match((await world.endpoints.checkHealth())[0], { usable: false, lastError: /is on chain 137/ })
})

t.test('health tells height, peers and time of each node, and never the whole address', async (t) => {
  const world = await evmWorld(t, { nodes: 2 })
  await world.mine(5)
  world.nodes[0].lie('net_peerCount', () => '0x1f')
  world.nodes[1]?.refuse('net_peerCount', 'method not found')
  t.match(await world.endpoints.checkHealth(), [
    { name: /^127\.0\.0\.1:\d+#1$/, usable: true, height: 7, peers: 31, syncing: false, latencyMs: Number },
    { name: /^127\.0\.0\.1:\d+#2$/, usable: true, height: 7, peers: null, syncing: false, lastError: null },
  ])
  world.nodes[1]?.setDown(true)
  t.match((await world.endpoints.checkHealth())[1], { usable: false, height: null, lastError: String })
})

t.test('the password in the address of a node is used, and shown nowhere', async (t) => {
  const world = await evmWorld(t)
  const url = world.anvil.url.replace('http://', 'http://operator:s%40cret@')
  const endpoints = new Endpoints({ urls: [url], chainId: world.anvil.chainId, timeoutMs: 2_000 })
  t.match(await endpoints.checkHealth(), [{ usable: true }])
  await world.anvil.stop()
  const [health] = await endpoints.checkHealth()
  t.match(health, { usable: false, lastError: /ECONNREFUSED/ })
  const failure = await endpoints.round().catch((error) => String(error))
  t.notMatch(JSON.stringify([health, failure]), /cret/)
})

t.test('an answer missing from a batch does not shift the others', async (t) => {
  const world = await evmWorld(t)
  const rpc = new JsonRpc({ url: world.anvil.url, timeoutMs: 2_000, batchSizeMax: 2 })
  const balance = (address: string) => ({ method: 'eth_getBalance', params: [address, 'latest'] })
  const calls = [balance(world.account.address), { method: 'nonsense', params: [] }, balance(`0x${'01'.repeat(20)}`)]
  t.match(await rpc.all(calls), [{ kind: 'result', result: '0xde0b6b3a7640000' }, { kind: 'error' }, { result: '0x0' }])

  const proxy = await faultProxy(t, world.anvil.url)
  const shortened = new JsonRpc({ url: proxy.url, timeoutMs: 2_000, batchSizeMax: 10 })
  proxy.lie('eth_chainId', () => undefined)
  t.match(await shortened.all([{ method: 'eth_chainId', params: [] }, ...calls.slice(0, 1)]), [
    { kind: 'silent' },
    { kind: 'result', result: '0xde0b6b3a7640000' },
  ])
})
