// Hazards that are the same on every chain, on whatever chain they are given.
import type { Test as TapTest } from 'tap'
import { foreignTransferSeen, treasuryFunded, treasuryReconciled } from '../../actors/treasury/facts.js'
import { type ChainWallet, SignerRefused } from '../../chain/chain.js'
import { USDT } from './loyalty.js'
import { audit } from './payout-audit.js'
import { Deaths, drawing } from './payout-deaths.js'
import { WALLET } from './payout-program.js'
import { type ChainBench, PayoutWorld, type PayoutWorldOptions } from './payouts.js'

const PAYOUTS_A_LIFE = 12
export const FUNDS = 20_000n * USDT

/** What every chain can be made to do. */
export interface ChainFaults {
  /** The chain has it, and we never hear: so many times. */
  loseAnswersToSending(times: number): void
  setDown(isDown: boolean): void
  /** Somebody who has the key pays out of the wallet. */
  steal(from: string, to: string, amount: bigint): Promise<void>
}

type Tap = InstanceType<typeof TapTest>

export async function open(t: Tap, bench: ChainBench, options: PayoutWorldOptions = {}): Promise<PayoutWorld> {
  const world = await PayoutWorld.open(t, bench, options)
  if (options.funds === 0n) return world
  await world.settle()
  return world
}

/** Everything is over and adds up; `unpaid` payouts are held for a person, or failed. */
export async function mustAddUp(t: Tap, world: PayoutWorld, unpaid = 0, funds = FUNDS): Promise<void> {
  const { problems, ...result } = await audit(world, funds)
  t.same(problems, [], 'S3 paid exactly once or not at all, difference zero')
  t.equal(result.unpaid, unpaid)
}

export function crashHazards(t: Tap, bench: ChainBench, times: number): void {
  t.test(`S1, S2, S3 the process dies between every pair of steps, ${times} times at each`, async (t) => {
    const deaths = new Deaths(times, drawing(20_261_121))
    let paid = 0
    for (let life = 0; life < 150 && (life === 0 || !deaths.isDone()); life++) {
      const world = await open(t, bench, { payouts: { perMinuteMax: 1_000 }, signaturesMax: 1_000 })
      world.plan = deaths.plan
      for (let payout = 1; payout <= PAYOUTS_A_LIFE; payout++) {
        world.plan = () => null
        await world.owe(BigInt(payout * 7 + life))
        world.plan = deaths.plan
        await world.round()
        await world.pass()
      }
      await world.settle()
      world.plan = () => null
      const { problems, settled } = await audit(world, FUNDS)
      if (problems.length > 0) t.same(problems, [], `life ${life}`)
      paid += settled
      if (settled !== PAYOUTS_A_LIFE) t.equal(settled, PAYOUTS_A_LIFE, `all of life ${life} are paid`)
    }
    t.ok(deaths.isDone(), `each step ${times} times: ${deaths}`)
    t.comment(`${deaths.total} crashes at ${deaths.counts.size} points, ${paid} payouts, each paid once`)
  })

  t.test('S3 the ledger and the chain are the same between any two steps, while payouts are under way', async (t) => {
    const world = await open(t, bench)
    const seen: string[] = []
    world.between = async (step) => {
      if (!step.startsWith('core') && !step.startsWith('chain')) return
      const { between } = world
      world.between = async () => {}
      seen.push((await world.oversight.reconcile('continuous')).status)
      world.between = between
    }
    for (let payout = 0; payout < 5; payout++) {
      await world.owe(1_000n + BigInt(payout))
      await world.round()
      if (payout === 2) await bench.give(world.chain.address, 77n)
      await world.pass()
    }
    await world.settle()
    world.between = async () => {}
    t.same([...new Set(seen)], ['balanced'], `${seen.length} times`)
    t.ok(world.facts(treasuryReconciled).some(({ inFlight }) => inFlight > 0n))
    await mustAddUp(t, world, 0, FUNDS + 77n)
  })
}

export function signerHazards(t: Tap, bench: ChainBench, faults: ChainFaults): void {
  t.test('S2 no answer after a node took it: sent again as it is', async (t) => {
    const world = await open(t, bench)
    faults.loseAnswersToSending(2)
    const payouts = [await world.owe(3n), await world.owe(5n)]
    await world.settle()
    t.equal(await world.states(...payouts), 'settled settled')
    await mustAddUp(t, world)
  })

  t.test('every node is away for a while, at each stage', async (t) => {
    const world = await open(t, bench)
    for (const rounds of [0, 1, 2, 3]) {
      const payout = await world.owe(BigInt(100 + rounds))
      for (let round = 0; round < rounds; round++) {
        await world.round()
        await world.pass()
      }
      faults.setDown(true)
      await world.round()
      await world.round()
      faults.setDown(false)
      await world.settle()
      t.equal(await world.states(payout), 'settled')
    }
    await mustAddUp(t, world)
  })

  t.test('the signer is away for a while: what is out is followed to its end, and the rest waits', async (t) => {
    const world = await open(t, bench)
    const out = await world.owe(3n)
    await world.round()
    await world.stopSigner()
    const waits = await world.owe(5n)
    for (let round = 0; round < 6; round++) {
      await world.pass()
      await world.round()
    }
    t.equal(await world.states(out, waits), 'settled prepared')
    await world.startSigner()
    await world.settle()
    t.equal(await world.states(out, waits), 'settled settled')
    await mustAddUp(t, world)
  })

  t.test('S2 the signer refuses one of a batch: its nonce is used again, and nothing is stuck', async (t) => {
    const world = await open(t, bench, { signerPayoutMax: 1_000n * USDT })
    const payouts = []
    for (const amount of [1n, 2n, 1_001n, 4n, 5n]) payouts.push(await world.owe(amount * USDT))
    await world.settle()
    t.equal(await world.states(...payouts), 'settled settled review settled settled')
    await mustAddUp(t, world, 1)
    await world.stopSigner()
    await world.startSigner({ payoutMax: 2_000n * USDT })
    await world.approve(payouts[2]?.payoutId ?? '')
    await world.settle()
    t.equal(await world.states(...payouts), 'settled settled settled settled settled')
    await mustAddUp(t, world)
  })

  t.test('S2 the signer refuses one, and signed another of the batch before: that one keeps its nonce', async (t) => {
    let refusals = 1
    const disguise = (chain: ChainWallet) =>
      instead(chain, 'sign', async (transfers) => {
        if (transfers.length < 3 || refusals-- <= 0) return chain.sign(transfers)
        const [, refused, third] = transfers.map(({ payoutId }) => payoutId)
        if (transfers[2] !== undefined) await chain.sign([transfers[2]])
        throw new SignerRefused('limit_day', 'no', refused ?? null, [third ?? ''])
      })
    const world = await open(t, bench, { disguise })
    const payouts = [await world.owe(1n), await world.owe(2n), await world.owe(3n), await world.owe(4n)]
    await world.round()
    t.equal(await world.states(...payouts), 'prepared review prepared queued')
    await world.settle()
    t.equal(await world.states(...payouts), 'settled review settled settled')
    await mustAddUp(t, world, 1)
  })

  t.test('S4 a second signer on one folder, and a second pipeline on one wallet, are refused', async (t) => {
    const world = await open(t, bench)
    await t.rejects(world.openSigner(), { code: 'log_locked' })
    const payout = await world.owe(3n)
    const { loyalty } = world
    await loyalty.run(loyalty.commands.prepare, { wallet: WALLET, payoutIds: [payout.payoutId] })
    // Both see it prepared; the other is faster.
    const sent: string[] = []
    const slow = world.secondPipeline((core) =>
      instead(core, 'report', async (reports) => {
        if (reports[0]?.type === 'signed') {
          loyalty.clock.advance(1)
          await world.round()
        }
        await core.report(reports)
        for (const report of reports) if (report.type === 'signed') sent.push(report.payoutId)
      }),
    )
    await slow
      .round()
      .catch((error: Error & { code?: string }) => t.match(error.code, /signed_for_another|signer_waits/))
    await world.settle()
    t.ok((await world.detail(payout.payoutId)).signed.length === 1 || sent.length === 0, 'what it signed is not sent')
    await mustAddUp(t, world)
  })

  t.test('S4 two processes on two disks and one key: the second sees what it did not send, and pauses', async (t) => {
    const world = await open(t, bench)
    await faults.steal(world.chain.address, bench.newPayee(), 11n)
    for (let blocks = 0; blocks < 4; blocks++) await bench.advance()
    t.equal((await world.oversight.reconcile('continuous')).status, 'discrepancy')
    t.match(await world.stand(), { pausedBecause: 'foreign_transfer' })
    t.match(world.facts(foreignTransferSeen), [{ amount: 11n }])
    const payout = await world.owe(3n)
    await world.round()
    t.equal(await world.states(payout), 'queued')
  })

  t.test('no coins for fees: payouts wait and go on', async (t) => {
    const world = await open(t, bench, { withoutGas: true })
    const payouts = [await world.owe(3n), await world.owe(5n)]
    for (let round = 0; round < 5; round++) {
      await world.round()
      await world.pass()
    }
    t.notMatch(await world.states(...payouts), /settled|mined|failed/)
    await bench.giveGas(world.chain.address)
    await world.settle()
    t.equal(await world.states(...payouts), 'settled settled')
    await mustAddUp(t, world)
  })

  t.test('no money: payouts wait, in their order, and go on', async (t) => {
    const world = await open(t, bench, { funds: 0n })
    await world.loyalty.fund(100n, 'by hand')
    await world.round()
    const payouts = [await world.owe(30n * USDT), await world.owe(5n * USDT)]
    for (let round = 0; round < 3; round++) await world.round()
    t.equal(await world.states(...payouts), 'queued queued')
    await bench.give(world.chain.address, 100n * USDT)
    await world.settle()
    t.equal(await world.states(...payouts), 'settled settled')
    await mustAddUp(t, world, 0, 100n * USDT)
  })
}

export function oversightHazards(t: Tap, bench: ChainBench, times: number): void {
  t.test(`deposits are credited once, ${times} crashes at each step of the oversight`, async (t) => {
    const deaths = new Deaths(times, drawing(5), /^(oversight|chain\.movements)/)
    for (let life = 0; life < 40 && (life === 0 || !deaths.isDone()); life++) {
      const world = await open(t, bench)
      let deposits = 0n
      for (let round = 0; round < 40; round++) {
        if (round % 4 === 0) {
          await bench.give(world.chain.address, 1n)
          deposits += 1n
        }
        await world.pass()
        world.plan = deaths.plan
        await world.oversee()
        world.plan = () => null
      }
      for (let blocks = 0; blocks < 4; blocks++) await bench.advance()
      t.equal(await world.oversee(), 'balanced')
      const credited = world.facts(treasuryFunded).filter(({ by }) => by === 'chain')
      t.equal(credited.length, Number(deposits) + 1, 'once each, and the opening')
      await world.owe(9n)
      await world.settle()
      await mustAddUp(t, world, 0, FUNDS + deposits)
    }
    t.ok(deaths.isDone(), `each step ${times} times: ${deaths}`)
    t.comment(`${deaths.total} crashes at ${deaths.counts.size} points`)
  })

  t.test('a difference of one unit is a discrepancy and pauses; the daily one allows for ten dollars', async (t) => {
    let more = 0n
    const disguise = (chain: ChainWallet) =>
      instead(chain, 'holdings', async (height) => {
        const found = await chain.holdings(height)
        return { ...found, asset: found.asset + more }
      })
    for (const [difference, cause, status] of [
      [1n, 'continuous', 'discrepancy'],
      [-1n, 'continuous', 'discrepancy'],
      [10n * USDT, 'daily', 'balanced'],
      [-10n * USDT - 1n, 'daily', 'discrepancy'],
    ] as const) {
      more = 0n
      const world = await open(t, bench, { disguise })
      t.equal((await world.oversight.reconcile('continuous')).status, 'balanced')
      more = difference
      t.match(await world.oversight.reconcile(cause), { status, difference })
      t.equal((await world.stand()).pausedBecause, status === 'balanced' ? null : 'discrepancy')
      await world.owe(3n)
      await world.round()
      t.equal((await world.stand()).open.queued.count, status === 'balanced' ? 0 : 1)
    }
  })

  t.test('recorded by hand and then deposited counts once', async (t) => {
    const world = await open(t, bench)
    await world.loyalty.fund(100n, 'by hand')
    t.equal((await world.stand()).available, FUNDS + 100n * USDT)
    t.equal((await world.oversight.reconcile('continuous')).status, 'balanced', 'announced and not there yet')
    for (const amount of [60n, 50n, 1n]) {
      await bench.give(world.chain.address, amount * USDT)
      for (let blocks = 0; blocks < 4; blocks++) await bench.advance()
      t.equal((await world.oversight.reconcile('continuous')).status, 'balanced')
    }
    t.equal((await world.stand()).available, FUNDS + 111n * USDT)
    await mustAddUp(t, world, 0, FUNDS + 111n * USDT)
  })
}

/** The port with one method of ours. */
export function instead<Port extends object, Name extends keyof Port>(port: Port, name: Name, own: Port[Name]): Port {
  return new Proxy(port, {
    get: (target, key) => {
      if (key === name) return own
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
