/** S1 to S4, J1: kill -9 of a server that pays on a chain of its own, with payouts at every stage; each is paid once. */
import { createPublicClient, getAddress, http } from 'viem'
import { TEST_TOKEN } from '../../../chain/dev/evm-token.js'
import { tokenAbi } from '../../../chain/evm/contracts.js'
import { pause } from '../../support/campaign.js'
import type { Client, Told } from '../../support/members.js'
import { until, within } from '../../support/server.js'
import { differences } from '../checks.js'
import type { Phase, Report } from '../phase.js'
import { World } from '../world.js'

/** A prize is won every 500 scans. */
const SCANS_PER_CYCLE = 1_900
const SCANS_BEFORE_MIN = 300
const SCANS_BEFORE_MAX = 1_400
const WHOLE_CHECK_EVERY = 10
const KILLED_AGAIN_ONE_IN = 4
const START_MS_MAX = 2_500
const PAID_WITHIN_MS = 120_000
const POLL_MS = 100
const PAGE = 100
const MICRO = 1_000_000
const shape = { http: 12, sockets: 4, pauseMs: 15, errands: true }
const env = {
  PAYOUTS: 'local-evm',
  CHAIN_POLL_INTERVAL_MS: '100',
  // The administrator has a lot to do and to ask.
  RATE_LIMIT_MEMBER_PER_SECOND: '10000',
  RATE_LIMIT_MEMBER_BURST: '10000',
}

/** Names of what is told of them. */
export const figure = {
  requested: 'payouts requested',
  paid: 'payouts paid',
  failed: 'payouts failed',
  held: 'payouts held',
  paidTwice: 'payees with more than they won',
  lost: 'payees with less than they were told',
} as const

export const payouts: Phase = {
  name: 'payouts',
  what: 'kill -9 of a server that pays',
  cycles: 20,
  run: async ({ cycles, random, scope, keep, report }) => {
    const scans = 500 + cycles * SCANS_PER_CYCLE
    const world = await World.create(scope, { scans, random, keep, env })
    report.follow(world)
    const { site } = world
    for (let cycle = 1; cycle <= cycles; cycle++) {
      const load = world.load(shape)
      await world.scansGoOn(random.int(SCANS_BEFORE_MIN, SCANS_BEFORE_MAX), random.int(0, 300))
      await site.kill()
      await within('the clients notice', load.ended)
      report.fault()
      if (random.chance(1 / KILLED_AGAIN_ONE_IN)) {
        const starting = world.start().catch(() => 'killed')
        await pause(random.int(0, START_MS_MAX))
        await site.kill()
        await starting
        report.figures['killed while starting'] = Number(report.figures['killed while starting'] ?? 0) + 1
      }
      await world.start()
      const whole = cycle % WHOLE_CHECK_EVERY === 0 || cycle === cycles
      report.found(`cycle ${cycle}`, await world.settle({ whole }))
      report.check(`cycle ${cycle}`, await booksAreBalanced(world))
      // Otherwise some of them live through the next death as well.
      if (whole || random.chance(1 / 2)) await everythingIsPaid(world, report, `cycle ${cycle}`)
    }
  },
}

/** The ledger and the chain are the same, while payouts are under way. */
async function booksAreBalanced({ errands: { admin } }: World): Promise<string[]> {
  const results = await until(
    'the books are compared',
    async () => {
      const { status, body } = await admin.post('/v1/admin/treasury/reconcile', {})
      const isTold = status === 200 && body.results.every((result: Told) => result.status !== 'pending')
      if (!isTold) await pause(POLL_MS)
      return isTold ? (body.results as { pool: string; status: string }[]) : null
    },
    PAID_WITHIN_MS,
  )
  return results.filter(({ status }) => status !== 'balanced').map(({ pool, status }) => `S3: ${pool}: ${status}`)
}

/** Waits until nothing is on its way; then every payee holds what was won, to the unit. */
async function everythingIsPaid(world: World, report: Report, when: string): Promise<void> {
  const { admin } = world.errands
  await until(
    'everything is paid',
    async () => {
      const { body } = await admin.get('/v1/admin/treasury/metrics')
      if (body.pending_count !== 0) await pause(POLL_MS)
      return body.pending_count === 0
    },
    PAID_WITHIN_MS,
  )
  await world.caughtUp()
  const all = await listed(admin)
  const owed = new Map<string, bigint>()
  for (const { to, state, amount } of all) {
    owed.set(to, (owed.get(to) ?? 0n) + (state === 'settled' ? microOf(amount) : 0n))
  }
  const held = await holdings(admin, [...owed.keys()])
  const hashes = all.map(({ transaction_hash }) => transaction_hash)
  const comps = await world.database(
    (sql) => sql`select id, trunc(amount * 1000000)::text as amount from comps where funded and amount > 0`,
  )
  const inState = (...states: string[]) => all.filter(({ state }) => states.includes(state)).length
  const off = (isSo: (difference: bigint) => boolean) =>
    [...owed].filter(([to, amount]) => isSo((held.get(to) ?? 0n) - amount)).length
  Object.assign(report.figures, {
    [figure.requested]: comps.length,
    [figure.paid]: inState('settled'),
    [figure.failed]: inState('failed', 'cancelled'),
    [figure.held]: inState('review', 'waiting'),
    [figure.paidTwice]: off((difference) => difference > 0n),
    [figure.lost]: off((difference) => difference < 0n),
  })
  report.check(when, [
    ...all.filter(({ state }) => state !== 'settled').map(({ id, state }) => `S3: payout ${id} is ${state}`),
    ...differences('on chain', [...held].map(line), [...owed].map(line)),
    ...differences(
      'payouts of comps',
      all.map(({ id, amount }) => `${id} ${microOf(amount)}`),
      comps.map(({ id, amount }) => `${id} ${amount}`),
    ),
    ...(new Set(hashes).size === hashes.length ? [] : ['S2: two payouts have one transaction']),
    ...(await booksAreBalanced(world)),
  ])
}

const line = ([payee, amount]: readonly [string, bigint]) => `${payee} ${amount}`
const microOf = (amount: number) => BigInt(Math.round(amount * MICRO))

async function listed(admin: Client): Promise<Told[]> {
  const all: Told[] = []
  for (let cursor: string | null = ''; cursor !== null; ) {
    const { body } = await admin.get(`/v1/admin/treasury/payouts?limit=${PAGE}${cursor && `&cursor=${cursor}`}`)
    all.push(...body.payouts)
    cursor = body.next_cursor
  }
  return all
}

/** As the chain itself says, in micro-USDT. */
async function holdings(admin: Client, payees: readonly string[]): Promise<ReadonlyMap<string, bigint>> {
  const { body } = await admin.get('/v1/admin/treasury/metrics')
  const chain = createPublicClient({ transport: http(`http://${body.nodes[0].name}`) })
  const read = async (payee: string): Promise<[string, bigint]> => {
    const call = { address: TEST_TOKEN, abi: tokenAbi, functionName: 'balanceOf', args: [getAddress(payee)] } as const
    return [payee, await chain.readContract(call)]
  }
  return new Map(await Promise.all(payees.map(read)))
}
