/** Transfers of the asset that somebody else signed, read from their bytes: a signature stands for its message. */
import { verify } from 'node:crypto'
import { getBase58Decoder, getBase58Encoder } from '@solana/kit'
import { AccountLayout, ASSOCIATED_TOKEN_PROGRAM_ID, TOKEN_PROGRAM_ID } from '@solana/spl-token'
import { type Connection, type PublicKey, SystemProgram, VersionedTransaction } from '@solana/web3.js'
import { type SignedTransfer, TRANSFER_AMOUNT_MAX } from '../../actors/withdrawal/transfer.js'
import { assert } from '../../engine/assert.js'
import { DomainError } from '../../engine/errors.js'
import type { OpenTransfer } from '../chain.js'
import { accountOf, type SolanaAsset } from './asset.js'
import { TRANSACTION_BYTES_MAX } from './broadcast.js'
import type { Endpoints } from './endpoints.js'
import { verifierOf } from './message.js'

const SIGNATURE_BYTES = 64
/** Blocks in which a transaction may use a blockhash. */
const BLOCKHASH_LIFE_BLOCKS = 150
/** Of instructions of the two programs, by their first byte or word. */
const TOKEN_TRANSFER = 3
const TOKEN_TRANSFER_CHECKED = 12
const SYSTEM_TRANSFER = 2
const SYSTEM_ADVANCE_NONCE = 4

/** An instruction with its accounts. */
interface Step {
  readonly program: PublicKey
  readonly keys: readonly PublicKey[]
  readonly data: Buffer
}

/** Where an instruction moves the asset. */
interface Move {
  readonly from: PublicKey
  /** The account that takes it. */
  readonly target: PublicKey
  readonly amount: bigint
}

/**
 * Throws `withdrawal_unreadable` unless it is signed and has one transfer of the asset, out of the account where payouts
 * go; `chain_unreachable` when no node tells how far the chain is.
 */
export async function readTransfer(endpoints: Endpoints, asset: SolanaAsset, raw: string): Promise<SignedTransfer> {
  const transaction = parsed(raw)
  const hash = verifiedHash(transaction)
  const { message } = transaction
  if (message.addressTableLookups.length > 0) throw unreadable('it takes accounts from a lookup table')
  const steps = stepsOf(transaction)
  const [first] = steps
  if (first?.program.equals(SystemProgram.programId) && wordOf(first.data) === SYSTEM_ADVANCE_NONCE) {
    throw unreadable('it uses a durable nonce instead of a blockhash')
  }
  const [move, ...others] = steps.flatMap((step) => moveOf(asset, step) ?? [])
  if (move === undefined || others.length > 0) throw unreadable('it must have one transfer of the asset')
  const { from, amount, target } = move
  const signers = message.staticAccountKeys.slice(0, message.header.numRequiredSignatures)
  if (!signers.some((key) => key.equals(from))) throw unreadable('the owner has not signed it')
  if (amount <= 0n || amount > TRANSFER_AMOUNT_MAX) throw unreadable(`it moves ${amount}`)
  const { height, owner } = await endpoints.first(async (connection) => ({
    height: await connection.getBlockHeight('confirmed'),
    owner: ownerNamed(steps, target) ?? (asset.mint === null ? target : await ownerOf(connection, target)),
  }))
  const lastValidBlockHeight = height + BLOCKHASH_LIFE_BLOCKS
  const validity = { kind: 'blockhash', blockhash: message.recentBlockhash, lastValidBlockHeight } as const
  const bytes = Buffer.from(transaction.serialize()).toString('base64')
  return { hash, raw: bytes, from: from.toBase58(), to: owner.toBase58(), amount, validity }
}

/** The transaction of that signature in base64, as any node shows it; null when none does. */
export async function findBytes(endpoints: Endpoints, hash: string): Promise<string | null> {
  const options = { commitment: 'confirmed', maxSupportedTransactionVersion: 0 } as const
  const { given, missing } = await endpoints.every((connection) => connection.getTransaction(hash, options))
  for (const { answer } of given) {
    if (answer === null || answer.transaction.signatures[0] !== hash) continue
    const { message, signatures } = answer.transaction
    const bytes = signatures.map((signature) => Uint8Array.from(getBase58Encoder().encode(signature)))
    return Buffer.from(new VersionedTransaction(message, bytes).serialize()).toString('base64')
  }
  if (given.length > 0) return null
  const said = missing.map(({ endpoint, error }) => `${endpoint.name}: ${error}`).join('; ')
  throw new DomainError('unavailable', 'chain_unreachable', `No node of the chain answers: ${said}.`)
}

/** As the observer knows payouts. */
export function tracedOf({ hash, raw, to, amount, validity }: SignedTransfer): OpenTransfer {
  assert(validity.kind === 'blockhash', `${hash} was signed for another kind of chain`)
  const { blockhash, lastValidBlockHeight } = validity
  const terms = { kind: 'solana', blockhash, lastValidBlockHeight } as const
  return { payoutId: hash, to, amount, nonce: null, signed: [{ hash, raw, terms }] }
}

export function isSignature(text: string): boolean {
  try {
    return getBase58Encoder().encode(text).length === SIGNATURE_BYTES
  } catch {
    return false
  }
}

function parsed(raw: string): VersionedTransaction {
  const bytes = Buffer.from(raw, 'base64')
  if (bytes.length > TRANSACTION_BYTES_MAX) throw unreadable(`it has more than ${TRANSACTION_BYTES_MAX} bytes`)
  try {
    return VersionedTransaction.deserialize(bytes)
  } catch {
    throw unreadable('it is no transaction in base64')
  }
}

/** Throws unless everybody who has to sign it did. */
function verifiedHash({ message, signatures }: VersionedTransaction): string {
  const bytes = message.serialize()
  const isSigned = signatures.every((signature, index) => {
    const key = message.staticAccountKeys[index]
    return key !== undefined && verify(null, bytes, verifierOf(key), signature)
  })
  const [first] = signatures
  if (!isSigned || first === undefined || signatures.length !== message.header.numRequiredSignatures) {
    throw unreadable('a signature is missing or does not fit')
  }
  return getBase58Decoder().decode(first)
}

function stepsOf({ message }: VersionedTransaction): readonly Step[] {
  const key = (index: number) => {
    const found = message.staticAccountKeys[index]
    if (found === undefined) throw unreadable('it names an account that it does not have')
    return found
  }
  return message.compiledInstructions.map(({ programIdIndex, accountKeyIndexes, data }) => ({
    program: key(programIdIndex),
    keys: accountKeyIndexes.map(key),
    data: Buffer.from(data),
  }))
}

/** Null for anything but a transfer of the asset. */
function moveOf(asset: SolanaAsset, { program, keys, data }: Step): Move | null {
  if (asset.mint === null) {
    const [from, target] = keys
    const isTransfer = program.equals(SystemProgram.programId) && wordOf(data) === SYSTEM_TRANSFER && data.length >= 12
    return isTransfer && from && target ? { from, target, amount: data.readBigUInt64LE(4) } : null
  }
  if (!program.equals(TOKEN_PROGRAM_ID) || data.length < 9) return null
  const isChecked = data[0] === TOKEN_TRANSFER_CHECKED
  if (!isChecked && data[0] !== TOKEN_TRANSFER) return null
  const [source, target, from] = isChecked ? [keys[0], keys[2], keys[3]] : keys
  if (!source || !target || !from || !accountOf(asset, from).equals(source)) return null
  return { from, target, amount: data.readBigUInt64LE(1) }
}

const wordOf = (data: Buffer) => (data.length < 4 ? null : data.readUInt32LE(0))

/** Whose account it is, when the same transaction makes it. */
function ownerNamed(steps: readonly Step[], account: PublicKey): PublicKey | undefined {
  return steps.find(({ program, keys }) => program.equals(ASSOCIATED_TOKEN_PROGRAM_ID) && keys[1]?.equals(account))
    ?.keys[2]
}

/** An account that is not there yet stands for itself. */
async function ownerOf(connection: Connection, account: PublicKey): Promise<PublicKey> {
  const found = await connection.getAccountInfo(account, 'confirmed')
  return found?.data.length === AccountLayout.span ? AccountLayout.decode(found.data).owner : account
}

const unreadable = (what: string) =>
  new DomainError('unprocessable', 'withdrawal_unreadable', `This is no signed transfer of the asset: ${what}.`)
