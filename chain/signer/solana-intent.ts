/**
 * Reads an unsigned Solana message, believes nothing but it, and signs it. Every instruction it may have is built here
 * from the policy and the request, and must be met to the byte.
 */
import { createHash } from 'node:crypto'
import {
  ASSOCIATED_TOKEN_PROGRAM_ID,
  createAssociatedTokenAccountIdempotentInstruction,
  createTransferCheckedInstruction,
  getAssociatedTokenAddressSync,
} from '@solana/spl-token'
import {
  ComputeBudgetInstruction,
  ComputeBudgetProgram,
  PublicKey,
  SystemProgram,
  TransactionInstruction,
  VersionedMessage,
} from '@solana/web3.js'
import type { SolanaKey } from '../keys/key-provider.js'
import { fingerprintOf, type Intent, refuse } from './intent.js'
import type { SolanaMint, SolanaWalletPolicy } from './policy.js'
import type { SigningRequest } from './signer.js'

const MESSAGE_BYTES_MAX = 1_232
const MEMO_PROGRAM = new PublicKey('MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr')
/** What a transaction may use when it does not say. */
const UNITS_DEFAULT_MAX = 1_400_000n
const MICRO = 1_000_000n

export interface SolanaIntent extends Intent {
  readonly nonce: null
  readonly message: Uint8Array
}

/** Throws `SignerRefused` unless it is the plain transfer that was asked for, within the policy. */
export function readSolanaIntent(request: SigningRequest, policy: SolanaWalletPolicy, wallet: PublicKey): SolanaIntent {
  const payee = payeeOf(request, policy, wallet)
  if (request.amount <= 0n) throw refuse('amount_wrong', request, `it pays ${request.amount}.`)
  const { bytes, message } = parse(request)
  if (message.addressTableLookups.length > 0) {
    throw refuse('lookup_table', request, 'it takes accounts from a lookup table, which the signer cannot see.')
  }
  const [feePayer] = message.staticAccountKeys
  if (message.header.numRequiredSignatures !== 1 || !feePayer?.equals(wallet)) {
    throw refuse('fee_payer_wrong', request, 'the wallet must pay its fee and be the only one to sign.')
  }
  checkInstructions(instructionsOf(message, request), allowed(request, policy, wallet, payee), request, policy)
  return {
    to: request.to,
    nonce: null,
    message: bytes,
    fingerprint: fingerprintOf(createHash('sha256').update(bytes).digest()),
  }
}

/** The transaction in base64. */
export async function signSolanaIntent({ message }: SolanaIntent, key: SolanaKey): Promise<string> {
  const signature = await key.signMessage(message)
  return Buffer.concat([Buffer.of(1), signature, message]).toString('base64')
}

function payeeOf(request: SigningRequest, policy: SolanaWalletPolicy, wallet: PublicKey): PublicKey {
  let payee: PublicKey
  try {
    payee = new PublicKey(request.to)
  } catch {
    throw refuse('payee_wrong', request, `${request.to} is no address.`)
  }
  if (payee.toBase58() !== request.to) throw refuse('payee_wrong', request, `${request.to} is no address in base58.`)
  const isSenseless = [PublicKey.default, wallet, policy.mint?.address].some((other) => other?.equals(payee))
  if (isSenseless) {
    throw refuse('payee_wrong', request, `${request.to} is no payee: it is zero, the token or the wallet itself.`)
  }
  return payee
}

/** The one way of writing it: what was read, written again, must give the same bytes. */
function parse(request: SigningRequest): { readonly bytes: Uint8Array; readonly message: VersionedMessage } {
  const bytes = Buffer.from(request.unsigned, 'base64')
  if (bytes.length > MESSAGE_BYTES_MAX || bytes.toString('base64') !== request.unsigned) {
    throw refuse('bytes_unreadable', request, 'it is no message in base64.')
  }
  try {
    const message = VersionedMessage.deserialize(bytes)
    if (bytes.equals(message.serialize())) return { bytes, message }
  } catch {
    // The same as one that is written in another way.
  }
  throw refuse('bytes_unreadable', request, 'it cannot be decoded as a message, or is written in an unusual way.')
}

function instructionsOf(message: VersionedMessage, request: SigningRequest): TransactionInstruction[] {
  const account = (index: number) => {
    const pubkey = message.staticAccountKeys[index]
    if (pubkey === undefined) throw refuse('bytes_unreadable', request, 'it names an account it does not have.')
    return pubkey
  }
  return message.compiledInstructions.map(
    ({ programIdIndex, accountKeyIndexes, data }) =>
      new TransactionInstruction({
        programId: account(programIdIndex),
        // Whether they are writable is for the program to judge; only the wallet signs.
        keys: accountKeyIndexes.map((index) => ({ pubkey: account(index), isSigner: index === 0, isWritable: true })),
        data: Buffer.from(data),
      }),
  )
}

interface Allowed {
  readonly transfer: TransactionInstruction
  readonly createAccount: TransactionInstruction | null
}

function allowed(
  { amount }: SigningRequest,
  { mint }: SolanaWalletPolicy,
  wallet: PublicKey,
  payee: PublicKey,
): Allowed {
  if (mint === null) {
    return {
      transfer: SystemProgram.transfer({ fromPubkey: wallet, toPubkey: payee, lamports: amount }),
      createAccount: null,
    }
  }
  const from = tokenAccount(mint, wallet)
  const to = tokenAccount(mint, payee)
  return {
    transfer: createTransferCheckedInstruction(from, mint.address, to, wallet, amount, mint.decimals, [], mint.program),
    createAccount: createAssociatedTokenAccountIdempotentInstruction(wallet, to, payee, mint.address, mint.program),
  }
}

/** Payees may be programs' accounts too, as multisigs are. */
const tokenAccount = (mint: SolanaMint, owner: PublicKey) =>
  getAssociatedTokenAddressSync(mint.address, owner, true, mint.program)

function checkInstructions(
  instructions: readonly TransactionInstruction[],
  { transfer, createAccount }: Allowed,
  request: SigningRequest,
  policy: SolanaWalletPolicy,
): void {
  const found = { transfer: 0, createAccount: 0, memo: 0, limit: 0, price: 0 }
  let units = UNITS_DEFAULT_MAX
  let microLamports = 0n
  for (const instruction of instructions) {
    if (isSame(instruction, transfer)) found.transfer += 1
    else if (createAccount !== null && isSame(instruction, createAccount)) found.createAccount += 1
    else if (instruction.programId.equals(MEMO_PROGRAM)) found.memo += checkMemo(instruction, request)
    else if (instruction.programId.equals(ComputeBudgetProgram.programId)) {
      const budget = readBudget(instruction, request)
      found[budget.kind] += 1
      if (budget.kind === 'limit') units = budget.value
      else microLamports = budget.value
    } else throw strange(instruction, transfer, createAccount, request)
  }
  if (found.transfer !== 1 || Object.values(found).some((count) => count > 1)) {
    throw refuse('no_plain_transfer', request, 'it must have one transfer, and nothing twice.')
  }
  if (found.memo !== 1) throw refuse('memo_wrong', request, 'the memo with the payout id is missing.')
  const fee = (units * microLamports + MICRO - 1n) / MICRO
  if (fee > policy.feeMax) {
    const most = `${fee} lamports for priority, and the policy allows ${policy.feeMax}`
    throw refuse('fee_too_high', request, `it pays ${most}. Wait for lower fees or raise fee_max.`)
  }
}

/** Returns 1, or throws. */
function checkMemo({ keys, data }: TransactionInstruction, request: SigningRequest): 1 {
  const isOurs = keys.length === 0 || (keys.length === 1 && keys[0]?.isSigner === true)
  if (isOurs && data.equals(Buffer.from(request.payoutId))) return 1
  throw refuse('memo_wrong', request, 'its memo is another than the payout id.')
}

function readBudget(
  instruction: TransactionInstruction,
  request: SigningRequest,
): { readonly kind: 'limit' | 'price'; readonly value: bigint } {
  try {
    const type = ComputeBudgetInstruction.decodeInstructionType(instruction)
    if (type === 'SetComputeUnitLimit') {
      const { units } = ComputeBudgetInstruction.decodeSetComputeUnitLimit(instruction)
      if (isSame(instruction, ComputeBudgetProgram.setComputeUnitLimit({ units }))) {
        return { kind: 'limit', value: BigInt(units) }
      }
    }
    if (type === 'SetComputeUnitPrice') {
      const { microLamports } = ComputeBudgetInstruction.decodeSetComputeUnitPrice(instruction)
      if (isSame(instruction, ComputeBudgetProgram.setComputeUnitPrice({ microLamports }))) {
        return { kind: 'price', value: BigInt(microLamports) }
      }
    }
  } catch {
    // Not one of the two.
  }
  throw refuse('no_plain_transfer', request, 'of the compute budget it may set the unit limit and price only.')
}

/** Why an instruction that is none of the allowed ones is refused, as exactly as it can be told. */
function strange(
  instruction: TransactionInstruction,
  transfer: TransactionInstruction,
  createAccount: TransactionInstruction | null,
  request: SigningRequest,
) {
  const { programId, data } = instruction
  const isTransfer = programId.equals(transfer.programId) && data[0] === transfer.data[0]
  if (isTransfer && !data.equals(transfer.data)) {
    return refuse('amount_wrong', request, `it transfers another amount than ${request.amount}, or in other decimals.`)
  }
  if (isTransfer) {
    const isOtherMint = createAccount !== null && !isSameKey(instruction, transfer, 1)
    if (isOtherMint) return refuse('asset_wrong', request, 'it transfers another token than the wallet pays in.')
    return refuse('payee_wrong', request, `it transfers from or to another account than that of ${request.to}.`)
  }
  if (createAccount !== null && programId.equals(ASSOCIATED_TOKEN_PROGRAM_ID)) {
    return refuse('payee_wrong', request, `it creates another account than that of ${request.to}.`)
  }
  return refuse('no_plain_transfer', request, `it calls ${programId.toBase58()}, and only a transfer is signed.`)
}

const isSameKey = (one: TransactionInstruction, other: TransactionInstruction, index: number) => {
  const key = other.keys[index]?.pubkey
  return key !== undefined && one.keys[index]?.pubkey.equals(key) === true
}

const isSame = (one: TransactionInstruction, other: TransactionInstruction) =>
  one.programId.equals(other.programId) &&
  one.keys.length === other.keys.length &&
  one.keys.every((_, index) => isSameKey(one, other, index)) &&
  one.data.equals(other.data)
