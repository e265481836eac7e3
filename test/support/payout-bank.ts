// The payouts of one wallet without any chain: what the pipeline would report is told by hand.
import assert from 'node:assert/strict'
import type { Report } from '../../actors/payout/reports.js'
import { blakjaksRules } from '../../actors/programs/blakjaks/rules.js'
import { DAY, type Loyalty, USDT } from './loyalty.js'
import { type programOf, start, WALLET } from './payout-program.js'

const rules = { ...blakjaksRules, sessionMs: 1_000 * DAY }

export class Bank {
  #made = 0
  private constructor(
    readonly world: Loyalty,
    private readonly award: ReturnType<typeof programOf>['award'],
  ) {}

  static async open(over: Partial<typeof rules.payouts> = {}, at = '2026-02-10T00:00:00Z'): Promise<Bank> {
    const { loyalty, award } = await start({ ...rules, payouts: { ...rules.payouts, ...over } }, { at })
    const bank = new Bank(loyalty, award)
    const found = { chain: 'eip155:1', address: '0xa', nonce: 0, height: 10, onChain: 10_000_000n * USDT }
    await loyalty.run(loyalty.commands.bind, { wallet: WALLET, ...found })
    return bank
  }

  get commands() {
    return this.world.commands
  }

  /** A prize; each for somebody new unless told otherwise. */
  async owe(amount: bigint, userId = `winner-${this.#made}`): Promise<string> {
    const payoutId = `p${this.#made++}`
    const address = `to ${userId}`
    await this.world.run(this.commands.setPayeeAddress, { userId, address, provider: 'external' })
    await this.world.run(this.award, { payoutId, userId, amount })
    return payoutId
  }

  async owing(count: number, amount: bigint): Promise<string[]> {
    const made: string[] = []
    for (let each = 0; each < count; each++) made.push(await this.owe(amount))
    return made
  }

  async detail(payoutId: string) {
    const { shard, queries } = this.world
    return (await shard.query(queries.payoutDetail, { payoutId })) ?? assert.fail(`no payout ${payoutId}`)
  }

  async states(...payoutIds: readonly string[]): Promise<string> {
    const all = await Promise.all(payoutIds.map((id) => this.detail(id)))
    return all.map(({ state }) => state).join(' ')
  }

  async stand() {
    const [state] = await this.world.shard.query(this.world.queries.walletStates, {})
    return state ?? assert.fail('no wallet')
  }

  prepare(...payoutIds: readonly string[]) {
    return this.world.run(this.commands.prepare, { wallet: WALLET, payoutIds: [...payoutIds] })
  }

  tell(...reports: readonly Report[]) {
    return this.world.run(this.commands.tell, { reports: [...reports] })
  }

  async signed(payoutId: string, hash = `0x${payoutId}`): Promise<Report> {
    const { attempt, nonce, signed } = await this.detail(payoutId)
    const transferId = attempt === 1 ? payoutId : `${payoutId}#${attempt}`
    const terms = { kind: 'evm' as const, maxFeePerGas: 1n, maxPriorityFeePerGas: 1n, gas: 1n }
    const after = signed.at(-1)?.hash ?? null
    return { type: 'signed', payoutId, transferId, nonce, after, transaction: { hash, raw: '0x', terms } }
  }

  async sign(...payoutIds: readonly string[]): Promise<void> {
    for (const id of payoutIds) await this.tell(await this.signed(id))
  }

  final(payoutId: string, ok: boolean, height = 20): Report {
    return { type: 'final', payoutId, hash: `0x${payoutId}`, block: { height, hash: '0xb' }, ok, fee: 1n }
  }
}
