/** The methods of the local Solana node: those that web3.js 1.99 needs for payouts, with the answers of a real node. */
import { getBase58Decoder } from '@solana/kit'
import { AccountLayout } from '@solana/spl-token'
import { PublicKey, VersionedMessage, VersionedTransaction } from '@solana/web3.js'
import type { IncomingTransaction, SolanaChain } from './solana-chain.js'
import type { Controls } from './solana-controls.js'
import { describeError } from './solana-errors.js'
import { isTokenAccount, type LandedTransaction, type TokenBalance } from './solana-history.js'
import {
  bankSlot,
  config,
  INVALID_PARAMS,
  list,
  parseCommitment,
  RpcError,
  type RpcMethods,
  text,
  transactionOf,
} from './solana-params.js'
import { type Commitment, FIRST_SLOT } from './solana-slots.js'

const PREFLIGHT_FAILURE = -32002
const SIGNATURE_FAILURE = -32003
const BLOCK_NOT_AVAILABLE = -32004
const SLOT_SKIPPED = -32007
const SIGNATURES_MAX = 256
const ACCOUNTS_MAX = 100
const SIGNATURES_PAGE_MAX = 1000
/** Slots for which a status is known without searching the history. */
const RECENT_STATUS_SLOTS = 150
const PRIORITY_FEE_SLOTS = 150

export function rpcMethods(chain: SolanaChain, controls: Controls): RpcMethods {
  return {
    ...clusterMethods(chain, controls),
    ...accountMethods(chain),
    ...historyMethods(chain, controls),
    ...sendMethods(chain, controls),
  }
}

function clusterMethods(chain: SolanaChain, controls: Controls): RpcMethods {
  const { slots } = chain
  return {
    getHealth: () => 'ok',
    getVersion: () => ({ 'solana-core': '3.0.0', 'feature-set': 0 }),
    getGenesisHash: () => slots.genesisHash,
    getSlot: (params) => bankSlot(chain, config(params, 0)),
    getBlockHeight: (params) => slots.heightOf(bankSlot(chain, config(params, 0))),
    getFirstAvailableBlock: () => chain.firstAvailable,
    minimumLedgerSlot: () => chain.firstAvailable,
    getEpochInfo(params) {
      const slot = bankSlot(chain, config(params, 0))
      const slotIndex = slot - FIRST_SLOT
      return {
        absoluteSlot: slot,
        blockHeight: slots.heightOf(slot),
        epoch: 0,
        slotIndex,
        slotsInEpoch: 432_000,
      }
    },
    getLatestBlockhash(params) {
      const slot = bankSlot(chain, config(params, 0))
      return inContext(slot, { blockhash: slots.hashOf(slot), lastValidBlockHeight: slots.lastValidBlockHeight(slot) })
    },
    isBlockhashValid(params) {
      const { commitment } = config(params, 1)
      return inContext(bankSlot(chain, config(params, 1)), slots.accepts(text(params, 0), parseCommitment(commitment)))
    },
    getRecentPrioritizationFees() {
      const newest = slots.current
      return Array.from({ length: PRIORITY_FEE_SLOTS }, (_, index) => ({
        slot: newest - PRIORITY_FEE_SLOTS + 1 + index,
        prioritizationFee: controls.prioritizationFee,
      }))
    },
    getMinimumBalanceForRentExemption: (params) => chain.rent(Number(params[0])),
    getFeeForMessage(params) {
      const message = VersionedMessage.deserialize(Buffer.from(text(params, 0), 'base64'))
      return inContext(bankSlot(chain, config(params, 1)), 5000 * message.header.numRequiredSignatures)
    },
  }
}

function accountMethods(chain: SolanaChain): RpcMethods {
  const shown = (key: string, slot: number) => {
    const account = chain.account(key, slot)
    if (!account) return null
    const { lamports, programAddress, data, executable } = account
    return {
      lamports: Number(lamports),
      owner: programAddress,
      data: [Buffer.from(data).toString('base64'), 'base64'],
      executable,
      rentEpoch: 0,
      space: data.length,
    }
  }
  return {
    getAccountInfo(params) {
      const slot = bankSlot(chain, config(params, 1))
      return inContext(slot, shown(text(params, 0), slot))
    },
    getMultipleAccounts(params) {
      const slot = bankSlot(chain, config(params, 1))
      return inContext(
        slot,
        list(params, 0, ACCOUNTS_MAX).map((key) => shown(key, slot)),
      )
    },
    getBalance(params) {
      const slot = bankSlot(chain, config(params, 1))
      return inContext(slot, Number(chain.account(text(params, 0), slot)?.lamports ?? 0n))
    },
    getTokenAccountBalance(params) {
      const slot = bankSlot(chain, config(params, 1))
      const account = chain.account(text(params, 0), slot)
      if (!account || !isTokenAccount(account))
        throw new RpcError(INVALID_PARAMS, 'Invalid param: could not find account')
      const { amount, mint } = AccountLayout.decode(Uint8Array.from(account.data))
      const decimals = chain.account(new PublicKey(mint).toBase58(), slot)?.data[44] ?? 0
      return inContext(slot, tokenAmount(amount.toString(), decimals))
    },
  }
}

function historyMethods(chain: SolanaChain, controls: Controls): RpcMethods {
  const { slots } = chain
  const known = (signature: string) => (controls.isHistoryHidden ? undefined : chain.landed(signature))
  const status = (signature: string, isSearched: boolean) => {
    const transaction = known(signature)
    const isRecent = transaction && transaction.slot > slots.current - RECENT_STATUS_SLOTS
    if (!transaction || !(isSearched || isRecent)) return null
    const { slot, error } = transaction
    const isFinal = slot <= slots.at('finalized')
    const confirmationStatus = isFinal ? 'finalized' : slot <= slots.at('confirmed') ? 'confirmed' : 'processed'
    const confirmations = isFinal ? null : slots.heightOf(slots.current) - slots.heightOf(slot)
    return { slot, confirmations, err: error, status: error ? { Err: error } : { Ok: null }, confirmationStatus }
  }
  return {
    getSignatureStatuses(params) {
      const isSearched = config(params, 1).searchTransactionHistory === true
      return inContext(
        slots.current,
        list(params, 0, SIGNATURES_MAX).map((signature) => status(signature, isSearched)),
      )
    },
    getSignaturesForAddress(params) {
      const options = config(params, 1)
      const bank = bankSlot(chain, options)
      const limit = Math.min(Number(options.limit ?? SIGNATURES_PAGE_MAX), SIGNATURES_PAGE_MAX)
      const key = text(params, 0)
      const all = controls.isHistoryHidden ? [] : [...chain.history]
      const mine = all.filter(({ keys, slot }) => slot <= bank && keys.includes(key)).reverse()
      const start = mine.findIndex(({ signature }) => signature === options.before) + 1
      const end = mine.findIndex(({ signature }) => signature === options.until)
      return mine
        .slice(start, end === -1 ? undefined : end)
        .slice(0, limit)
        .map(({ signature, slot, error, blockTime }) => ({
          signature,
          slot,
          err: error,
          memo: null,
          blockTime,
          confirmationStatus: slot <= slots.at('finalized') ? 'finalized' : 'confirmed',
        }))
    },
    getTransaction(params) {
      const transaction = known(text(params, 0))
      const isThere = transaction && transaction.slot <= bankSlot(chain, config(params, 1))
      return isThere ? transactionShown(transaction) : null
    },
    getBlock(params) {
      const slot = Number(params[0])
      const details = config(params, 1).transactionDetails
      if (slots.isSkipped(slot))
        throw new RpcError(SLOT_SKIPPED, `Slot ${slot} was skipped, or missing due to ledger jump`)
      if (slot > bankSlot(chain, config(params, 1)) || slot < chain.firstAvailable) {
        throw new RpcError(BLOCK_NOT_AVAILABLE, `Block not available for slot ${slot}`)
      }
      const transactions = [...chain.history].filter((transaction) => transaction.slot === slot)
      return {
        blockhash: slots.hashOf(slot),
        previousBlockhash: slots.hashOf(slot - 1),
        parentSlot: slot - 1,
        blockHeight: slots.heightOf(slot),
        blockTime: transactions[0]?.blockTime ?? null,
        ...(details === 'signatures' ? { signatures: transactions.map(({ signature }) => signature) } : {}),
        ...(details === 'full' ? { transactions: transactions.map(transactionShown) } : {}),
      }
    },
  }
}

function sendMethods(chain: SolanaChain, controls: Controls): RpcMethods {
  return {
    simulateTransaction(params) {
      const options = config(params, 1)
      const { error, logs, unitsConsumed } = chain.simulate(transactionOf(params), parseCommitment(options.commitment))
      return inContext(bankSlot(chain, options), { err: error, logs, accounts: null, unitsConsumed, returnData: null })
    },
    sendTransaction(params) {
      const sent = transactionOf(params)
      const options = config(params, 1)
      if (options.skipPreflight !== true) preflight(chain, sent, parseCommitment(options.preflightCommitment))
      if (controls.dropsLeft > 0) controls.dropsLeft -= 1
      else chain.execute(sent)
      return sent.signature
    },
  }
}

function preflight(chain: SolanaChain, sent: IncomingTransaction, commitment: Commitment): void {
  const { error, logs, unitsConsumed } = chain.simulate(sent, commitment)
  if (error === 'SignatureFailure') throw new RpcError(SIGNATURE_FAILURE, 'Transaction signature verification failure')
  if (!error) return
  const message = `Transaction simulation failed: ${describeError(error)}`
  throw new RpcError(PREFLIGHT_FAILURE, message, { err: error, logs, accounts: null, unitsConsumed, returnData: null })
}

function transactionShown(transaction: LandedTransaction) {
  const { message, signatures, version } = VersionedTransaction.deserialize(transaction.wire)
  const base58 = getBase58Decoder()
  return {
    slot: transaction.slot,
    blockTime: transaction.blockTime,
    version,
    transaction: {
      signatures: signatures.map((signature) => base58.decode(signature)),
      message: {
        accountKeys: transaction.keys,
        header: message.header,
        recentBlockhash: message.recentBlockhash,
        instructions: message.compiledInstructions.map(({ programIdIndex, accountKeyIndexes, data }) => ({
          programIdIndex,
          accounts: [...accountKeyIndexes],
          data: base58.decode(data),
        })),
        ...(version === 0 ? { addressTableLookups: [] } : {}),
      },
    },
    meta: {
      err: transaction.error,
      status: transaction.error ? { Err: transaction.error } : { Ok: null },
      fee: transaction.fee,
      preBalances: transaction.lamportsBefore,
      postBalances: transaction.lamportsAfter,
      preTokenBalances: transaction.tokensBefore.map(tokenBalanceShown),
      postTokenBalances: transaction.tokensAfter.map(tokenBalanceShown),
      innerInstructions: null,
      logMessages: transaction.logs,
      computeUnitsConsumed: transaction.unitsConsumed,
      loadedAddresses: { writable: [], readonly: [] },
    },
  }
}

const tokenBalanceShown = ({ accountIndex, mint, owner, amount, decimals }: TokenBalance) => ({
  accountIndex,
  mint,
  owner,
  uiTokenAmount: tokenAmount(amount, decimals),
})

const tokenAmount = (amount: string, decimals: number) => {
  const digits = amount.padStart(decimals + 1, '0')
  const point = digits.length - decimals
  const uiAmountString = decimals === 0 ? digits : `${digits.slice(0, point)}.${digits.slice(point)}`
  return { amount, decimals, uiAmount: null, uiAmountString }
}

const inContext = (slot: number, value: unknown) => ({ context: { slot, apiVersion: '3.0.0' }, value })
