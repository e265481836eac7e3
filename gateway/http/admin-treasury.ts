/** The pools and their wallets for administrators (BJ-TRS-05, BJ-PAY-07, 08, BJ-REC-01, 02, BJ-NODE-02). */
import { z } from 'zod'
import { openStates } from '../../actors/payout/open-payouts.js'
import type { ReconciliationRow, SnapshotRow } from '../../actors/payout/rows.js'
import { pool, pools, reconciliationStatuses } from '../../actors/treasury/facts.js'
import { usdOf } from '../money.js'
import { chainUnavailable, mustBeOn, payoutsOff } from '../payouts-port.js'
import { answerInTime, poolStates } from '../pool-states.js'
import type { Services } from '../services.js'
import { done, success } from './auth.js'
import { isoOf } from './payout-json.js'
import { defineRoute, type Route } from './toolkit/route.js'

const DAY_MS = 86_400_000

const openSchema = z.object({ count: z.number(), amount: z.number() })
const poolSchema = z
  .object({
    pool,
    /** In no campaign; and, in campaigns, what no prize has won yet. */
    available: z.number(),
    campaigns: z.number(),
    /** In and out of campaigns. */
    held: z.number(),
    /** All that was ever paid out of it. */
    paid: z.number(),
    /** Null before its wallet was used for the first time. */
    chain: z.string().nullable(),
    address: z.string().nullable(),
    /** Null when the chain cannot be asked. */
    onchain_balance: z.number().nullable(),
    paused_because: z.string().nullable(),
    /** Let go in the last 60 minutes; and, without review, since midnight UTC. */
    outflow_hour: z.number(),
    outflow_today: z.number(),
    open: z.object({ waiting: openSchema, review: openSchema, queued: openSchema, in_flight: openSchema }),
  })
  .meta({ id: 'Pool' })

const snapshotSchema = z
  .object({
    pool,
    at: z.string(),
    block_height: z.number(),
    onchain_balance: z.number(),
    /** What the wallet must hold by the ledger at that block; and, of that, what was on its way out (BJ-T40). */
    ledger_balance: z.number(),
    in_flight: z.number(),
  })
  .meta({ id: 'TreasurySnapshot' })
const reconciliationSchema = snapshotSchema
  .extend({
    difference: z.number(),
    status: z.enum(['balanced', 'discrepancy']),
    cause: z.enum(['daily', 'demand', 'continuous']),
  })
  .meta({ id: 'Reconciliation' })

const pageOfPool = z.object({
  pool: pool.optional(),
  limit: z.coerce.number().int().min(1).max(100).default(20),
  cursor: z.coerce.number().int().positive().optional(),
})

export function adminTreasuryRoutes(services: Services): Route[] {
  const { shard, program, payoutReads, payouts, now } = services
  const { commands, queries } = program

  const listPools = defineRoute({
    method: 'GET',
    path: '/v1/admin/treasury/pools',
    who: 'admin',
    tag: 'Treasury',
    summary: 'The three pools: balances in USDT, wallets, and what is on its way',
    response: z.object({ pools: z.array(poolSchema) }),
    handle: async ({ principal }) => {
      await shard.query(queries.adminSession, principal)
      const states = await poolStates(services)
      return {
        pools: states.map((state) => ({
          pool: state.wallet,
          available: usdOf(state.available),
          campaigns: usdOf(state.campaigns),
          held: usdOf(state.held),
          paid: usdOf(state.paid),
          chain: state.chain,
          address: state.address,
          onchain_balance: state.onChain === null ? null : usdOf(state.onChain),
          paused_because: state.pausedBecause,
          outflow_hour: usdOf(state.outflowWithinHour),
          outflow_today: usdOf(state.outflowToday),
          open: openJson(state.open),
        })),
      }
    },
  })

  const pause = defineRoute({
    method: 'POST',
    path: '/v1/admin/treasury/wallets/:pool/pause',
    who: 'admin',
    tag: 'Treasury',
    summary: 'Sign nothing more for a pool; what is out is followed to its end. Pausing twice keeps the first reason',
    params: z.object({ pool }),
    body: z.object({ reason: z.string().trim().min(1).max(200) }),
    response: done,
    handle: async ({ params, body, principal: who }) => {
      await shard.execute(commands.pauseWallet, { args: { wallet: params.pool, because: body.reason }, who })
      return success
    },
  })

  const resume = defineRoute({
    method: 'POST',
    path: '/v1/admin/treasury/wallets/:pool/resume',
    who: 'admin',
    tag: 'Treasury',
    summary: 'Pay again from a pool that is paused',
    params: z.object({ pool }),
    response: done,
    handle: async ({ params, principal: who }) => {
      await shard.execute(commands.resumeWallet, { args: { wallet: params.pool }, who })
      return success
    },
  })

  const reconcile = defineRoute({
    method: 'POST',
    path: '/v1/admin/treasury/reconcile',
    who: 'admin',
    tag: 'Treasury',
    summary: 'Compare ledger and chain now; a discrepancy pauses the wallet',
    body: z.object({ pool: pool.optional() }),
    response: z.object({ results: z.array(z.object({ pool, status: z.enum(reconciliationStatuses) })) }),
    errors: [payoutsOff, chainUnavailable],
    handle: async ({ body, principal }) => {
      await shard.query(queries.adminSession, principal)
      const port = mustBeOn(payouts)
      const asked = body.pool === undefined ? pools : [body.pool]
      const results = asked.map(async (name) => ({ pool: name, status: (await port.reconcile(name)).status }))
      return { results: await Promise.all(results) }
    },
  })

  const listReconciliations = defineRoute({
    method: 'GET',
    path: '/v1/admin/treasury/reconciliations',
    who: 'admin',
    tag: 'Treasury',
    summary: 'Comparisons of ledger and chain, newest first',
    query: pageOfPool,
    response: z.object({ reconciliations: z.array(reconciliationSchema), next_cursor: z.string().nullable() }),
    handle: async ({ query, principal }) => {
      await shard.query(queries.adminSession, principal)
      const rows = await payoutReads.reconciliations(pageOf(query))
      return {
        reconciliations: rows.map((row) => {
          const { difference, status, cause } = row
          return { ...snapshotJson(row), difference: usdOf(difference), status, cause }
        }),
        next_cursor: cursorOf(rows, query.limit),
      }
    },
  })

  const listSnapshots = defineRoute({
    method: 'GET',
    path: '/v1/admin/treasury/snapshots',
    who: 'admin',
    tag: 'Treasury',
    summary: 'Hourly balances of the wallets, newest first',
    query: pageOfPool,
    response: z.object({ snapshots: z.array(snapshotSchema), next_cursor: z.string().nullable() }),
    handle: async ({ query, principal }) => {
      await shard.query(queries.adminSession, principal)
      const rows = await payoutReads.snapshots(pageOf(query))
      return { snapshots: rows.map(snapshotJson), next_cursor: cursorOf(rows, query.limit) }
    },
  })

  const metrics = defineRoute({
    method: 'GET',
    path: '/v1/admin/treasury/metrics',
    who: 'admin',
    tag: 'Treasury',
    summary: 'How payouts are doing: what is open, the last 24 hours, the nodes of the chain',
    response: z.object({
      pending_count: z.number(),
      pending_value: z.number(),
      average_confirmation_seconds: z.number().nullable(),
      /** Of those that ended in the last 24 hours; null when none did. */
      success_rate: z.number().nullable(),
      processed_24h: z.object({ count: z.number(), value: z.number() }),
      failed_24h: z.number(),
      pipelines: z.array(z.object({ pool, failures_in_a_row: z.number(), last_error: z.string().nullable() })),
      nodes: z.array(
        z.object({
          name: z.string(),
          usable: z.boolean(),
          block_height: z.number().nullable(),
          peers: z.number().nullable(),
          syncing: z.boolean().nullable(),
          latency_ms: z.number().nullable(),
          last_error: z.string().nullable(),
        }),
      ),
    }),
    handle: async ({ principal }) => {
      await shard.query(queries.adminSession, principal)
      const [states, figures, nodes] = await Promise.all([
        shard.query(queries.walletStates, {}),
        payoutReads.figures(now() - DAY_MS),
        payouts === null ? [] : answerInTime(payouts.nodes()),
      ])
      const open = states.flatMap((state) => openStates.map((name) => state.open[name]))
      const { settled, failed, value, confirmationSeconds } = figures
      return {
        pending_count: open.reduce((sum, { count }) => sum + count, 0),
        pending_value: usdOf(open.reduce((sum, { amount }) => sum + amount, 0n)),
        average_confirmation_seconds: confirmationSeconds,
        success_rate: settled + failed === 0 ? null : settled / (settled + failed),
        processed_24h: { count: settled, value: usdOf(value) },
        failed_24h: failed,
        pipelines: (payouts?.pipelines() ?? []).map(({ pool: name, failuresInARow, lastError }) => ({
          ...{ pool: name, failures_in_a_row: failuresInARow, last_error: lastError },
        })),
        nodes: (nodes ?? []).map(({ name, usable, height, peers, syncing, latencyMs, lastError }) => ({
          ...{ name, usable, block_height: height, peers, syncing, latency_ms: latencyMs, last_error: lastError },
        })),
      }
    },
  })

  return [listPools, pause, resume, reconcile, listReconciliations, listSnapshots, metrics]
}

type Open = Record<(typeof openStates)[number], { readonly count: number; readonly amount: bigint }>

function openJson({ waiting, review, queued, in_flight }: Open) {
  const json = ({ count, amount }: Open['queued']) => ({ count, amount: usdOf(amount) })
  return { waiting: json(waiting), review: json(review), queued: json(queued), in_flight: json(in_flight) }
}

function pageOf({ pool: ofPool, limit, cursor }: z.output<typeof pageOfPool>) {
  return {
    limit,
    ...(ofPool === undefined ? {} : { pool: ofPool }),
    ...(cursor === undefined ? {} : { beforeSeq: cursor }),
  }
}

function cursorOf(rows: readonly { readonly seq: number }[], limit: number): string | null {
  const last = rows.at(-1)
  return rows.length < limit || last === undefined ? null : String(last.seq)
}

function snapshotJson({ pool: name, at, height, onChain, ledger, inFlight }: SnapshotRow | ReconciliationRow) {
  return {
    pool: name,
    at: isoOf(at),
    block_height: height,
    onchain_balance: usdOf(onChain),
    ledger_balance: usdOf(ledger),
    in_flight: usdOf(inFlight),
  }
}
