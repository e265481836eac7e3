// Members' own wallets on a real chain: the program on a shard whose journal is in memory, the tracker and the watch of
// deposits. The process can die between any two calls.
import assert from 'node:assert/strict'
import { depositSeen } from '../../actors/deposit/facts.js'
import { payeeAddressSet } from '../../actors/payout/facts.js'
import { blakjaksRules } from '../../actors/programs/blakjaks/rules.js'
import { createLoyaltyProgram } from '../../actors/programs/loyalty.js'
import { type WithdrawalReport, withdrawalIdOf } from '../../actors/withdrawal/commands.js'
import { withdrawalCompleted, withdrawalMoved } from '../../actors/withdrawal/facts.js'
import type { ChainWallet } from '../../chain/chain.js'
import { type AddressBook, Deposits } from '../../chain/payouts/deposits.js'
import { depositCoreOf, withdrawalCoreOf } from '../../chain/payouts/member-core-port.js'
import { Tracker } from '../../chain/payouts/tracker.js'
import type { Principal } from '../../engine/command.js'
import type { Fact } from '../../engine/fact.js'
import { unpackRecord } from '../../engine/record.js'
import { DAY, type Loyalty, startLoyalty, uuid } from './loyalty.js'
import { silent } from './signer.js'

const rules = { ...blakjaksRules, sessionMs: 1_000 * DAY }

export class WithdrawalWorld {
  tracker: Tracker
  deposits: Deposits
  /** Postgres has nothing that was decided after this many records. */
  postgresHas = Number.POSITIVE_INFINITY

  #members = 0

  private constructor(
    readonly chain: ChainWallet,
    public loyalty: Loyalty,
  ) {
    this.tracker = this.#newTracker()
    this.deposits = this.#newDeposits()
  }

  static async open(chain: ChainWallet): Promise<WithdrawalWorld> {
    return new WithdrawalWorld(chain, await startLoyalty({ program: createLoyaltyProgram('blakjaks', rules) }))
  }

  #newTracker(): Tracker {
    const { shard, program } = this.loyalty
    return new Tracker({ core: withdrawalCoreOf(shard, program), chain: this.chain, log: silent })
  }

  #newDeposits(): Deposits {
    const { shard, program } = this.loyalty
    const ours = new Set([this.chain.address])
    return new Deposits({ core: depositCoreOf(shard, program), chain: this.chain, addresses: this.#addresses(), ours })
  }

  #addresses(): AddressBook {
    return {
      mark: () => this.loyalty.shard.lastSeq,
      ownersOf: async (addresses, mark) => {
        if (this.postgresHas < mark) return null
        const set = this.facts(payeeAddressSet).filter(({ address }) => addresses.includes(address))
        return new Map(set.map(({ address, userId }) => [address, userId]))
      },
    }
  }

  /** The process dies, and another begins on what was durable. */
  async crash(): Promise<void> {
    const { shard, journal, clock } = this.loyalty
    shard.stop(new Error('the process died'))
    const at = new Date(clock.at).toISOString()
    const after = { journal: journal.afterCrash() }
    this.loyalty = await startLoyalty({ program: createLoyaltyProgram('blakjaks', rules), at, after })
    this.tracker = this.#newTracker()
    this.deposits = this.#newDeposits()
  }

  newMember(): Promise<Principal> {
    const number = ++this.#members
    const session = { sessionId: uuid('5e', number), device: 'mobile' as const }
    return this.loyalty.openMember({ userId: uuid('a', number), email: `m${number}@example.com`, session })
  }

  /** A member with a wallet of its own. */
  async member(address: string): Promise<Principal> {
    const who = await this.newMember()
    const { run, commands } = this.loyalty
    await run(commands.setPayeeAddress, { userId: who.userId, address, provider: 'external' }, who)
    return who
  }

  /** As the route does it before it sends the bytes. */
  async submit(who: Principal, raw: string) {
    const transfer = await this.chain.readSigned(raw)
    const { run, commands } = this.loyalty
    return run(commands.submitWithdrawal, { hash: transfer.hash, transfer }, who)
  }

  submitHash(who: Principal, hash: string) {
    const { run, commands } = this.loyalty
    return run(commands.submitWithdrawal, { hash, transfer: null }, who)
  }

  report(report: WithdrawalReport) {
    const { run, commands } = this.loyalty
    return run(commands.reportWithdrawals, { reports: [report] })
  }

  async stateOf(who: Principal, hash: string): Promise<string> {
    const { shard, queries } = this.loyalty
    const [view] = await shard.query(queries.withdrawals, { withdrawalIds: [withdrawalIdOf(hash, who.userId)] })
    const { state, because } = view ?? assert.fail(`there is no withdrawal ${hash}`)
    return because === null ? state : `${state}: ${because}`
  }

  get openCount(): number {
    return this.loyalty.program.openWithdrawals.size
  }

  /** Looks through all final blocks. */
  async watchAll(): Promise<void> {
    while (await this.deposits.watch());
  }

  /** Where each withdrawal has been, oldest first. */
  pathOf(hash: string): string {
    const moves = this.facts(withdrawalMoved).filter(({ withdrawalId }) => withdrawalId.startsWith(hash))
    return moves.map(({ state }) => state).join(' ')
  }

  completed(hash: string): number {
    return this.facts(withdrawalCompleted).filter((fact) => fact.hash === hash).length
  }

  seen() {
    return this.facts(depositSeen).map(({ userId, hash, from, amount }) => ({ userId, hash, from, amount }))
  }

  /** Of all lives, oldest first. */
  facts<This extends Fact>({ type }: { type: string; make: (fields: never) => This }): This[] {
    const { bodies } = this.loyalty.journal
    return bodies.flatMap((body) => unpackRecord(body).facts.filter((fact) => fact.type === type)) as This[]
  }
}
