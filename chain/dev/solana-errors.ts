/** What litesvm says of a transaction, in the words of a node. litesvm has no other access to them than its text. */
import type { FailedTransactionMetadata, TransactionMetadata } from 'litesvm'
import { assert } from '../../engine/assert.js'

/** As JSON-RPC shows it: `'AlreadyProcessed'`, `{InstructionError: [4, {Custom: 1}]}`. */
export type TransactionError = string | { readonly [kind: string]: unknown }

export function transactionError(failed: FailedTransactionMetadata): TransactionError {
  const text = /\{ err: (.*?), meta: TransactionMetadata/s.exec(failed.toString())?.[1]
  assert(text, 'litesvm names the error of a failed transaction')
  const instruction = /^InstructionError\((\d+), (\w+)(?:\((.*)\))?\)$/s.exec(text)
  if (instruction) {
    const [, index, name, detail] = instruction
    return { InstructionError: [Number(index), name === 'Custom' ? { Custom: Number(detail) } : name] }
  }
  const withAccount = /^(\w+) \{ account_index: (\d+) \}$/.exec(text)
  if (withAccount) return { [String(withAccount[1])]: { account_index: Number(withAccount[2]) } }
  const withNumber = /^(\w+)\((\d+)\)$/.exec(text)
  return withNumber ? { [String(withNumber[1])]: Number(withNumber[2]) } : text
}

/** In lamports. */
export function feeOf(result: FailedTransactionMetadata | TransactionMetadata): number {
  const fees = [...result.toString().matchAll(/, fee: (\d+) \}/g)]
  const fee = fees.at(-1)?.[1]
  assert(fee !== undefined, 'litesvm names the fee of a transaction')
  return Number(fee)
}

/** The sentence a node puts before the error; some clients look at it. */
export function describeError(error: TransactionError): string {
  const sentence = typeof error === 'string' ? SENTENCES[error] : undefined
  return sentence ?? `Error processing transaction: ${JSON.stringify(error)}`
}

const SENTENCES: Readonly<Record<string, string>> = {
  AlreadyProcessed: 'This transaction has already been processed',
  BlockhashNotFound: 'Blockhash not found',
  AccountNotFound: 'Attempt to debit an account but found no record of a prior credit.',
  InsufficientFundsForFee: 'Insufficient funds for fee',
  SignatureFailure: 'Transaction did not pass signature verification',
}
