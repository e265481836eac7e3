// Hunts, without any chain, in payouts that are paid together: a limit that a distribution passes, a payout that goes two
// ways, a nonce given twice or never, a hold nobody releases, books that differ from the chain.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import type { DistributionReport, PreparedDistribution } from '../actors/payout/distributions.js'
import { payoutSettled } from '../actors/payout/facts.js'
import { foreignTransferSeen, treasuryReconciled } from '../actors/treasury/facts.js'
import { readSettings } from '../settings.js'
import { USDT } from './support/loyalty.js'
import { Bank } from './support/payout-bank.js'
import { WALLET } from './support/payout-program.js'

type Outcome = 'paid' | 'failed' | 'duplicate'

let made = 0

async function distribute(bank: Bank, ids: readonly string[]): Promise<PreparedDistribution | null> {
  const distributionId = `d${++made}`
  const args = { wallet: WALLET as typeof WALLET, distributionId, contract: '0xc', payoutIds: [...ids] }
  return (await bank.world.run(bank.commands.distribute, args)).distribution
}

async function prepared(bank: Bank, ids: readonly string[]): Promise<PreparedDistribution> {
  return (await distribute(bank, ids)) ?? assert.fail('it is worth it')
}

function tell(bank: Bank, { distributionId, shares }: PreparedDistribution, ...reports: readonly DistributionReport[]) {
  const payoutIds = shares.map(({ payoutId }) => payoutId)
  return bank.world.run(bank.commands.reportDistribution, { distributionId, payoutIds, reports: [...reports] })
}

const terms = { kind: 'evm' as const, maxFeePerGas: 1n, maxPriorityFeePerGas: 1n, gas: 1n }
const hashOf = ({ distributionId }: PreparedDistribution, step: number, time = 1) =>
  `0x${distributionId}/${step}/${time}`

function signed(of: PreparedDistribution, step: number, time = 1): DistributionReport {
  const after = time === 1 ? null : hashOf(of, step, time - 1)
  return { type: 'signed', step, after, transaction: { hash: hashOf(of, step, time), raw: '0x', terms } }
}

const sign = (bank: Bank, of: PreparedDistribution) => tell(bank, of, signed(of, 0), signed(of, 1), signed(of, 2))

const block = (height: number) => ({ height, hash: '0xb' })
const allowed = (of: PreparedDistribution, step: number, height = 20): DistributionReport => {
  return { type: 'final', step, hash: hashOf(of, step), block: block(height), ok: true, fee: 1n, outcomes: [] }
}
function paid(of: PreparedDistribution, outcomes: Outcome[], height = 20): DistributionReport {
  const ok = !outcomes.includes('failed')
  return { type: 'final', step: 2, hash: hashOf(of, 2), block: block(height), ok, fee: 100n, outcomes }
}

t.test('S4 the limits a minute and in flight are those of any payout, and few go one by one', async (t) => {
  const bank = await Bank.open({ batchAtLeast: 3, perMinuteMax: 5, inFlightMax: 7 })
  const ids = await bank.owing(12, 1n)
  t.equal(await distribute(bank, ids.slice(0, 2)), null, 'too few')
  const first = await prepared(bank, ids)
  t.equal(first.shares.length, 5, 'as many as go in a minute')
  t.same(
    first.steps.map(({ kind, nonce }) => [kind, nonce]),
    [
      ['clear', 0],
      ['allow', 1],
      ['pay', 2],
    ],
  )
  const args = { wallet: WALLET, distributionId: 'x', contract: '0xc', payoutIds: ids } as const
  t.match(await bank.world.refusal(bank.commands.distribute, args), { code: 'distribution_under_way' })
  t.equal((await bank.prepare(...ids)).prepared.length, 0, 'the minute is used up')
  bank.world.clock.advance(62_000)
  t.same(
    (await bank.prepare(...ids)).prepared.map(({ nonce }) => nonce),
    [3, 4],
    'one by one goes on beside it, up to what may be in flight',
  )
  await sign(bank, first)
  await tell(bank, first, allowed(first, 0), allowed(first, 1), paid(first, Array(5).fill('paid')))
  t.equal((await bank.prepare(...ids)).prepared.length, 3)
  bank.world.clock.advance(62_000)
  t.equal(await distribute(bank, ids), null, 'room for two is too little')

  const admin = await bank.world.openMember({ isAdmin: true })
  await bank.world.run(bank.commands.pauseWallet, { wallet: WALLET, because: 'test' }, admin)
  t.match(await bank.world.refusal(bank.commands.distribute, args), { code: 'wallet_paused' })
})

t.test('S2 a payout in a distribution goes no other way, and what is signed for another is not taken', async (t) => {
  const bank = await Bank.open({ batchAtLeast: 2 })
  const [one = '', two = '', three = ''] = await bank.owing(3, 5n)
  const of = await prepared(bank, [one, two])
  const other = { code: 'paid_along' }
  for (const type of ['refused', 'unprepared', 'unmined', 'lost'] as const) {
    const reports = [{ type, payoutId: one, because: 'test' }] as never
    t.match(await bank.world.refusal(bank.commands.tell, { reports }), other, type)
  }
  t.match(await bank.world.refusal(bank.commands.tell, { reports: [await bank.signed(one)] }), other)
  t.match(await bank.world.refusal(bank.commands.tell, { reports: [bank.final(one, true)] }), other)
  t.equal((await bank.prepare(one, two, three)).prepared.length, 1)
  const admin = await bank.world.openMember({ isAdmin: true })
  const cancel = { payoutId: one, because: 'test' }
  t.match(await bank.world.refusal(bank.commands.cancel, cancel, admin), { code: 'payout_state' })
  await sign(bank, of)
  const payoutIds = [one, two]
  const wrong = { distributionId: of.distributionId, payoutIds, reports: [signed(of, 2, 3)] }
  t.match(await bank.world.refusal(bank.commands.reportDistribution, wrong), { code: 'signed_for_another' })
  await tell(bank, of, signed(of, 2), signed(of, 2, 2), { type: 'dropped', because: 'test', refused: null })
  t.equal(await bank.states(one, two), 'signed signed', 'what was signed is not dropped')
  await tell(bank, of, paid(of, ['paid', 'failed']))
  await tell(bank, of, paid(of, ['failed', 'paid']), { type: 'lost', step: 2, because: 'nonce_used_by_another' })
  t.equal(await bank.states(one, two), 'settled failed', 'an end is an end')
  await tell(bank, of, allowed(of, 0), allowed(of, 1))
  t.equal(await distribute(bank, [three]), null, 'one alone goes by itself')
  t.match(await bank.stand(), { paid: 5n, held: 5n, pausedBecause: null })
  const fees = bank.world.facts(payoutSettled).map(({ fee }) => fee)
  t.same(fees, [50n])
})

t.test('S3 paid before: settled, and the chain, which moved nothing now, still agrees', async (t) => {
  const bank = await Bank.open({ batchAtLeast: 2 })
  const ids = await bank.owing(3, 5n)
  const of = await prepared(bank, ids)
  await sign(bank, of)
  await tell(bank, of, allowed(of, 0), allowed(of, 1), paid(of, ['paid', 'duplicate', 'paid'], 20))
  t.equal(await bank.states(...ids), 'settled settled settled')
  const { world, commands } = bank
  const out = (hash: string, height: number, amount = 5n) => ({ hash, height, counterparty: '0xd', amount })
  const watch = { pool: WALLET as typeof WALLET, from: 11, through: 30, deposits: [] }
  const now = hashOf(of, 2)
  const withdrawals = [out('0xbefore', 15), out(now, 20), out(now, 20)]
  await world.run(commands.watch, { ...watch, withdrawals })
  t.match(world.facts(foreignTransferSeen), [{ hash: '0xbefore' }], 'the one nobody knows of')
  const onChain = 10_000_000n * USDT - 15n
  await world.run(commands.reconcile, { pool: WALLET, height: 30, onChain, cause: 'continuous' })
  t.match(world.facts(treasuryReconciled).at(-1), { difference: 0n })
})

t.test('S4 a transaction that moves more than its payouts were settled for is foreign', async (t) => {
  for (const [extra, what] of [
    [5n, 'one payout twice'],
    [4n, 'another amount'],
  ] as const) {
    const bank = await Bank.open({ batchAtLeast: 2 })
    const of = await prepared(bank, await bank.owing(2, 5n))
    await sign(bank, of)
    await tell(bank, of, allowed(of, 0), allowed(of, 1), paid(of, ['paid', 'paid'], 20))
    const out = (amount: bigint) => ({ hash: hashOf(of, 2), height: 20, counterparty: '0xd', amount })
    const withdrawals = [out(5n), out(5n), out(extra)]
    await bank.world.run(bank.commands.watch, { pool: WALLET, from: 11, through: 30, deposits: [], withdrawals })
    t.match(bank.world.facts(foreignTransferSeen), [{ amount: extra }], what)
    t.match(await bank.stand(), { pausedBecause: 'foreign_transfer' })
  }
})

t.test('a wallet that distributes is bound to no other address, and its unused nonces are known', async (t) => {
  const bank = await Bank.open({ batchAtLeast: 1 })
  const of = await prepared(bank, await bank.owing(1, 5n))
  await sign(bank, of)
  const found = { wallet: WALLET, chain: 'eip155:1', address: '0xa', nonce: 0, height: 10, onChain: 0n } as const
  await bank.world.run(bank.commands.bind, found)
  await tell(bank, of, paid(of, ['paid']))
  const elsewhere = { ...found, address: '0xe' }
  t.match(await bank.world.refusal(bank.commands.bind, elsewhere), { code: 'wallet_in_use' })
  await tell(bank, of, allowed(of, 0), allowed(of, 1))
  t.match(await bank.world.refusal(bank.commands.bind, found), { code: 'chain_behind' })
  await bank.world.run(bank.commands.bind, elsewhere)
})

type Step =
  | { readonly do: 'owe' | 'distribute' | 'prepare' | 'sign' | 'drop' | 'mine' | 'unmine' | 'allowed' | 'lose' }
  | { readonly do: 'final'; readonly outcomes: readonly Outcome[] }

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.constant<Step>({ do: 'owe' }) },
  {
    weight: 8,
    arbitrary: fc
      .constantFrom('distribute', 'prepare', 'sign', 'sign', 'drop', 'mine', 'unmine', 'allowed', 'lose')
      .map((what): Step => ({ do: what })),
  },
  {
    weight: 2,
    arbitrary: fc
      .array(fc.constantFrom<Outcome>('paid', 'failed'), { minLength: 9, maxLength: 9 })
      .map((outcomes): Step => ({ do: 'final', outcomes })),
  },
)

interface Now {
  of: PreparedDistribution | null
  /** How often it was signed. */
  times: number
}

async function perform(bank: Bank, step: Step, ids: string[], now: Now): Promise<void> {
  const states = (await bank.states(...ids)).split(' ')
  const queued = states.flatMap((state, i) => (state === 'queued' ? (ids[i] ?? '') : []))
  if (step.do === 'owe') ids.push(await bank.owe(BigInt(ids.length + 1)))
  else if (step.do === 'prepare') await bank.prepare(...queued.slice(0, 1))
  else if (step.do === 'distribute') {
    const underWay = await bank.world.shard.query(bank.world.queries.distributionUnderWay, { wallet: WALLET })
    if (underWay === null && queued.length > 0)
      Object.assign(now, { of: await distribute(bank, queued.slice(0, 9)), times: 0 })
  } else if (now.of !== null) await follow(bank, step, now.of, now)
}

async function follow(bank: Bank, step: Step, of: PreparedDistribution, now: Now): Promise<void> {
  if (step.do === 'sign') {
    now.times += 1
    const { times } = now
    // The core takes none for what is over.
    await tell(bank, of, signed(of, 0, times), signed(of, 1, times), signed(of, 2, times)).catch(() => null)
  }
  const refused = of.shares[0]?.payoutId ?? null
  if (step.do === 'drop') await tell(bank, of, { type: 'dropped', because: 'test', refused })
  if (step.do === 'mine') await tell(bank, of, { type: 'mined', step: 2, hash: hashOf(of, 2), block: block(15) })
  if (step.do === 'unmine') await tell(bank, of, { type: 'unmined', step: 2 })
  if (step.do === 'allowed') await tell(bank, of, allowed(of, 0), allowed(of, 1))
  if (step.do === 'lose') await tell(bank, of, { type: 'lost', step: 2, because: 'test' })
  if (step.do === 'final') await tell(bank, of, paid(of, step.outcomes.slice(0, of.shares.length)))
}

t.test('S1, S2, S3 after any history nonces are given once and gapless, and every hold has its end', async (t) => {
  const distributions = new Set<string>()
  await fc.assert(
    fc.asyncProperty(fc.array(anyStep, { minLength: 20, maxLength: 60, size: 'max' }), async (history) => {
      const bank = await Bank.open({ batchAtLeast: 2, perMinuteMax: 1_000 })
      const ids: string[] = []
      const now: Now = { of: null, times: 0 }
      const used = new Set<number>()
      for (const step of history) {
        await perform(bank, step, ids, now)
        if (now.of !== null) distributions.add(now.of.distributionId)
        await mustHold(bank, ids, now.of, used)
      }
    }),
    { numRuns: 40 },
  )
  t.ok(distributions.size > 20, `${distributions.size} distributions`)
})

/** The invariants, after every step. `used` gathers nonces that were signed with. */
async function mustHold(bank: Bank, ids: readonly string[], last: PreparedDistribution | null, used: Set<number>) {
  const all = await Promise.all(ids.map((id) => bank.detail(id)))
  const stand = await bank.stand()
  const sum = (...states: readonly string[]) =>
    all.reduce((total, { state, amount }) => (states.includes(state) ? total + amount : total), 0n)
  assert.equal(stand.paid, sum('settled'))
  assert.equal(stand.held, sum('review', 'queued', 'prepared', 'signed', 'mined'))
  assert.equal(stand.open.in_flight.amount, sum('prepared', 'signed', 'mined'))
  const { shard, queries } = bank.world
  const given = new Set(stand.freeNonces)
  if (last !== null) {
    const { steps, state, shares } = await shard.query(queries.distributionDetail, {
      distributionId: last.distributionId,
    })
    if (state === 'prepared') for (const { nonce } of steps) given.add(nonce)
    for (const { nonce, signed: signatures } of steps) if (signatures.length > 0) used.add(nonce)
    if (state !== 'over') {
      const own = all.filter(({ distribution }) => distribution === last.distributionId)
      assert.ok(own.every(({ nonce }) => nonce === steps.at(-1)?.nonce))
      assert.ok(own.length <= shares.length)
    }
  }
  for (const { nonce, distribution } of all) if (nonce !== null && distribution == null) given.add(nonce)
  for (const nonce of used) assert.ok(!stand.freeNonces.includes(nonce), `nonce ${nonce} was signed with, and is free`)
  const everyone = [...given, ...used].sort((a, b) => a - b)
  assert.deepEqual(
    everyone,
    Array.from({ length: stand.nextNonce ?? 0 }, (_, nonce) => nonce),
    'each once',
  )
}

t.test('CHAIN_BATCH_CONTRACTS names one contract for each pool, or says that the local chain deploys them', (t) => {
  const evm = { PAYOUTS: 'evm', CHAIN_RPC_URLS: 'http://n', CHAIN_ID: '137', CHAIN_TOKEN: 't', SIGNER_POLICY: 'p' }
  const contract = '0x5FbDB2315678afecb367f032d93F642f64180aa3'
  const read = (CHAIN_BATCH_CONTRACTS: string, over: Record<string, string> = evm) =>
    readSettings({ ...over, CHAIN_BATCH_CONTRACTS }).CHAIN_BATCH_CONTRACTS
  t.equal(read(''), undefined)
  t.equal(read('deploy', {}), 'deploy')
  const two = read(`member=${contract.toLowerCase()}, wholesale=${contract}`)
  t.same(two instanceof Map && [...two], [
    ['member', contract],
    ['wholesale', contract],
  ])
  const twice = `member=${contract},member=${contract}`
  for (const wrong of ['member', `nobody=${contract}`, 'member=0x12', twice, contract, `member=${contract}=1`]) {
    t.throws(() => read(wrong), /must be deploy, or pools with their contracts/, wrong)
  }
  t.throws(() => read('deploy'), /deploy is for local chains/)
  t.throws(() => read('deploy', { PAYOUTS: 'local-solana' }), /only EVM chains have them/)
  t.end()
})
