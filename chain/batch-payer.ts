/** What the payout pipeline needs of a chain that can pay many payees in one transaction, besides `ChainWallet`. */
import { assert } from '../engine/assert.js'
import type { Observation, SignedTransaction, Transfer } from './chain.js'

export type BatchPayment = Pick<Transfer, 'payoutId' | 'to' | 'amount'>

export type BatchAction =
  | { readonly kind: 'allow'; readonly amount: bigint }
  | { readonly kind: 'pay'; readonly payments: readonly BatchPayment[] }

/** What it takes to pay these, in this order: whatever is left of the last allowance, it is set anew. */
export function batchActions(payments: readonly BatchPayment[]): readonly [BatchAction, BatchAction, BatchAction] {
  assert(new Set(payments.map(({ payoutId }) => payoutId)).size === payments.length, 'a payout is in it twice')
  const sum = payments.reduce((total, { amount }) => total + amount, 0n)
  return [
    { kind: 'allow', amount: 0n },
    { kind: 'allow', amount: sum },
    { kind: 'pay', payments },
  ]
}

/** An action that was decided. */
export interface BatchStep {
  /** Names it towards the signer. */
  readonly id: string
  readonly nonce: number
  readonly action: BatchAction
}

export interface OpenBatchStep extends BatchStep {
  readonly signed: readonly SignedTransaction[]
}

/** `duplicate`: it was paid before, by an earlier batch. */
export type PayoutOutcome = 'paid' | 'failed' | 'duplicate'

export type BatchObservation =
  | Exclude<Observation, { kind: 'final' }>
  /** For good. Outcomes in the order of the payments; all are `failed` when the transaction was reverted. */
  | (Extract<Observation, { kind: 'final' }> & { readonly outcomes: readonly PayoutOutcome[] })

export interface BatchPayer {
  /** The address of the contract, in the one way it is written. */
  readonly contract: string
  /** Throws `wrong_batch_contract` when the contract is of another wallet or token, or none. */
  check(): Promise<void>
  /** Signs each for the first time. Never sends. Throws as `ChainWallet.sign` and `check` do. */
  sign(steps: readonly BatchStep[]): Promise<readonly SignedTransaction[]>
  /** Signs again at the same nonce. Throws `fee_cap_reached`. */
  replace(step: OpenBatchStep): Promise<SignedTransaction>
  /** What became of each. Never throws. */
  observe(steps: readonly OpenBatchStep[]): Promise<readonly BatchObservation[]>
}
