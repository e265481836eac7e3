/** The transactions that pay: how they are made, and what the signer gave back is what was asked for. */
import {
  encodeFunctionData,
  getAddress,
  type Hex,
  isHex,
  keccak256,
  parseTransaction,
  recoverTransactionAddress,
  serializeTransaction,
  type TransactionSerializableEIP1559,
  type TransactionSerialized,
} from 'viem'
import { assert } from '../../engine/assert.js'
import { DomainError } from '../../engine/errors.js'
import type { SignedTransaction, Transfer } from '../chain.js'
import type { Signer, SigningRequest, WalletName } from '../signer/signer.js'
import { tokenAbi } from './contracts.js'
import { type FeePolicy, type Fees, type Market, replacementFees } from './fees.js'

export type UnsignedTransaction = TransactionSerializableEIP1559

export interface PaymentTerms extends Fees {
  readonly gas: bigint
}

/** The data of a call that transfers the token. */
export const transferData = (to: string, amount: bigint): Hex =>
  encodeFunctionData({ abi: tokenAbi, functionName: 'transfer', args: [getAddress(to), amount] })

export function unsignedTransfer(
  chainId: number,
  token: Hex,
  { payoutId, to, amount, nonce }: Transfer,
  { gas, maxFeePerGas, maxPriorityFeePerGas }: PaymentTerms,
): UnsignedTransaction {
  assert(nonce !== null && nonce >= 0, `payout ${payoutId} has no nonce`)
  return {
    type: 'eip1559',
    chainId,
    nonce,
    to: token,
    data: transferData(to, amount),
    value: 0n,
    gas,
    maxFeePerGas,
    maxPriorityFeePerGas,
  }
}

/** What replaces everything signed before: an eighth dearer, and else the same. Throws `fee_cap_reached`. */
export function replacementTerms(
  before: readonly SignedTransaction[],
  market: Market,
  policy: FeePolicy,
): PaymentTerms {
  const terms = before.map((transaction) => {
    assert(transaction.terms.kind === 'evm', `${transaction.hash} was signed for another kind of chain`)
    return transaction.terms
  })
  assert(terms.length > 0, 'nothing was signed yet, so there is nothing to replace')
  const gas = terms.reduce((most, { gas }) => (gas > most ? gas : most), 0n)
  return { ...replacementFees(terms, market, policy), gas }
}

/** Has transactions signed, and gives back only what was asked for. Throws `signer_mismatch`. */
export async function signTransactions(
  { signer, name }: { readonly signer: Signer; readonly name: WalletName },
  from: Hex,
  asked: readonly (Omit<SigningRequest, 'wallet' | 'unsigned'> & {
    readonly transaction: UnsignedTransaction
  })[],
): Promise<readonly SignedTransaction[]> {
  const raw = await signer.sign(
    asked.map(({ payoutId, to, amount, payouts, transaction }) => ({
      wallet: name,
      payoutId,
      to,
      amount,
      payouts,
      unsigned: serializeTransaction(transaction),
    })),
  )
  return Promise.all(asked.map(({ transaction }, i) => verified(raw[i] ?? '', transaction, from)))
}

/** Throws `signer_mismatch` unless `raw` is exactly `asked`, signed by `from`: what was not asked for is never sent. */
async function verified(raw: string, asked: UnsignedTransaction, from: Hex): Promise<SignedTransaction> {
  if (!isHex(raw) || !raw.startsWith('0x02')) throw mismatch('it is no EIP-1559 transaction')
  const serialized = raw.toLowerCase() as TransactionSerialized<'eip1559'>
  const { r, s, yParity, v, ...content } = parsed(serialized)
  if (serializeTransaction(content) !== serializeTransaction(asked)) throw mismatch('its content is another')
  const signedBy = await recoverTransactionAddress({ serializedTransaction: serialized })
  if (signedBy !== from) throw mismatch(`it is signed by ${signedBy}, not ${from}`)
  const { maxFeePerGas = 0n, maxPriorityFeePerGas = 0n, gas = 0n } = asked
  return {
    hash: keccak256(serialized),
    raw: serialized,
    terms: { kind: 'evm', maxFeePerGas, maxPriorityFeePerGas, gas },
  }
}

function parsed(serialized: TransactionSerialized<'eip1559'>) {
  try {
    return parseTransaction(serialized)
  } catch {
    throw mismatch('it cannot be read')
  }
}

const mismatch = (what: string) =>
  new DomainError('unavailable', 'signer_mismatch', `The signer gave back what it was not asked for: ${what}. Stop it.`)
