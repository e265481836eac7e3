// The whole server with a local chain, as the tests of its operations see it.
import type { Test } from 'tap'
import { concat, createTestClient, getAddress, type Hex, http, publicActions, walletActions } from 'viem'
import { blakjaksRules } from '../../actors/programs/blakjaks/rules.js'
import { createLoyaltyProgram } from '../../actors/programs/loyalty.js'
import type { LoyaltyRules } from '../../actors/programs/rules.js'
import { TEST_TOKEN } from '../../chain/dev/evm-token.js'
import { environment } from '../../core.js'
import { startServer } from '../../server.js'
import { readSettings } from '../../settings.js'
import type { Client, Member, Told } from './members.js'
import { recordingLog } from './postgres.js'
import { adminAccount, Deployment, until } from './server.js'

const USDT = 1_000_000n
/** These tests ask again and again. */
export const unhurried = { RATE_LIMIT_MEMBER_PER_SECOND: '10000', RATE_LIMIT_MEMBER_BURST: '10000' }

/** Every scan wins: $100, and every second one $1,000, which is more than is paid without review. */
const [trip, , crypto1k, crypto100] = blakjaksRules.milestones
const rules: LoyaltyRules = {
  ...blakjaksRules,
  milestones: [
    ...(trip === undefined ? [] : [trip]),
    ...(crypto1k === undefined ? [] : [{ ...crypto1k, every: 2, minimumTier: 'standard' as const }]),
    ...(crypto100 === undefined ? [] : [{ ...crypto100, every: 1, minimumTier: 'standard' as const }]),
  ],
  unlocks: blakjaksRules.unlocks.map((unlock) => ({ ...unlock, tinsPerMonth: 0 })),
  payouts: { ...blakjaksRules.payouts, reviewAbove: 500n * USDT },
}

/** A server in this process, by those rules, with a clock that the test sets ahead. */
export async function startOperations(test: Test) {
  const site = await Deployment.create(test)
  let aheadMs = 0
  const now = () => Date.now() + aheadMs
  const settings = readSettings({
    ...unhurried,
    DATA_DIR: site.dataDirectory,
    PORT: '0',
    ADMIN_EMAIL: adminAccount.email,
    ADMIN_PASSWORD: adminAccount.password,
    PAYOUTS: 'local-evm',
    EMOTES: 'off',
    CHAIN_POLL_INTERVAL_MS: '100',
    CHAIN_CONFIRMATIONS: '3',
  })
  const { log } = recordingLog()
  const server = await startServer(settings, log, (error) => test.fail(error.message), {
    environment: {
      ...environment,
      now,
      wakeAt: (at, callback) => environment.wakeAt(at - aheadMs, callback),
    },
    program: createLoyaltyProgram('blakjaks', rules),
  })
  test.teardown(() => server.stop())
  const advance = (ms: number) => {
    aheadMs += ms
  }
  return { site, url: server.url, advance, now }
}

/** Sees the pools and payouts as an administrator does. */
export class Office {
  constructor(readonly admin: Client) {}

  async poolOf(name: string): Promise<Told> {
    const { body } = await this.admin.get('/v1/admin/treasury/pools')
    return body.pools.find(({ pool }: Told) => pool === name)
  }

  async payoutOf(id: string): Promise<Told> {
    return (await this.admin.get(`/v1/admin/treasury/payouts/${id}`)).body
  }

  /** The one comp of a member in this status, once there is one. */
  compOf(member: Member, status: string): Promise<Told> {
    return until(`a comp of ${member.account.email} is ${status}`, async () => {
      const { body } = await this.admin.get(`/v1/admin/comps?status=${status}&user_id=${member.user.id}`)
      return body.comps[0] as Told | undefined
    })
  }

  /** A node of the chain, as the server names it. */
  async nodeUrl(): Promise<string> {
    const { body } = await until('a node is known', async () => {
      const answer = await this.admin.get('/v1/admin/treasury/metrics')
      return answer.body.nodes?.[0]?.block_height && answer
    })
    return `http://${body.nodes[0].name}`
  }
}

export const chainOf = (url: string) =>
  createTestClient({ mode: 'anvil', transport: http(url), pollingInterval: 100 })
    .extend(publicActions)
    .extend(walletActions)
type Chain = ReturnType<typeof chainOf>

/**
 * A token that refuses a payee only when a transaction is mined, never when it is asked beforehand: in front of the real
 * one it reverts if gas is paid for and the first argument is that address. Returns how to lift it.
 */
export async function refuseWhenMined(chain: Chain, payee: Hex): Promise<() => Promise<void>> {
  const code = (await chain.getCode({ address: TEST_TOKEN })) ?? '0x'
  const implementation = getAddress(`0x${'c0'.repeat(20)}`)
  await chain.setCode({ address: implementation, bytecode: code })
  const bytecode = concat([
    '0x3a15602557', // no gas price: go on at 0x25
    concat(['0x60043573', payee, '0x1415602557']), // another payee: the same
    '0x5f5ffd',
    '0x5b365f5f375f5f365f73',
    implementation,
    '0x5af43d5f5f3e604f573d5ffd5b3d5ff3', // delegates, and answers as it is answered
  ])
  await chain.setCode({ address: TEST_TOKEN, bytecode })
  return () => chain.setCode({ address: TEST_TOKEN, bytecode: code })
}
