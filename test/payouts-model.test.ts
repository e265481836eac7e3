// Hunts, in any history of reports, approvals, retries and deposits: a nonce that is missing or given twice, a hold that
// nobody releases, books that differ from the chain.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import type { Report } from '../actors/payout/reports.js'
import { treasuryReconciled } from '../actors/treasury/facts.js'
import { type Loyalty, USDT } from './support/loyalty.js'
import { Bank } from './support/payout-bank.js'
import { WALLET } from './support/payout-program.js'

type Step =
  | { readonly do: 'owe'; readonly amount: bigint }
  | { readonly do: 'prepare'; readonly count: number }
  | { readonly do: Report['type']; readonly pick: number; readonly ok: boolean }
  | { readonly do: 'approve' | 'cancel' | 'retry'; readonly pick: number }
  | { readonly do: 'watch' | 'reconcile' | 'deposit' | 'announce' }

const pick = fc.nat({ max: 50 })
const reportTypes = ['refused', 'unprepared', 'signed', 'signed', 'mined', 'unmined', 'final', 'lost'] as const
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant('owe' as const), amount: fc.bigInt({ min: 1n, max: 999n }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('prepare' as const), count: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 10, arbitrary: fc.record({ do: fc.constantFrom(...reportTypes), pick, ok: fc.boolean() }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constantFrom('approve' as const, 'cancel' as const, 'retry' as const), pick }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom('watch' as const, 'reconcile' as const, 'deposit' as const, 'announce' as const),
    }),
  },
)

/** A chain in a few lines: what is final on it, by height. */
class Model {
  height = 10
  onChain = 10_000_000n * USDT
  readonly deposits: { hash: string; height: number; amount: bigint }[] = []
  readonly paid: { hash: string; height: number; amount: bigint }[] = []
  /** Nonces that were ever signed with, and for what. */
  readonly nonces = new Map<number, string>()
}

async function report(
  bank: Bank,
  model: Model,
  payoutId: string,
  step: Extract<Step, { ok: boolean }>,
): Promise<Report> {
  const before = await bank.detail(payoutId)
  const isOut = before.state === 'signed' || before.state === 'mined'
  const block = { height: model.height + 1, hash: '0xb' }
  const hash = before.signed.at(-1)?.hash ?? '0x'
  switch (step.do) {
    case 'refused':
      return { type: 'refused', payoutId, because: 'test' }
    case 'lost':
      return { type: 'lost', payoutId, because: 'test' }
    case 'mined':
      return { type: 'mined', payoutId, hash, block }
    case 'final':
      if (isOut) model.height += 1
      if (isOut && step.ok) {
        model.onChain -= before.amount
        model.paid.push({ hash, height: model.height, amount: before.amount })
      }
      return { type: 'final', payoutId, hash, block, ok: step.ok, fee: 1n }
    case 'signed':
      return bank.signed(payoutId, `0x${payoutId}/${before.attempt}/${before.signed.length}`)
    default:
      return { type: step.do, payoutId }
  }
}

t.test(
  'S1, S2, S3 after any history: nonces gapless and given once, held and paid to the unit, books balanced',
  async (t) => {
    let steps = 0
    const over = { perMinuteMax: 1_000, inFlightMax: 5 }
    await fc.assert(
      fc.asyncProperty(fc.array(anyStep, { minLength: 20, maxLength: 80, size: 'max' }), async (history) => {
        const bank = await Bank.open(over)
        const model = new Model()
        const admin = await bank.world.openMember({ isAdmin: true })
        const ids: string[] = []
        for (const step of history) {
          await perform(bank, model, ids, step, admin)
          await mustHold(bank, model, ids)
          steps += 1
        }
      }),
      { numRuns: 60 },
    )
    t.pass(`${steps} steps`)
    t.comment(`${steps} steps`)
  },
)

type Admin = Awaited<ReturnType<Loyalty['openMember']>>

async function perform(bank: Bank, model: Model, ids: string[], step: Step, admin: Admin): Promise<void> {
  const { world, commands } = bank
  const id = 'pick' in step ? ids[step.pick % Math.max(1, ids.length)] : undefined
  if (step.do === 'owe') ids.push(await bank.owe(step.amount))
  else if (step.do === 'prepare') {
    const { shard, queries } = world
    const payoutIds = await shard.query(queries.openPayouts, { wallet: WALLET, state: 'queued', max: step.count })
    await bank.prepare(...payoutIds)
  } else if (step.do === 'deposit') {
    model.height += 1
    model.onChain += 7n
    model.deposits.push({ hash: `0xd${model.height}`, height: model.height, amount: 7n })
  } else if (step.do === 'announce') await world.fund(1n, `by hand ${model.height} ${bank.world.records.length}`)
  else if (step.do === 'watch' || step.do === 'reconcile') await oversee(bank, model, step.do === 'reconcile')
  else if (id === undefined) return
  else if ('ok' in step) {
    // The core refuses what was signed for another; everything else it takes or leaves.
    await world.attempt(commands.tell, { reports: [await report(bank, model, id, step)] })
    const { nonce, signed, attempt } = await bank.detail(id)
    if (nonce !== null && signed.length > 0) {
      const owner = `${id}#${attempt}`
      assert.equal(model.nonces.get(nonce) ?? owner, owner, `nonce ${nonce} was signed for another`)
      model.nonces.set(nonce, owner)
    }
  } else {
    const { payee, intent } = await bank.detail(id)
    if (step.do === 'approve') await world.attempt(commands.approve, { payoutId: id, payee, intent }, admin)
    if (step.do === 'cancel') await world.attempt(commands.cancel, { payoutId: id, because: 'test' }, admin)
    if (step.do === 'retry') await world.attempt(commands.retry, { payoutId: id, payee }, admin)
  }
}

/** Looks at all blocks of the model, as the oversight does; with `compares`, holds the books against it. */
async function oversee(bank: Bank, model: Model, compares: boolean): Promise<void> {
  const { world, commands } = bank
  const watched = await world.shard.query(world.queries.watchedThrough, { wallet: WALLET })
  const within = ({ height }: { height: number }) => height > watched && height <= model.height
  const seen = (movement: { hash: string; height: number; amount: bigint }) => ({ ...movement, counterparty: '0xc' })
  const blocks = { pool: WALLET, from: watched + 1, through: model.height } as const
  const deposits = model.deposits.filter(within).map(seen)
  const withdrawals = model.paid.filter(within).map(seen)
  if (model.height > watched) {
    await world.run(commands.watch, { ...blocks, deposits, withdrawals })
    await world.run(commands.watch, { ...blocks, deposits, withdrawals })
  }
  if (!compares) return
  const { onChain, height } = model
  await world.run(commands.reconcile, { pool: WALLET, height, onChain, cause: 'continuous' })
  assert.equal(world.facts(treasuryReconciled).at(-1)?.difference, 0n)
}

/** The invariants, after every step. */
async function mustHold(bank: Bank, model: Model, ids: readonly string[]): Promise<void> {
  const all = await Promise.all(ids.map((id) => bank.detail(id)))
  const stand = await bank.stand()
  const sum = (...states: readonly string[]) =>
    all.reduce((total, { state, amount }) => (states.includes(state) ? total + amount : total), 0n)
  assert.equal(stand.paid, sum('settled'))
  assert.equal(stand.held, sum('waiting', 'review', 'queued', 'prepared', 'signed', 'mined'))
  assert.equal(stand.available + stand.held + stand.paid, -(await bank.world.balance('funding')))
  const prepared = all.flatMap(({ state, nonce }) => (state === 'prepared' && nonce !== null ? [nonce] : []))
  const given = [...model.nonces.keys(), ...prepared, ...stand.freeNonces].sort((a, b) => a - b)
  assert.deepEqual(
    given,
    Array.from({ length: stand.nextNonce ?? 0 }, (_, nonce) => nonce),
    'every nonce is signed with, about to be, or free: once',
  )
}
