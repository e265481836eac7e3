/**
 * Pays many payees in one transaction, through the contract BatchPayout. A distribution is a few actions, each with a
 * nonce of its own: the contract is allowed to take the sum, then it pays. They may all be signed and sent at once.
 *
 * D1 An allowance is set to what its payments need, after it was set to 0, as Tether wants it.
 * D2 Each payout has its own outcome, and the contract pays an id only once. A payout that failed may be paid in another
 *    way: that needs every node, as a failed transfer does.
 *
 * To the signer an action is a request for the contract and the sum; it reads the payments from the bytes, where a payout
 * goes by `batchIdOf` its id.
 */
import { decodeEventLog, encodeFunctionData, getAddress, type Hex } from 'viem'
import { assert } from '../../engine/assert.js'
import { DomainError } from '../../engine/errors.js'
import type {
  BatchAction,
  BatchObservation,
  BatchPayer,
  BatchPayment,
  BatchStep,
  OpenBatchStep,
  PayoutOutcome,
} from '../batch-payer.js'
import type { SignedTransaction } from '../chain.js'
import type { Signer, WalletName } from '../signer/signer.js'
import { batchIdOf, batchPayoutAbi, tokenAbi } from './contracts.js'
import type { Endpoint } from './endpoint.js'
import type { Endpoints } from './endpoints.js'
import { defaultFeePolicy, type FeePolicy, firstFees, readMarket } from './fees.js'
import { resultOf } from './node-errors.js'
import { type Inquiry, observe } from './observe.js'
import { type Receipt, read } from './quantities.js'
import { type Paid, tokenTransferOf } from './receipts.js'
import { type PaymentTerms, replacementTerms, signTransactions, type UnsignedTransaction } from './transactions.js'

/** Of one transaction: with the gas below, two fit into a block of 30 million. */
export const PAYMENTS_PER_BATCH_MAX = 145
const GAS_PER_BATCH = 60_000n
/** A payment to a newcomer takes about 60,000. What is not used is not paid; too little would fail the last ones. */
const GAS_PER_PAYMENT = 100_000n
const GAS_PER_APPROVAL = 80_000n

export interface BatchPayerOptions {
  readonly endpoints: Endpoints
  readonly signer: Signer
  readonly name: WalletName
  /** The wallet: it owns the contract and holds the money. */
  readonly address: string
  readonly token: string
  readonly contract: string
  readonly fees?: FeePolicy
}

export class EvmBatchPayer implements BatchPayer {
  readonly contract: Hex
  readonly #wallet: Hex
  readonly #token: Hex
  readonly #policy: FeePolicy
  #checked = false

  constructor(private readonly options: BatchPayerOptions) {
    this.contract = getAddress(options.contract)
    this.#wallet = getAddress(options.address)
    this.#token = getAddress(options.token)
    this.#policy = options.fees ?? defaultFeePolicy(options.endpoints.chainId)
  }

  async check(): Promise<void> {
    if (!this.#checked) await this.options.endpoints.read((node) => this.#checkContract(node))
    this.#checked = true
  }

  /** Signs each for the first time. Never sends: the wallet's `broadcast` does. Throws `wrong_batch_contract`. */
  async sign(steps: readonly BatchStep[]): Promise<readonly SignedTransaction[]> {
    const { endpoints } = this.options
    await this.check()
    const fees = firstFees(await endpoints.read(readMarket), this.#policy)
    return this.#signed(steps.map((step) => [step, { ...fees, gas: gasOf(step.action) }]))
  }

  /** Signs again at the same nonce. Throws `fee_cap_reached`. */
  async replace(step: OpenBatchStep): Promise<SignedTransaction> {
    const market = await this.options.endpoints.read(readMarket)
    const [replacement] = await this.#signed([[step, replacementTerms(step.signed, market, this.#policy)]])
    assert(replacement !== undefined, 'the signer signed nothing')
    return replacement
  }

  /** What became of each. Never throws. */
  async observe(steps: readonly OpenBatchStep[]): Promise<readonly BatchObservation[]> {
    const seen = new Map<OpenBatchStep, readonly PayoutOutcome[]>()
    const paid = (receipt: Receipt, step: OpenBatchStep): Paid => {
      const outcomes = outcomesOf(receipt, step.action, this.contract)
      if (outcomes === null || !this.#hasMoved(receipt, step.action, outcomes)) return 'other'
      seen.set(step, outcomes)
      return receipt.status && !outcomes.includes('failed') ? 'yes' : 'no' // D2
    }
    const { endpoints } = this.options
    const inquiry: Inquiry<OpenBatchStep> = { endpoints, wallet: this.#wallet, token: this.#token, paid }
    const observations = await observe(inquiry, steps)
    return observations.map((observation, i) => {
      if (observation.kind !== 'final') return observation
      const step = steps[i]
      return { ...observation, outcomes: (step && seen.get(step)) ?? [] }
    })
  }

  /** What the contract says it paid has left the wallet, and nothing else: the token has its own word in that. */
  #hasMoved({ logs, status }: Receipt, action: BatchAction, outcomes: readonly PayoutOutcome[]): boolean {
    const paid = action.kind === 'allow' ? [] : action.payments.filter((_, i) => outcomes[i] === 'paid')
    const moved = logs
      .map((log) => tokenTransferOf(log, this.#token))
      .filter((transfer) => transfer !== null && transfer.from === this.#wallet)
    const isSame = paid.every(({ to, amount }, i) => moved[i]?.to === getAddress(to) && moved[i].amount === amount)
    return !status || (isSame && moved.length === paid.length)
  }

  /** A contract of another wallet or token would take the allowance and pay nobody, or with the wrong money. */
  async #checkContract(node: Endpoint): Promise<void> {
    const call = (functionName: 'owner' | 'token') => ({
      method: 'eth_call',
      params: [{ to: this.contract, data: encodeFunctionData({ abi: batchPayoutAbi, functionName }) }, 'latest'],
    })
    const answers = (await node.all([call('owner'), call('token')])).map((answer) => read.hex(resultOf(answer)))
    const right = [this.#wallet, this.#token].every((address, i) => BigInt(answers[i] || 0) === BigInt(address))
    if (right) return
    const message = `${this.contract} is no batch contract of ${this.#wallet} for ${this.#token}: deploy one, or correct the setting`
    throw new DomainError('invalid', 'wrong_batch_contract', message)
  }

  #signed(asked: readonly (readonly [BatchStep, PaymentTerms])[]): Promise<readonly SignedTransaction[]> {
    const requests = asked.map(([step, terms]) => ({
      payoutId: step.id,
      to: this.contract,
      amount: sumOf(step.action),
      transaction: this.#transaction(step, terms),
      ...(step.action.kind === 'pay' ? { payouts: step.action.payments.map(({ payoutId }) => payoutId) } : {}),
    }))
    return signTransactions(this.options, this.#wallet, requests)
  }

  #transaction({ nonce, action }: BatchStep, terms: PaymentTerms): UnsignedTransaction {
    const { chainId } = this.options.endpoints
    const common = { type: 'eip1559', chainId, nonce, value: 0n, ...terms } as const
    if (action.kind === 'pay') return { ...common, to: this.contract, data: payData(action.payments) }
    const args = [this.contract, action.amount] as const
    return { ...common, to: this.#token, data: encodeFunctionData({ abi: tokenAbi, functionName: 'approve', args }) }
  }
}

function payData(payments: readonly BatchPayment[]): Hex {
  assert(payments.length <= PAYMENTS_PER_BATCH_MAX, `a batch has at most ${PAYMENTS_PER_BATCH_MAX} payments`)
  const args = payments.map(({ payoutId, to, amount }) => ({ id: batchIdOf(payoutId), to: getAddress(to), amount }))
  return encodeFunctionData({ abi: batchPayoutAbi, functionName: 'pay', args: [args] })
}

const gasOf = (action: BatchAction): bigint =>
  action.kind === 'allow' ? GAS_PER_APPROVAL : GAS_PER_BATCH + GAS_PER_PAYMENT * BigInt(action.payments.length)

const sumOf = (action: BatchAction): bigint =>
  action.kind === 'allow' ? action.amount : action.payments.reduce((sum, { amount }) => sum + amount, 0n)

const outcomes: readonly PayoutOutcome[] = ['failed', 'paid', 'duplicate']

/** Of each payment; null when the events are not the ones of these payments. */
function outcomesOf(receipt: Receipt, action: BatchAction, contract: Hex): readonly PayoutOutcome[] | null {
  if (action.kind === 'allow') return []
  if (!receipt.status) return action.payments.map(() => 'failed')
  const told = receipt.logs.filter(({ address }) => address === contract).map(payoutEvent)
  if (told.length !== action.payments.length) return null
  const found = action.payments.map(({ payoutId, to, amount }, i) => {
    const event = told[i]
    const same = event?.id === batchIdOf(payoutId) && event.to === getAddress(to) && event.amount === amount
    return same ? outcomes[event.outcome] : undefined
  })
  return found.every((outcome) => outcome !== undefined) ? found : null
}

function payoutEvent({ topics: [topic, ...rest], data }: Receipt['logs'][number]) {
  if (topic === undefined) return null
  try {
    return decodeEventLog({ abi: batchPayoutAbi, eventName: 'Payout', topics: [topic, ...rest], data }).args
  } catch {
    return null
  }
}
