// Hunts, against the whole server with a real chain: a campaign whose money reconciliation misses, a prize that a restart
// takes from its campaign, a budget that a repeated request raises twice.
import t from 'tap'
import { blakjaksRules } from '../actors/programs/blakjaks/rules.js'
import { createLoyaltyProgram } from '../actors/programs/loyalty.js'
import { environment } from '../core.js'
import { startServer } from '../server.js'
import { readSettings } from '../settings.js'
import { activeCodes, Client, logInAdmin, signUp, type Told } from './support/members.js'
import { recordingLog } from './support/postgres.js'
import { adminAccount, Deployment, until } from './support/server.js'

t.setTimeout(120_000)
const PATH = '/v1/admin/campaigns'
/** Every scan wins $100. */
const milestones = blakjaksRules.milestones
  .filter(({ compType }) => compType === 'crypto_100')
  .map((rule) => ({ ...rule, every: 1, minimumTier: 'standard' as const }))

const site = await Deployment.create(t)
let server: Awaited<ReturnType<typeof startServer>> | undefined
t.teardown(() => server?.stop())

async function restart(): Promise<{ url: string }> {
  await server?.stop()
  const settings = readSettings({
    DATA_DIR: site.dataDirectory,
    PORT: '0',
    ADMIN_EMAIL: adminAccount.email,
    ADMIN_PASSWORD: adminAccount.password,
    PAYOUTS: 'local-evm',
    EMOTES: 'off',
    CHAIN_POLL_INTERVAL_MS: '100',
    CHAIN_CONFIRMATIONS: '3',
    RATE_LIMIT_MEMBER_PER_SECOND: '10000',
    RATE_LIMIT_MEMBER_BURST: '10000',
  })
  const program = createLoyaltyProgram('blakjaks', { ...blakjaksRules, milestones })
  server = await startServer(settings, recordingLog().log, (error) => t.fail(error.message), { environment, program })
  return { url: server.url }
}

t.test('a campaign pays its prizes on chain, and no more than its budget, across a restart', async (t) => {
  let admin = await logInAdmin(await restart())
  const ann = await signUp(admin.site, 'ann')
  const codes = await activeCodes(admin, 3)
  const poolOf = async (name: string): Promise<Told> =>
    (await admin.get('/v1/admin/treasury/pools')).body.pools.find(({ pool }: Told) => pool === name)
  const paid = (count: number): Promise<Told[]> =>
    until(`${count} comps are paid`, async () => {
      const { body } = await admin.get('/v1/admin/comps?status=paid')
      return body.comps.length === count ? (body.comps as Told[]) : undefined
    })
  const isBalanced = () =>
    until('ledger and chain agree', async () => {
      const { body } = await admin.post('/v1/admin/treasury/reconcile', { pool: 'affiliate' })
      t.not(body.results[0].status, 'discrepancy')
      return body.results[0].status === 'balanced'
    })

  await admin.post('/v1/admin/treasury/fund', { pool: 'affiliate', amount: '1000', reference: 'deposit 1' })
  const ends_at = new Date(Date.now() + 86_400_000).toISOString()
  const spring = { id: 'spring', pool: 'affiliate', comp_types: ['crypto_100'], budget: '150', ends_at }
  const opened = await admin.post(PATH, spring, { key: 'open' })
  const shown = { id: 'spring', pool: 'affiliate', state: 'running', budget: 150, held: 0, paid: 0, left: 150, ends_at }
  t.match(opened, { status: 201, body: { ...shown, waiting: { count: 0, amount: 0 }, closed_at: null } })
  t.match(await admin.post(PATH, spring, { key: 'open' }), { status: 201, body: shown }, 'a repeat is no second one')
  t.match(await admin.post(PATH, { ...spring, id: 'x' }, { key: 'open' }), { status: 409 })
  t.match(await poolOf('affiliate'), { available: 850, campaigns: 150, held: 0 })

  for (const code of codes.slice(0, 2)) t.match(await ann.scan(code), { comp_earned: { amount: 100 } })
  t.match(await paid(1), [{ campaign: 'spring', funded: true, payout_state: 'settled' }])
  const { body: comps } = await admin.get('/v1/admin/comps?status=pending')
  t.match(comps.comps, [{ campaign: 'spring', funded: false, payout_state: null }])
  const exhausted = { held: 0, paid: 100, left: 50, waiting: { count: 1, amount: 100 } }
  t.match((await admin.get(`${PATH}/spring`)).body, exhausted)
  await isBalanced()
  t.match(await poolOf('affiliate'), { available: 850, campaigns: 50, paid: 100, onchain_balance: 900 })

  admin = await logInAdmin(await restart())
  t.match((await admin.get(PATH)).body, { campaigns: [{ id: 'spring', state: 'running', ...exhausted }] })
  for (const _ of [1, 2]) {
    const raised = await admin.post(`${PATH}/spring/budget`, { add: '60.5' }, { key: 'raise' })
    t.match(raised, { status: 200, body: { budget: 210.5 } })
  }
  t.equal((await paid(2)).length, 2)
  await isBalanced()
  const closed = { state: 'closed', budget: 210.5, held: 0, paid: 200, left: 0, returned: 10.5 }
  t.match((await admin.post(`${PATH}/spring/close`)).body, closed)
  t.match(await poolOf('affiliate'), { available: 800, campaigns: 0, held: 0, paid: 200, onchain_balance: 800 })
  await isBalanced()

  const refused = async (path: string, body: object, status: number, code: string) =>
    t.match(await admin.post(path, body), { status, body: { code } })
  await refused(PATH, spring, 409, 'campaign_exists')
  await refused(PATH, { ...spring, id: 'rich', budget: '801' }, 422, 'insufficient_funds')
  await refused(PATH, { ...spring, id: 'none', budget: '0' }, 422, 'amount_invalid')
  await refused(PATH, { ...spring, id: 'past', ends_at: '2020-01-01T00:00:00Z' }, 422, 'campaign_over')
  await refused(`${PATH}/none/budget`, { add: '1' }, 404, 'campaign_unknown')
  await refused(`${PATH}/none/close`, {}, 404, 'campaign_unknown')
  t.match(await admin.get(`${PATH}/none`), { status: 404 })
  const member = new Client(admin.site, ann.token)
  t.match(await member.get(PATH), { status: 403 })
  t.match(await member.post(PATH, spring), { status: 403 })

  const steps = await (await site.database(t))`
    select step, amount::float8, detail from campaign_steps where campaign = 'spring' order by seq, entry`
  t.match(steps, [
    { step: 'opened', amount: 150, detail: /^affiliate: crypto_100 from .+ until .+Z$/ },
    { step: 'raised', amount: 60.5 },
    { step: 'closed', amount: 10.5 },
  ])
})
