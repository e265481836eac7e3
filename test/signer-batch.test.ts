// Hunts: a batch contract that is allowed or made to pay more, to others, or twice, although each payment by itself would
// be refused; a payout that is signed once by itself and once in a batch.
import { readFile } from 'node:fs/promises'
import t from 'tap'
import { type Address, encodeFunctionData, erc20Abi, type Hex, serializeTransaction } from 'viem'
import { batchIdOf, batchPayoutAbi } from '../chain/evm/contracts.js'
import { parsePolicy, type SignerPolicy } from '../chain/signer/policy.js'
import type { SigningRequest } from '../chain/signer/signer.js'
import { alice, bob, NOON, policy, policyJson, SignerBench, token } from './support/signer.js'

const contract: Address = '0x5FbDB2315678afecb367f032d93F642f64180aa3'
const other: Address = '0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512'
const terms = { gas: 80_000n, maxFeePerGas: 60_000_000_000n, maxPriorityFeePerGas: 30_000_000_000n }

const batchPolicy: SignerPolicy = new Map(
  [...policy].map(([name, rules]) => [
    name,
    name === 'member' && rules.kind === 'evm' ? { ...rules, batchContract: contract } : rules,
  ]),
)

interface Payment {
  readonly id: string
  readonly to?: Address
  readonly amount?: bigint
}

const bytes = (nonce: number, to: Address, data: Hex, more = {}) =>
  serializeTransaction({ type: 'eip1559', chainId: 137, nonce, to, data, ...terms, ...more })

function allow(payoutId: string, nonce: number, amount: bigint, spender = contract, to = token): SigningRequest {
  const data = encodeFunctionData({ abi: erc20Abi, functionName: 'approve', args: [spender, amount] })
  return { wallet: 'member', payoutId, to: contract, amount, unsigned: bytes(nonce, to, data) }
}

function pay(payoutId: string, nonce: number, payments: readonly Payment[], more = {}, to = contract): SigningRequest {
  const args = payments.map(({ id, to: payee = alice, amount = 100n }) => ({ id: batchIdOf(id), to: payee, amount }))
  const data = encodeFunctionData({ abi: batchPayoutAbi, functionName: 'pay', args: [args] })
  const amount = args.reduce((sum, each) => sum + each.amount, 0n)
  const payouts = payments.map(({ id }) => id)
  return { wallet: 'member', payoutId, to: contract, amount, payouts, unsigned: bytes(nonce, to, data, more) }
}

const two: readonly Payment[] = [{ id: 'p' }, { id: 'q', to: bob }]
const dearer = { maxFeePerGas: 67_500_000_000n, maxPriorityFeePerGas: 33_750_000_000n }

async function opened(t: Parameters<typeof SignerBench.create>[0]) {
  const bench = await SignerBench.create(t)
  return { bench, signer: await bench.open({ policy: batchPolicy }) }
}

t.test('an allowance and the payments it is for are signed, again and dearer, and counted once', async (t) => {
  const { bench, signer } = await opened(t)
  const requests = [allow('b.clear', 0, 0n), allow('b.allow', 1, 200n), pay('b.pay', 2, two)]
  const signed = await signer.sign(requests)
  t.equal(signed.length, 3)
  const { logBytes, payouts } = signer.status()
  t.equal(payouts, 5, 'three transactions and the two payouts')
  t.strictSame(await signer.sign(requests), signed, 'asked again: the same')
  t.equal(signer.status().logBytes, logBytes)
  t.equal((await signer.sign([pay('b.pay', 2, two, dearer)])).length, 1, 'replaced at its nonce')
  t.equal((await signer.sign([allow('b.allow', 1, 200n)])).length, 1, 'what was allowed before may be replaced alone')
  await signer.close()
  const restarted = await bench.open({ policy: batchPolicy })
  t.strictSame(await restarted.sign(requests), signed, 'also after a restart')
  await restarted.sign([
    pay('c', 3, [
      { id: 'r', amount: 9_900n },
      { id: 's', amount: 5_000n },
    ]),
  ])
  const last = pay('d', 4, [{ id: 'u', amount: 1n }])
  await t.rejects(restarted.sign([last]), { code: 'limit_destination_day' }, 'each payout counted once: 100+9900+5000')
})

t.test('what a batch contract is allowed is paid through it along with that, and no more', async (t) => {
  const { signer } = await opened(t)
  const tooHigh = { code: 'allowance_too_high', payoutId: 'a' }
  await t.rejects(signer.sign([allow('a', 0, 1n)]), tooHigh, 'alone')
  await t.rejects(signer.sign([allow('a', 0, 201n), pay('b', 1, two)]), tooHigh, 'one cent more')
  await t.rejects(signer.sign([allow('a', 0, 2n ** 256n - 1n), pay('b', 1, two)]), tooHigh, 'without end')
  t.equal(signer.status().payouts, 0, 'S8')
  await signer.sign([pay('b', 1, two)])
  await t.rejects(signer.sign([allow('a', 0, 200n), pay('b', 1, two)]), tooHigh, 'for what was signed before')
  t.equal((await signer.sign([allow('clear', 0, 0n)])).length, 1, 'nothing may be allowed at any time')
  t.equal((await signer.sign([allow('a', 3, 100n), pay('c', 4, [{ id: 'r' }])])).length, 2)
  await t.rejects(signer.sign([allow('a', 3, 99n), pay('e', 5, [{ id: 's' }])]), { code: 'intent_changed' })
})

t.test('other contracts and other calls are refused, each for its reason, and leave no trace', async (t) => {
  const { signer } = await opened(t)
  const plain = pay('b', 0, two)
  const transfer = encodeFunctionData({ abi: erc20Abi, functionName: 'transfer', args: [bob, 200n] })
  const cases: [string, string, SigningRequest][] = [
    ['allows somebody else', 'batch_wrong', allow('b', 0, 0n, other)],
    ['allows on another token', 'batch_wrong', allow('b', 0, 0n, contract, other)],
    ['pays through another contract', 'batch_wrong', pay('b', 0, two, {}, other)],
    ['asked for another contract', 'no_plain_transfer', { ...allow('b', 0, 0n), to: other, amount: 1n }],
    ['a transfer that says it is a batch', 'batch_wrong', { ...plain, unsigned: bytes(0, token, transfer) }],
    ['coin along', 'batch_wrong', pay('b', 0, two, { value: 1n })],
    ['another sum', 'amount_wrong', { ...plain, amount: 199n }],
    ['another sum allowed', 'amount_wrong', { ...allow('b', 0, 0n), amount: 1n }],
    ['a payout not named', 'batch_wrong', { ...plain, payouts: ['p'] }],
    [
      'none named',
      'batch_wrong',
      { wallet: 'member', payoutId: 'b', to: contract, amount: 200n, unsigned: plain.unsigned },
    ],
    ['another payout named', 'batch_wrong', { ...plain, payouts: ['p', 'r'] }],
    ['in another order', 'batch_wrong', { ...plain, payouts: ['q', 'p'] }],
    ['one payout twice', 'batch_wrong', pay('b', 0, [{ id: 'p' }, { id: 'p' }])],
    ['nobody', 'batch_wrong', pay('b', 0, [])],
    ['the token as payee', 'payee_wrong', pay('b', 0, [{ id: 'p' }, { id: 'q', to: token }])],
    ['the contract as payee', 'payee_wrong', pay('b', 0, [{ id: 'p', to: contract }])],
    ['no amount', 'amount_wrong', pay('b', 0, [{ id: 'p', amount: 0n }, { id: 'q' }])],
    ['bytes after the call', 'batch_wrong', { ...plain, unsigned: bytes(0, contract, `${dataOf(plain)}00`) }],
    ['much gas', 'fee_too_high', pay('b', 0, two, { gas: 30_000_000n })],
    ['another chain', 'chain_wrong', pay('b', 0, two, { chainId: 1 })],
    ['a payout with a bad id', 'payout_id_wrong', pay('b', 0, [{ id: 'p q' }])],
    ['a transfer to the contract', 'payee_wrong', { ...plain, to: token }],
  ]
  for (const [name, code, request] of cases) {
    await t.rejects(signer.sign([request]), { name: 'SignerRefused', code }, name)
  }
  t.match(signer.status(), { payouts: 0, signed: 0 })
})

t.test('without a batch contract in its policy a wallet signs no allowance and no batch', async (t) => {
  const bench = await SignerBench.create(t)
  const signer = await bench.open()
  await t.rejects(signer.sign([{ ...allow('a', 0, 0n), amount: 1n }]), { code: 'no_plain_transfer' })
  await t.rejects(signer.sign([pay('b', 0, two)]), { code: 'asset_wrong' })
  const json = (batch_contract: unknown, asset: unknown = { token }) => ({
    wallets: { member: { ...policyJson.wallets.member, key: 'keystore:member', asset, batch_contract } },
  })
  t.match(parsePolicy(json(null), 'x').get('member'), { batchContract: null })
  t.match(parsePolicy(json(contract), 'x').get('member'), { batchContract: contract })
  t.throws(() => parsePolicy(json('0x12'), 'x'), /batch_contract: must be a checksummed address/)
  t.throws(() => parsePolicy(json(contract, 'native'), 'x'), /batch_contract: pays in tokens only/)
})

t.test('every payment is held against every limit, and the one that passes it is named', async (t) => {
  const { signer, bench } = await opened(t)
  const payee = (index: number): Address => `0x${(index + 1).toString(16).padStart(40, '1')}`
  const asked = (id: string, nonce: number, amounts: readonly bigint[], same = false) =>
    signer.sign([
      pay(
        id,
        nonce,
        amounts.map((amount, i) => ({ id: `${id}-${i}`, to: same ? alice : payee(nonce * 10 + i), amount })),
      ),
    ])
  await t.rejects(asked('a', 0, [1n, 10_001n]), { code: 'limit_payout', payoutId: 'a-1' })
  await t.rejects(asked('a', 0, [9_000n, 6_000n, 1n], true), { code: 'limit_destination_day', payoutId: 'a-2' })
  await t.rejects(asked('a', 0, [9_000n, 9_000n, 9_000n, 3_001n]), { code: 'limit_hour', payoutId: 'a-3' })
  t.equal(signer.status().payouts, 0, 'S8: nothing of a refused batch counts')
  await asked('a', 0, [9_000n, 9_000n, 9_000n, 3_000n])
  bench.clock += 3_600_000
  await t.rejects(asked('b', 1, [10_000n, 10_000n, 1n]), { code: 'limit_day', payoutId: 'b-2' })
  await asked('b', 1, [10_000n, 10_000n])
  bench.clock = NOON + 24 * 3_600_000
  await t.rejects(signer.sign([bench.evm('b-0', 1, { to: payee(10), amount: 10_000n })]), { code: 'nonce_taken' })
})

t.test('S2, S4 a payout is signed by itself or in a batch, never both, nor in two batches', async (t) => {
  const { bench, signer } = await opened(t)
  await signer.sign([bench.evm('p', 0)])
  await t.rejects(signer.sign([pay('b', 1, two)]), { code: 'nonce_changed', payoutId: 'p' }, 'at another nonce')
  await t.rejects(signer.sign([pay('b', 0, two)]), { code: 'nonce_taken', payoutId: 'b' }, 'nor at its own')
  await signer.sign([pay('c', 1, [{ id: 'q', to: bob }, { id: 'r' }])])
  await t.rejects(signer.sign([bench.evm('q', 2, { to: bob })]), { code: 'nonce_changed', payoutId: 'q' })
  await t.rejects(signer.sign([bench.evm('q', 1, { to: bob })]), { code: 'nonce_taken', payoutId: 'q' })
  await t.rejects(signer.sign([pay('d', 2, [{ id: 'q', to: bob }])]), { code: 'nonce_changed', payoutId: 'q' })
  await t.rejects(signer.sign([pay('d', 1, [{ id: 'q', to: bob }])]), { code: 'nonce_taken' })
  const changed = { code: 'intent_changed', payoutId: 'c' }
  await t.rejects(signer.sign([pay('c', 1, [{ id: 'r' }, { id: 'q', to: bob }], dearer)]), changed, 'another order')
  await t.rejects(signer.sign([pay('c', 1, [{ id: 'q', to: bob }, { id: 'z' }], dearer)]), changed, 'another payout')
  await t.rejects(signer.sign([pay('c', 5, [{ id: 'q', to: bob }, { id: 'r' }])]), { code: 'nonce_changed' })
  await t.rejects(signer.sign([pay('e', 7, [{ id: 'q', to: alice }])]), { code: 'intent_changed', payoutId: 'q' })
  await t.rejects(signer.sign([bench.evm('c', 1)]), { code: 'intent_changed' }, 'the id of a batch is no payout')
  await t.rejects(signer.sign([pay('p', 9, [{ id: 's' }])]), { code: 'intent_changed' }, 'nor the other way round')
  await t.rejects(signer.sign([pay('f', 9, [{ id: 'f' }])]), { code: 'intent_changed' })
  await signer.close()
  const restarted = await bench.open({ policy: batchPolicy })
  await t.rejects(restarted.sign([bench.evm('q', 2, { to: bob })]), { code: 'nonce_changed' }, 'nor after a restart')
  await t.rejects(restarted.sign([bench.evm('z', 1)]), { code: 'nonce_taken', message: /payout c/ })
  t.equal((await restarted.sign([bench.evm('z', 2)])).length, 1, 'S8: no refused batch took a nonce')
})

t.test('a key that fails leaves a batch as it was: asked again, it is signed and counted once', async (t) => {
  const bench = await SignerBench.create(t)
  let isBroken = true
  const keys = {
    async key(name: string) {
      const key = await bench.keys.key(name)
      const fail = () => Promise.reject(new Error('the KMS is away'))
      return key.kind === 'evm'
        ? { ...key, signDigest: (d: Uint8Array) => (isBroken ? fail() : key.signDigest(d)) }
        : key
    },
  }
  const signer = await bench.open({ keys, policy: batchPolicy })
  const requests = [
    allow('a', 0, 15_000n),
    pay('b', 1, [
      { id: 'p', amount: 9_000n },
      { id: 'q', amount: 6_000n },
    ]),
  ]
  for (let times = 0; times < 5; times++) await t.rejects(signer.sign(requests), { code: 'key_failed' })
  await signer.close()
  isBroken = false
  const restarted = await bench.open({ keys, policy: batchPolicy })
  t.equal((await restarted.sign(requests)).length, 2)
  await t.rejects(restarted.sign([bench.evm('r', 2, { amount: 1n })]), { code: 'limit_destination_day' })
  t.match(await readFile(bench.logFile, 'utf8'), /"batch":"b"/)
})

t.test('the payments within count towards what is asked for at once', async (t) => {
  const { signer } = await opened(t)
  const many = (count: number) =>
    Array.from({ length: count }, (_, i) => ({ id: `p${i}`, to: contractless(i), amount: 1n }))
  await t.rejects(signer.sign([pay('b', 0, many(256))]), { code: 'batch_too_large' })
  const gas = { gas: 160_000n }
  t.equal((await signer.sign([allow('a', 0, 145n), pay('b', 1, many(145), gas)])).length, 2)
})

const contractless = (index: number): Address => `0x${(index + 1).toString(16).padStart(40, '2')}`
const dataOf = ({ unsigned }: SigningRequest): Hex => {
  const at = unsigned.lastIndexOf(
    encodeFunctionData({ abi: batchPayoutAbi, functionName: 'pay', args: [[]] }).slice(2, 10),
  )
  return `0x${unsigned.slice(at, -2)}`
}
