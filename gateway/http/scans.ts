/** Scanning (BJ-SCAN-01…09). */
import { z } from 'zod'
import { formatCode } from '../../actors/codes/code-text.js'
import type { RecentScan } from '../../actors/user/recent-scans.js'
import { type ScanReply, type ScanRequest, scanRequest } from '../../actors/user/scan.js'
import type { Outcome } from '../../engine/outcome.js'
import type { Principal } from '../http/toolkit/principal.js'
import { usdOf } from '../money.js'
import type { Services } from '../services.js'
import { fingerprint, idempotencyConflict } from './auth.js'
import { tierProgressSchema } from './member-json.js'
import { defineRoute, type Route } from './toolkit/route.js'

const PAGE_DEFAULT = 20
const PAGE_MAX = 100

/** The rich response of the source document, and the scan itself. */
export const scanResponse = z
  .object({
    success: z.literal(true),
    product_name: z.string(),
    usdt_earned: z.number(),
    tier_multiplier: z.literal(1),
    tier_progress: tierProgressSchema,
    comp_earned: z
      .object({
        amount: z.number(),
        type: z.string(),
        lifetime_comps: z.number(),
        wallet_balance: z.number(),
        gold_chips: z.number(),
      })
      .nullable(),
    milestone_hit: z.string().nullable(),
    scan: z.object({ id: z.string(), ordinal: z.number() }),
  })
  .meta({ id: 'ScanResult' })
export type ScanResponse = z.output<typeof scanResponse>

export function scanJson(reply: ScanReply): ScanResponse {
  const { comp_earned: comp } = reply
  return {
    success: true,
    product_name: reply.product_name,
    usdt_earned: usdOf(reply.usdt_earned),
    tier_multiplier: 1,
    tier_progress: reply.tier_progress,
    comp_earned: comp && {
      amount: usdOf(comp.amount),
      type: comp.type,
      lifetime_comps: usdOf(comp.lifetime_comps),
      wallet_balance: usdOf(comp.wallet_balance),
      gold_chips: comp.gold_chips,
    },
    milestone_hit: reply.milestone_hit,
    scan: reply.scan,
  }
}

/** Submits a scan for a member, over HTTP or a socket. Rejects with the DomainErrors listed on the route. */
export function submitScan(
  services: Services,
  principal: Principal,
  request: ScanRequest,
  { ip, idempotencyKey }: { ip: string; idempotencyKey: string | undefined },
): Promise<ScanResponse> {
  return new Promise((resolve, reject) => {
    services.shard.submit(
      services.program.commands.submitScan,
      {
        args: { ip, ...request },
        who: principal,
        key: idempotencyKey,
        fingerprint: idempotencyKey && fingerprint(services, request),
      },
      (outcome: Outcome<ScanReply>) => (outcome.ok ? resolve(scanJson(outcome.reply)) : reject(outcome.error)),
    )
  })
}

const recentScan = z
  .object({
    id: z.string(),
    ordinal: z.number(),
    scanned_at: z.string(),
    code: z.string(),
    product_sku: z.string(),
    product_name: z.string(),
    method: z.enum(['qr', 'manual']),
    tier: z.string(),
    comp_type: z.string().nullable(),
    comp_amount: z.number(),
    milestone_hit: z.string().nullable(),
  })
  .meta({ id: 'Scan' })

export function scanRoutes(services: Services): Route[] {
  const { shard, program, reads } = services
  const { products } = program.rules

  const scanItem = (scan: RecentScan): z.output<typeof recentScan> => ({
    id: scan.scanId,
    ordinal: scan.ordinal,
    scanned_at: new Date(scan.at).toISOString(),
    code: formatCode(scan.code.hi, scan.code.lo),
    product_sku: scan.sku,
    product_name: products.get(scan.sku)?.name ?? scan.sku,
    method: scan.method,
    tier: scan.tier,
    comp_type: scan.compType,
    comp_amount: usdOf(scan.compAmount),
    milestone_hit: scan.milestone,
  })

  const submit = defineRoute({
    method: 'POST',
    path: '/v1/scans/submit',
    who: 'member',
    tag: 'Scanning',
    summary: 'Submit a scanned code',
    description: 'The answer is durable: what it says has happened, whatever fails afterwards.',
    limit: 'scan',
    body: scanRequest,
    response: scanResponse,
    errors: [
      { status: 400, code: 'code_malformed', when: 'The code is not of the form XXXX-XXXX-XXXX.' },
      { status: 404, code: 'code_unknown', when: 'There is no such code.' },
      { status: 409, code: 'code_not_active', when: 'The code is not in circulation.' },
      { status: 409, code: 'code_already_scanned', when: 'The code was used before.' },
      idempotencyConflict,
      { status: 429, code: 'scan_velocity_exceeded', when: 'More than 60 scans in an hour.' },
    ],
    handle: ({ body, principal, ip, idempotencyKey }) => submitScan(services, principal, body, { ip, idempotencyKey }),
  })

  const recent = defineRoute({
    method: 'GET',
    path: '/v1/scans/recent',
    who: 'member',
    tag: 'Scanning',
    summary: 'My scans, newest first; what I just scanned is always there',
    query: z.object({
      limit: z.coerce.number().int().min(1).max(PAGE_MAX).default(PAGE_DEFAULT),
      cursor: z.coerce.number().int().positive().optional(),
    }),
    response: z.object({ scans: z.array(recentScan), next_cursor: z.string().nullable() }),
    handle: async ({ principal, query: { limit, cursor } }) => {
      await shard.query(program.queries.session, principal)
      const before = cursor ?? null
      // Taken before Postgres is asked: a scan applied in between is then in both, never in neither.
      const unapplied = program.recentScans.of(principal.userId)
      await shard.settled()
      const applied = await reads.recentScans(principal.userId, {
        limit,
        ...(before === null ? {} : { beforeOrdinal: before }),
      })
      const page = mergeNewest(unapplied, applied, before).slice(0, limit)
      const last = page.at(-1)
      return {
        scans: page.map(scanItem),
        next_cursor: page.length === limit && last !== undefined ? String(last.ordinal) : null,
      }
    },
  })

  return [submit, recent]
}

/** Both lists as one, newest first, each scan once. */
function mergeNewest(unapplied: readonly RecentScan[], applied: readonly RecentScan[], before: number | null) {
  const byOrdinal = new Map<number, RecentScan>()
  for (const scan of [...unapplied, ...applied]) {
    if (before === null || scan.ordinal < before) byOrdinal.set(scan.ordinal, scan)
  }
  return [...byOrdinal.values()].sort((a, b) => b.ordinal - a.ordinal)
}
