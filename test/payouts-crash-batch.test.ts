// Hunts, on the real anvil: a payout of a batch that is paid twice or never because the process died, at whatever moment.
import t from 'tap'
import { distributionPrepared } from '../actors/payout/facts.js'
import { Endpoints } from '../chain/evm/endpoints.js'
import { evmWorld } from './support/evm.js'
import { USDT } from './support/loyalty.js'
import { audit } from './support/payout-audit.js'
import { Deaths, drawing } from './support/payout-deaths.js'
import { evmBench } from './support/payout-evm.js'
import { FUNDS, mustAddUp, open } from './support/payout-suite.js'

t.setTimeout(600_000)
const TIMES = 10
/** Payouts that are owed at once, round by round: three and more are paid together. */
const OWED = [4, 1, 3, 2, 5]
const TOGETHER = { batchAtLeast: 3, payouts: { perMinuteMax: 1_000 }, signaturesMax: 1_000 }

/** All but those that only payouts by themselves take: they are hunted in the suite of every chain. */
const OF_BATCHES = /^(?!core\.(prepare|report\.)|chain\.(sign|observe))/

const evm = await evmWorld(t)
const { client } = evm.anvil
// Without a proxy between: it would only be slower.
const endpoints = new Endpoints({ urls: [evm.anvil.url], chainId: evm.anvil.chainId, confirmations: 7 })
const { bench } = evmBench(evm, endpoints)

t.test(`S1, S2, S3 the process dies between every pair of steps of a batch, ${TIMES} times at each`, async (t) => {
  const deaths = new Deaths(TIMES, drawing(20_261_122), OF_BATCHES)
  let paid = 0
  let distributions = 0
  for (let life = 0; life < 60 && (life === 0 || !deaths.isDone()); life++) {
    const world = await open(t, bench, TOGETHER)
    for (const [round, count] of OWED.entries()) {
      for (let each = 0; each < count; each++) await world.owe(BigInt(round * 7 + each + life + 1))
      world.plan = deaths.plan
      await world.round()
      // Now and then a block is replaced, so that reports go back as well.
      if (round === 2) {
        await client.mine({ blocks: 2 })
        await world.round()
        await client.request({ method: 'anvil_reorg', params: [2, []] } as never)
        await world.round()
      }
      await world.pass()
      world.plan = () => null
    }
    world.plan = deaths.plan
    await world.settle()
    world.plan = () => null
    const owed = OWED.reduce((sum, count) => sum + count, 0)
    const { problems, settled } = await audit(world, FUNDS)
    if (problems.length > 0) t.same(problems, [], `life ${life}`)
    if (settled !== owed) t.equal(settled, owed, `all of life ${life} are paid`)
    paid += settled
    distributions += world.facts(distributionPrepared).length
  }
  t.ok(deaths.isDone(), `each step ${TIMES} times: ${deaths}`)
  t.ok(distributions > 0)
  t.comment(
    `${deaths.total} crashes at ${deaths.counts.size} points, ${paid} payouts in ${distributions} batches and by themselves`,
  )
})

t.test(`S2 it dies while the signer refuses one of a batch: ${TIMES} times at each step`, async (t) => {
  const deaths = new Deaths(TIMES, drawing(7), /distribute$|dropped|^signer/)
  for (let life = 0; life < 40 && (life === 0 || !deaths.isDone()); life++) {
    const world = await open(t, bench, { ...TOGETHER, signerPayoutMax: 1_000n * USDT })
    const refused = []
    for (const round of [0, 1, 2, 3]) {
      refused.push(await world.owe((1_001n + BigInt(round)) * USDT))
      for (let each = 1; each <= 4; each++) await world.owe(BigInt(each))
      world.plan = deaths.plan
      await world.settle()
      world.plan = () => null
    }
    t.equal(await world.states(...refused), 'review review review review')
    await mustAddUp(t, world, 4)
  }
  t.ok(deaths.isDone(), `each step ${TIMES} times: ${deaths}`)
  t.comment(`${deaths.total} crashes at ${deaths.counts.size} points`)
})

t.test('S3 the ledger and the chain are the same between any two steps, while a batch is under way', async (t) => {
  const world = await open(t, bench, TOGETHER)
  const seen: string[] = []
  world.between = async (step) => {
    if (!step.startsWith('core') && !step.startsWith('chain') && !step.startsWith('batch')) return
    const { between } = world
    world.between = async () => {}
    seen.push((await world.oversight.reconcile('continuous')).status)
    world.between = between
  }
  for (const count of [4, 1, 3]) {
    for (let each = 0; each < count; each++) await world.owe(1_000n + BigInt(each))
    await world.round()
    await world.pass()
  }
  await world.settle()
  world.between = async () => {}
  t.same([...new Set(seen)], ['balanced'], `${seen.length} times`)
  await mustAddUp(t, world)
})
