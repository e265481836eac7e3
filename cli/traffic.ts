/** `comptroller traffic`: realistic scans against a running server, at a fixed rate, with live numbers. */
import { createInterface } from 'node:readline'
import { z } from 'zod'
import { prepareRequest } from '../bench/load/http-request.js'
import { runOpenLoop } from '../bench/load/runner.js'
import { formatMicros, loadRows, printTable } from '../bench/load/table.js'
import { type ApiClient, CliError } from './api.js'
import { exportCodes, generateCodes, importFeedback } from './codes.js'
import { inParallel, withProgress } from './progress.js'

const CONNECTIONS = 32
/** Well below the velocity limit of 60 scans an hour. */
const SCANS_PER_MEMBER = 45
const SIGNUPS_AT_ONCE = 8
/** Of a hundred scans, so many carry a used code or one that does not exist. */
const BAD_SCANS_PERCENT = 3
/** BJ-COMP-01…03 */
const CRYPTO_PRIZES = [
  { every: 500, dollars: 100 },
  { every: 7_500, dollars: 1_000 },
  { every: 125_000, dollars: 10_000 },
]
const cities = [
  { lat: 40.71, lng: -74.01 },
  { lat: 34.05, lng: -118.24 },
  { lat: 41.88, lng: -87.63 },
  { lat: 29.76, lng: -95.37 },
  { lat: 25.76, lng: -80.19 },
] as const
const signedUp = z.object({ access_token: z.string() })

export async function runTraffic(api: ApiClient, { rate, seconds }: { rate: number; seconds: number }): Promise<void> {
  const scans = Math.ceil(rate * seconds)
  const tokens = await signUpMembers(api, Math.max(10, Math.ceil(scans / SCANS_PER_MEMBER)))
  const codes = await activeCodes(api, scans)
  await fundPrizes(api, scans)
  const { hostname, port } = new URL(api.url)
  const host = `${hostname}:${port}`
  const senders = tokens.map((token) => prepareRequest({ method: 'POST', path: '/v1/scans/submit', host, token }))

  let sent = 0
  const live = { answered: 0, accepted: 0, refused: 0, worstMicros: 0 }
  const ticker = setInterval(() => {
    const { answered, accepted, refused, worstMicros } = live
    process.stderr.write(
      `${answered}/s answered, ${accepted} accepted, ${refused} refused, slowest ${formatMicros(worstMicros)}\n`,
    )
    Object.assign(live, { answered: 0, worstMicros: 0 })
  }, 1_000)
  const result = await runOpenLoop({
    host: hostname,
    port: Number(port),
    connections: Math.min(CONNECTIONS, Math.max(1, rate)),
    ratePerSecond: rate,
    durationMs: seconds * 1_000,
    next: () => {
      const index = sent
      sent += 1
      const member = index % senders.length
      return senders[member]?.(JSON.stringify(scanOf(codes, index, member))) ?? null
    },
    onResponse: (status, latencyMicros) => {
      live.answered += 1
      live.worstMicros = Math.max(live.worstMicros, latencyMicros)
      if (status === 200) live.accepted += 1
      else live.refused += 1
    },
  })
  clearInterval(ticker)
  printTable('Traffic', [
    ...loadRows(result),
    ...Object.entries(result.byStatus).map(([status, count]) => ({
      name: `answers ${status}`,
      value: String(count),
      unit: '',
    })),
  ])
}

/** Money for every prize that so many scans can win. */
async function fundPrizes(api: ApiClient, scans: number): Promise<void> {
  const dollars = CRYPTO_PRIZES.reduce((sum, { every, dollars: prize }) => sum + Math.ceil(scans / every) * prize, 0)
  const body = { pool: 'member', amount: String(dollars), reference: `traffic ${Date.now()}` }
  await api.post('/v1/admin/treasury/fund', body, z.unknown())
}

function scanOf(codes: readonly string[], index: number, member: number) {
  const city = cities[member % cities.length] ?? cities[0]
  const isBad = index % 100 < BAD_SCANS_PERCENT
  return {
    code: isBad ? (codes[0] ?? 'AAAA-AAAA-AAAA') : codes[index],
    timestamp: new Date().toISOString(),
    location: { lat: city.lat + (index % 10) / 1000, lng: city.lng },
    device_id: `traffic-${member}`,
    method: index % 20 === 0 ? 'manual' : 'qr',
  }
}

async function signUpMembers(api: ApiClient, count: number): Promise<string[]> {
  const run = Date.now().toString(36)
  const tokens: string[] = []
  const signUp = async (index: number, to: (value: number) => void) => {
    const { access_token } = await api.post(
      '/v1/auth/signup',
      {
        email: `traffic-${run}-${index}@example.com`,
        password: 'Traffic!2026',
        full_name: `Traffic ${index}`,
        date_of_birth: '1990-01-01',
      },
      signedUp,
    )
    tokens.push(access_token)
    to(tokens.length)
  }
  await withProgress('Signing up members', count, (to) =>
    inParallel(count, SIGNUPS_AT_ONCE, (index) => signUp(index, to)),
  )
  return tokens
}

/** Generates, exports and activates a batch of its own. */
async function activeCodes(api: ApiClient, quantity: number): Promise<string[]> {
  const batch = await generateCodes(api, { name: 'traffic', quantity, product_sku: 'MINT-ICE-6MG' })
  const codes: string[] = []
  for await (const line of createInterface({ input: await exportCodes(api, batch) })) {
    codes.push(line.slice(0, line.indexOf(',')))
  }
  codes.shift()
  const { manufactured } = await importFeedback(api, await exportCodes(api, batch))
  if (manufactured !== codes.length) throw new CliError(`Only ${manufactured} of ${codes.length} codes became active.`)
  return codes
}
