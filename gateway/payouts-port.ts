/** What the routes ask of the chain. Every answer that cannot be had is a DomainError. Amounts are minor units. */
import type { Pool, ReconciliationStatus } from '../actors/treasury/facts.js'
import type { NodeHealth } from '../actors/wallet/node-health.js'
import type { SignedTransfer } from '../actors/withdrawal/transfer.js'
import { DomainError } from '../engine/errors.js'

/** A movement that its owner signs. */
export interface MemberTransfer {
  readonly chain: string
  readonly from: string
  readonly to: string
  readonly transaction: Readonly<Record<string, string | number>>
}

export interface Reconciled {
  readonly status: ReconciliationStatus
}

/** How the pipeline and the oversight of a pool are doing. */
export interface PipelineHealth {
  readonly pool: Pool
  readonly failuresInARow: number
  readonly lastError: string | null
}

export interface PayoutsPort {
  /** As in CAIP-2. */
  readonly chain: string
  readonly asset: { readonly symbol: string; readonly decimals: number }
  /** The address as it is written properly, or null when a pool cannot pay there. */
  payee(pool: Pool, text: string): string | null
  /** The same for a member's own wallet: none of ours is one. */
  memberAddress(text: string): string | null
  /** Whether the key of the address signed the text. */
  isSignedBy(address: string, text: string, signature: string): Promise<boolean>
  /** What it holds now. Throws `chain_unavailable`. */
  balanceOf(address: string): Promise<bigint>
  /** Of a pool; `gas` is in the chain's own coin. Throws `chain_unavailable`. */
  holdings(pool: Pool): Promise<{ readonly height: number; readonly asset: bigint; readonly gas: bigint }>
  /** Throws `insufficient_balance`, `transfer_refused`, `chain_unavailable`. */
  unsigned(from: string, to: string, amount: bigint): Promise<MemberTransfer>
  /** The hash as the chain writes it; null when it is none. */
  parseHash(text: string): string | null
  /** A transfer that a member has signed. Throws `withdrawal_unreadable`, `chain_unavailable`. */
  readSigned(raw: string): Promise<SignedTransfer>
  /** Offers signed bytes to the nodes; returns what they said if they refused them. */
  send(raw: string): Promise<string | null>
  /** Compares ledger and chain now. Throws `chain_unavailable`. */
  reconcile(pool: Pool): Promise<Reconciled>
  /** Every node that is configured. */
  nodes(): Promise<readonly NodeHealth[]>
  pipelines(): readonly PipelineHealth[]
}

/** Throws `payouts_off`. */
export function mustBeOn(payouts: PayoutsPort | null): PayoutsPort {
  if (payouts !== null) return payouts
  throw new DomainError(
    'unavailable',
    'payouts_off',
    'Payouts are off on this server (PAYOUTS=off): no chain is asked.',
  )
}

export const payoutsOff = { status: 503, code: 'payouts_off', when: 'Payouts are off on this server.' }
export const chainUnavailable = { status: 503, code: 'chain_unavailable', when: 'No node of the chain answers.' }
