/** The transactions of payouts: what they say, and what is read back from their bytes. */
import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { getBase58Decoder } from '@solana/kit'
import { createAssociatedTokenAccountIdempotentInstruction, createTransferCheckedInstruction } from '@solana/spl-token'
import { ComputeBudgetProgram, PublicKey, SystemProgram, Transaction, TransactionInstruction } from '@solana/web3.js'
import { assert } from '../../engine/assert.js'
import { MEMO_PROGRAM_ID, type SolanaAsset } from './asset.js'

/**
 * Compute units asked for. The newest token program takes some 700 for a transfer and the one before it 6,200; a memo
 * takes up to 20,000, and making a token account up to 40,000, as its address may take several tries to check.
 */
const UNITS_TRANSFER = 40_000
const UNITS_NEW_ACCOUNT = 60_000

export interface Payment {
  readonly from: PublicKey
  readonly to: PublicKey
  readonly amount: bigint
  /** The accounts that hold the asset of both. */
  readonly source: PublicKey
  readonly target: PublicKey
  /** Null for a payment that is no payout. */
  readonly memo: string | null
  /** Whether `target` is made by the same transaction. */
  readonly createsTarget: boolean
  /** In micro-lamports. */
  readonly unitPrice: bigint
  readonly blockhash: string
}

export function compose(asset: SolanaAsset, payment: Payment): Transaction {
  const { from, to, source, target, amount, memo, createsTarget, unitPrice, blockhash } = payment
  const transaction = new Transaction()
  transaction.feePayer = from
  transaction.recentBlockhash = blockhash
  const units = UNITS_TRANSFER + (createsTarget ? UNITS_NEW_ACCOUNT : 0)
  transaction.add(ComputeBudgetProgram.setComputeUnitLimit({ units }))
  transaction.add(ComputeBudgetProgram.setComputeUnitPrice({ microLamports: unitPrice }))
  if (memo !== null) {
    transaction.add(new TransactionInstruction({ programId: MEMO_PROGRAM_ID, keys: [], data: Buffer.from(memo) }))
  }
  if (asset.mint === null) {
    return transaction.add(SystemProgram.transfer({ fromPubkey: from, toPubkey: to, lamports: amount }))
  }
  if (createsTarget) {
    transaction.add(createAssociatedTokenAccountIdempotentInstruction(from, target, to, asset.mint))
  }
  return transaction.add(createTransferCheckedInstruction(source, asset.mint, target, from, amount, asset.decimals))
}

/** Before the message: the number of signatures, here one, and the signature. */
const SIGNATURE_START = 1
const MESSAGE_START = SIGNATURE_START + 64

/** For `verify` of node:crypto, which is far faster than the library of web3.js. */
export function verifierOf(wallet: PublicKey): KeyObject {
  const x = Buffer.from(wallet.toBytes()).toString('base64url')
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
}

/** The hash of what the signer returned. Throws unless it is our message, to the byte, signed by the wallet alone. */
export function hashOfSigned(raw: string, message: Buffer, verifier: KeyObject): string {
  const bytes = Buffer.from(raw, 'base64')
  assert(bytes[0] === 1, 'the signer signed for this wallet alone')
  assert(bytes.subarray(MESSAGE_START).equals(message), 'the signer signed the message that it was asked to sign')
  const signature = bytes.subarray(SIGNATURE_START, MESSAGE_START)
  assert(verify(null, message, verifier, signature), 'the signature of the signer fits the message')
  return getBase58Decoder().decode(signature)
}

export const publicKey = (address: string) => new PublicKey(address)
