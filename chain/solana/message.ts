/** The transactions of payouts: what they say, and what is read back from their bytes. */
import { getBase58Decoder } from '@solana/kit'
import { createAssociatedTokenAccountIdempotentInstruction, createTransferCheckedInstruction } from '@solana/spl-token'
import {
  ComputeBudgetProgram,
  PublicKey,
  SystemProgram,
  Transaction,
  TransactionInstruction,
  VersionedTransaction,
} from '@solana/web3.js'
import { assert } from '../../engine/assert.js'
import { DomainError } from '../../engine/errors.js'
import { accountOf, MEMO_PROGRAM_ID, type SolanaAsset } from './asset.js'

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
  /** Null for a payment that is no payout. */
  readonly memo: string | null
  /** Whether the payee's token account is made by the same transaction. */
  readonly createsAccount: boolean
  /** In micro-lamports. */
  readonly unitPrice: bigint
  readonly blockhash: string
}

export function compose(asset: SolanaAsset, payment: Payment): Transaction {
  const { from, to, amount, memo, createsAccount, unitPrice, blockhash } = payment
  const transaction = new Transaction()
  transaction.feePayer = from
  transaction.recentBlockhash = blockhash
  const units = UNITS_TRANSFER + (createsAccount ? UNITS_NEW_ACCOUNT : 0)
  transaction.add(ComputeBudgetProgram.setComputeUnitLimit({ units }))
  transaction.add(ComputeBudgetProgram.setComputeUnitPrice({ microLamports: unitPrice }))
  if (memo !== null) {
    transaction.add(new TransactionInstruction({ programId: MEMO_PROGRAM_ID, keys: [], data: Buffer.from(memo) }))
  }
  if (asset.mint === null) {
    return transaction.add(SystemProgram.transfer({ fromPubkey: from, toPubkey: to, lamports: amount }))
  }
  const source = accountOf(asset, from)
  const target = accountOf(asset, to)
  if (createsAccount) {
    transaction.add(createAssociatedTokenAccountIdempotentInstruction(from, target, to, asset.mint))
  }
  return transaction.add(createTransferCheckedInstruction(source, asset.mint, target, from, amount, asset.decimals))
}

/** The hash of what the signer returned. Throws unless it is our message, signed by our wallet and nothing else. */
export function hashOfSigned(raw: string, message: Buffer, wallet: PublicKey): string {
  const { signatures, serialized } = read(raw)
  const signed = Transaction.from(serialized)
  assert(signed.serializeMessage().equals(message), 'the signer signed the message that it was asked to sign')
  assert(signed.feePayer?.equals(wallet) && signatures.length === 1, 'the signer signed for this wallet alone')
  assert(signed.verifySignatures(), 'the signature of the signer fits the message')
  return hashOf(signatures)
}

/** The hash of a transaction that somebody else signed. Throws `transaction_wrong`. */
export function hashOfForeign(raw: string): string {
  const wrong = (why: string) =>
    new DomainError('unprocessable', 'transaction_wrong', `${why}. Sign the transaction that was prepared, unchanged.`)
  let signed: ReturnType<typeof read>
  let isVerified: boolean
  try {
    signed = read(raw)
    isVerified = Transaction.from(signed.serialized).verifySignatures()
  } catch {
    throw wrong('This is no Solana transaction in base64')
  }
  if (!isVerified) throw wrong('A signature is missing or does not fit')
  return hashOf(signed.signatures)
}

function read(raw: string) {
  const serialized = Buffer.from(raw, 'base64')
  return { serialized, signatures: VersionedTransaction.deserialize(serialized).signatures }
}

function hashOf(signatures: readonly Uint8Array[]): string {
  const [first] = signatures
  assert(first, 'a transaction has a signature')
  return getBase58Decoder().decode(first)
}

export const publicKey = (address: string) => new PublicKey(address)
