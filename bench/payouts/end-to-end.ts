/**
 * From the scan that wins to the block that nobody can undo: the whole server over HTTP, with the payouts of a real chain
 * (`PAYOUTS=evm`, a signer's policy, keys in the keystore), the chain being an anvil with a block each second.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { getAddress, parseEther } from 'viem'
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts'
import { pools } from '../../actors/treasury/facts.js'
import { startAnvil } from '../../chain/dev/anvil.js'
import { ensureTestToken, mintTestToken, TEST_TOKEN } from '../../chain/dev/evm-token.js'
import { inScope } from '../../test/chaos/scope.js'
import { activeCodes, type Client, logInAdmin, type Member, signUpMany, type Told } from '../../test/support/members.js'
import { Deployment } from '../../test/support/server.js'

const USDT = 1_000_000n
const SCANS_PER_PRIZE = 500
/** Below the limit of 60 an hour. */
const SCANS_PER_MEMBER = 58
const SCANNERS = 4
const CLAIMS_AT_ONCE = 4
const POLL_MS = 50
const PAID_WITHIN_MS = 180_000
const KEYSTORE_PASSWORD = 'a password for a benchmark'

export interface EndToEnd {
  readonly confirmations: number
  /** Seconds from sending the scan that won, by prize: until the core had its bytes signed, mined, final, told paid. */
  readonly prizes: readonly {
    readonly signed: number
    readonly mined: number
    readonly final: number
    readonly told: number
  }[]
}

export function endToEnd(prizes: number, confirmations: number): Promise<EndToEnd> {
  return inScope(async (scope) => {
    const anvil = await startAnvil({ blocks: { seconds: 1 } })
    scope.teardown(() => anvil.stop())
    await ensureTestToken(anvil.client)
    const site = await Deployment.create(scope)
    const settings = await prepare(site, anvil)
    await site.start({ env: { ...settings, CHAIN_CONFIRMATIONS: String(confirmations) } })
    const admin = await logInAdmin(site)
    const scans = prizes * SCANS_PER_PRIZE
    const members = await signUpMany(site, 'bench', Math.ceil(scans / SCANS_PER_MEMBER))
    await claimAll(members)
    const codes = await activeCodes(admin, scans)
    return { confirmations, prizes: await win(admin, members, codes) }
  })
}

type Anvil = Awaited<ReturnType<typeof startAnvil>>

/** Keys, policy and money, as an operator sees to them. Returns the settings of the server. */
async function prepare(site: Deployment, { url, chainId, client }: Anvil): Promise<NodeJS.ProcessEnv> {
  const wallets: Record<string, unknown> = {}
  for (const pool of pools) {
    const { code, stdout, stderr } = await site.run(['keys', 'create', pool, '--kind', 'evm'], { KEYSTORE_PASSWORD })
    const address = getAddress(/0x[0-9a-fA-F]{40}/.exec(stdout)?.[0] ?? '')
    if (code !== 0) throw new Error(`no key: ${stderr}`)
    await client.setBalance({ address, value: parseEther('1000') })
    if (pool === 'member') await mintTestToken(client, address, 1_000_000n * USDT)
    wallets[pool] = {
      ...{ chain: `eip155:${chainId}`, key: `keystore:${pool}`, asset: { token: TEST_TOKEN } },
      limits: { payout: '1000000000', destination_day: '10000000000', hour: '1000000000000', day: '1000000000000' },
      fee_max: '1000000000000000000',
    }
  }
  const policy = join(site.folder, 'policy.json')
  await writeFile(policy, JSON.stringify({ wallets }))
  return {
    ...{ PAYOUTS: 'evm', CHAIN_ID: String(chainId), CHAIN_RPC_URLS: url, CHAIN_TOKEN: TEST_TOKEN },
    ...{ SIGNER_POLICY: policy, KEYSTORE_PASSWORD },
    ...{ RATE_LIMIT_MEMBER_PER_SECOND: '10000', RATE_LIMIT_MEMBER_BURST: '10000' },
  }
}

/** Each proves a wallet of its own. */
async function claimAll(members: readonly Member[]): Promise<void> {
  const waiting = [...members]
  const some = async () => {
    for (let member = waiting.pop(); member !== undefined; member = waiting.pop()) {
      const key = privateKeyToAccount(generatePrivateKey())
      const { address } = key
      const { body } = await member.get(`/v1/users/me/wallet/challenge?address=${address}`)
      const signature = await key.signMessage({ message: body.message })
      const { status, text } = await member.put('/v1/users/me/wallet', { address, nonce: body.nonce, signature })
      if (status !== 200) throw new Error(`no wallet: ${text}`)
    }
  }
  await Promise.all(Array.from({ length: CLAIMS_AT_ONCE }, some))
}

/** Scans everything; returns what became of each prize that was won. */
async function win(admin: Client, members: readonly Member[], codes: string[]): Promise<EndToEnd['prizes']> {
  /** By scan, when it was sent. */
  const won = new Map<string, number>()
  const waiting = [...members]
  const scanAll = async () => {
    for (let member = waiting.pop(); member !== undefined; member = waiting.pop()) {
      for (let scan = 0; scan < SCANS_PER_MEMBER && codes.length > 0; scan++) {
        const sentAt = Date.now()
        const { comp_earned: comp, scan: made } = await member.scan(codes.pop() ?? '')
        if (comp !== null) won.set(made.id, sentAt)
      }
    }
  }
  const scanning = Promise.all(Array.from({ length: SCANNERS }, scanAll))
  let isOver = false
  const told = untilAllAreTold(admin, () => isOver, won)
  await scanning
  isOver = true
  return Promise.all(
    [...(await told)].map(async ([scanId, { compId, toldAt }]) => {
      const { body } = await admin.get(`/v1/admin/treasury/payouts/${compId}`)
      const sentAt = won.get(scanId) ?? Number.NaN
      const at = (state: string) => {
        const step = (body.steps as Told[]).find((each) => each.state === state)
        return (Date.parse(step?.at) - sentAt) / 1_000
      }
      return { signed: at('signed'), mined: at('mined'), final: at('settled'), told: (toldAt - sentAt) / 1_000 }
    }),
  )
}

/** When each comp was first listed as paid, by the scan that won it. */
async function untilAllAreTold(admin: Client, isOver: () => boolean, won: ReadonlyMap<string, number>) {
  const told = new Map<string, { readonly compId: string; readonly toldAt: number }>()
  for (let deadline = Number.POSITIVE_INFINITY; !isOver() || told.size < won.size; ) {
    const { body } = await admin.get('/v1/admin/comps?status=paid&limit=100')
    for (const { id, trigger_scan_id: scanId } of body.comps as Told[]) {
      if (!told.has(scanId)) told.set(scanId, { compId: id, toldAt: Date.now() })
    }
    if (isOver() && deadline === Number.POSITIVE_INFINITY) deadline = Date.now() + PAID_WITHIN_MS
    if (Date.now() > deadline) throw new Error(`${won.size - told.size} of ${won.size} prizes are not paid`)
    await sleep(POLL_MS)
  }
  return told
}
