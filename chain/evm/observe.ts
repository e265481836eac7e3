/**
 * What became of payouts (S3), judged at one height per round, in few batched calls:
 *
 * 1. every node: its height; then the final block and the nonces of the wallet, at the same heights for all;
 * 2. the first node: for nonces used, the receipts of everything signed; for others, whether it knows the transactions;
 * 3. the first node: whether the blocks of the receipts are still the ones at their heights;
 * 4. the other nodes: whether they say the same of what would be final, and whether they know what the first does not.
 *
 * O1 `final` and `lost` are said only when no node that answers says otherwise; who differs is reported.
 * O2 `lost`, and `final` of a payout that failed, let it be paid again: they need every node that is configured.
 * O3 `lost` needs the other transaction that used the nonce, seen in a final block. That there is no receipt is no proof:
 *    a node may have lost its index.
 */
import type { Hex } from 'viem'
import { assert } from '../../engine/assert.js'
import type { Observation, SignedTransaction } from '../chain.js'
import { type Confirmation, confirmAbsence, confirmReceipt } from './confirm.js'
import type { Endpoints, Round, Witness } from './endpoints.js'
import type { Answer, Call } from './json-rpc.js'
import { NodeError, NodeSilent, resultOf } from './node-errors.js'
import { type NonceUser, nonceUser } from './nonce-user.js'
import { type Receipt, read, toQuantity } from './quantities.js'
import { feeOf, type Paid } from './receipts.js'

/** The wallet whose nonces are looked at. */
export interface Scope {
  readonly endpoints: Endpoints
  readonly wallet: Hex
  readonly token: Hex
}

/** Something with a nonce that was signed, perhaps several times. */
export interface Signed {
  readonly nonce: number | null
  readonly signed: readonly Pick<SignedTransaction, 'hash'>[]
}

/** What is asked, of whom. */
export interface Inquiry<T extends Signed> extends Scope {
  /** What a receipt says of it. */
  readonly paid: (receipt: Receipt, transfer: T) => Paid
}

interface Nonces {
  readonly mined: number
  readonly final: number
}

/** What the first node says of one transfer. */
type Look =
  | { readonly kind: 'settled'; readonly observation: Observation }
  /** Mined in a block that is final, if the other nodes agree. */
  | { readonly kind: 'final'; readonly receipt: Receipt }
  /** It has nothing of it. `nonce` tells whether that can still change. */
  | { readonly kind: 'absent'; readonly nonce: 'free' | 'used' | 'used_for_good' }

/** Never throws: what cannot be found out is `unknown`. */
export async function observe<T extends Signed>(
  scope: Inquiry<T>,
  transfers: readonly T[],
): Promise<readonly Observation[]> {
  if (transfers.length === 0) return []
  for (const transfer of transfers) nonceOf(transfer)
  let failure: unknown
  // A node that fails in the middle of a round rests then, and another one is the first.
  for (let attempt = 0; attempt < scope.endpoints.count; attempt += 1) {
    try {
      return await observeOnce(scope, transfers)
    } catch (error) {
      failure = error
    }
  }
  const message = failure instanceof Error ? failure.message : String(failure)
  return transfers.map(() => unknown(message))
}

async function observeOnce<T extends Signed>(
  scope: Inquiry<T>,
  transfers: readonly T[],
): Promise<readonly Observation[]> {
  const { round, nonces } = await roundWithNonces(scope)
  try {
    return await observeIn(scope, round, nonces, transfers)
  } catch (error) {
    round.witnesses[0].endpoint.fail(error instanceof Error ? error.message : String(error))
    throw error
  }
}

async function observeIn<T extends Signed>(
  scope: Inquiry<T>,
  round: Round,
  nonces: Nonces,
  transfers: readonly T[],
): Promise<readonly Observation[]> {
  const looks = await lookAtFirst(scope, round, nonces, transfers)
  const asked = transfers.flatMap((transfer, i) => {
    const look = looks[i]
    return look === undefined || look.kind === 'settled' ? [] : [{ transfer, look }]
  })
  const confirmations = await askOthers(round, asked)
  const judged = new Map<T, Observation>()
  for (const [i, { transfer, look }] of asked.entries()) {
    judged.set(transfer, await judge(scope, round, transfer, look, confirmations[i] ?? []))
  }
  return transfers.map((transfer, i) => {
    const look = looks[i]
    return look?.kind === 'settled' ? look.observation : (judged.get(transfer) ?? unknown('it was not looked at'))
  })
}

/** The nonces of the wallet at the newest and the final height of a round. */
export async function roundWithNonces({ endpoints, wallet }: Scope): Promise<{ round: Round; nonces: Nonces }> {
  const count = (height: number): Call => ({
    method: 'eth_getTransactionCount',
    params: [wallet, toQuantity(height)],
  })
  const round = await endpoints.round((newest, final) => [count(newest), count(final)])
  const [first, ...others] = round.witnesses
  const nonces = noncesOf(first)
  const differing = others.find(({ answers }) => answers[1]?.kind === 'result' && countIn(answers[1]) !== nonces.final)
  if (differing === undefined || !round.agreed) return { round, nonces }
  const message = `at block ${round.final} ${first.endpoint.name} has nonce ${nonces.final} for ${wallet}, ${differing.endpoint.name} another`
  endpoints.disagree({ about: 'nonce', message })
  return { round: { ...round, agreed: false }, nonces }
}

function noncesOf({ endpoint, answers }: Witness): Nonces {
  try {
    return { mined: countIn(answers[0]), final: countIn(answers[1]) }
  } catch (error) {
    endpoint.fail(error instanceof Error ? error.message : String(error))
    throw error
  }
}

const countIn = (answer: Answer | undefined) => read.number(resultOf(answer))

/** Steps 2 and 3. */
async function lookAtFirst<T extends Signed>(
  scope: Inquiry<T>,
  round: Round,
  nonces: Nonces,
  transfers: readonly T[],
): Promise<readonly Look[]> {
  const { endpoint } = round.witnesses[0]
  const used = (transfer: T) => nonceOf(transfer) < nonces.mined
  const answers = await endpoint.all(
    transfers.flatMap((transfer) =>
      transfer.signed.map(({ hash }) => (used(transfer) ? receiptCall(hash) : transactionCall(hash))),
    ),
  )
  let position = 0
  const found = transfers.map((transfer) => {
    const own = answers.slice(position, position + transfer.signed.length).map(resultOf)
    position += transfer.signed.length
    return used(transfer) ? receiptsOf(transfer, own) : own.some((known) => known !== null)
  })
  const heights = new Set(found.flatMap((one) => (Array.isArray(one) ? one.map(({ blockNumber }) => blockNumber) : [])))
  const canonical = await blockHashes(round, [...heights])
  return transfers.map((transfer, i) => {
    const one = found[i]
    if (one === true) return settled({ kind: 'pending' })
    if (!Array.isArray(one)) return { kind: 'absent', nonce: 'free' }
    const [receipt, second] = one
    if (receipt === undefined) {
      return { kind: 'absent', nonce: nonceOf(transfer) < nonces.final ? 'used_for_good' : 'used' }
    }
    if (second !== undefined) return settled(unknown(`${endpoint.name} has two receipts for one nonce`))
    if (canonical.get(receipt.blockNumber) !== receipt.blockHash) {
      return settled(unknown(`block ${receipt.blockNumber}, where it was, is being replaced`))
    }
    if (receipt.blockNumber <= round.final) return { kind: 'final', receipt }
    const paid = scope.paid(receipt, transfer)
    return settled({ kind: 'mined', ...placeOf(receipt), ok: paid === 'yes' })
  })
}

const receiptCall = (hash: string): Call => ({ method: 'eth_getTransactionReceipt', params: [hash] })
const transactionCall = (hash: string): Call => ({ method: 'eth_getTransactionByHash', params: [hash] })

function receiptsOf({ signed }: Signed, results: readonly unknown[]): readonly Receipt[] {
  return results.flatMap((result, i) => {
    const receipt = read.receiptOrNull(result)
    if (receipt === null) return []
    if (receipt.transactionHash !== signed[i]?.hash) throw new NodeSilent('a receipt is of another transaction')
    return [receipt]
  })
}

async function blockHashes({ witnesses }: Round, heights: readonly number[]): Promise<ReadonlyMap<number, Hex>> {
  const calls = heights.map((height) => ({ method: 'eth_getBlockByNumber', params: [toQuantity(height), false] }))
  const answers = await witnesses[0].endpoint.all(calls)
  const blocks = answers.map((answer) => read.blockOrNull(resultOf(answer)))
  return new Map(blocks.flatMap((block) => (block === null ? [] : [[block.number, block.hash]])))
}

type Asked<T> = { readonly transfer: T; readonly look: Exclude<Look, { kind: 'settled' }> }

/** Step 4: for each transfer, what each other node says. */
async function askOthers<T extends Signed>(
  round: Round,
  asked: readonly Asked<T>[],
): Promise<readonly (readonly Confirmation[])[]> {
  const [, ...others] = round.witnesses
  const callsOf = ({ transfer, look }: Asked<T>): readonly Call[] => {
    if (look.kind === 'final') return [receiptCall(look.receipt.transactionHash)]
    return transfer.signed.map(({ hash }) => (look.nonce === 'free' ? transactionCall(hash) : receiptCall(hash)))
  }
  const perNode = await Promise.all(
    others.map(async ({ endpoint }) => {
      const answers = await endpoint.all(asked.flatMap(callsOf))
      let position = 0
      return asked.map((one): Confirmation => {
        const count = callsOf(one).length
        const own = answers.slice(position, position + count)
        position += count
        const { name } = endpoint
        return one.look.kind === 'final' ? confirmReceipt(name, own[0], one.look.receipt) : confirmAbsence(name, own)
      })
    }),
  )
  return asked.map((_, i) => perNode.flatMap((confirmations) => confirmations[i] ?? []))
}

async function judge<T extends Signed>(
  scope: Inquiry<T>,
  round: Round,
  transfer: T,
  look: Asked<T>['look'],
  confirmations: readonly Confirmation[],
): Promise<Observation> {
  const against = confirmations.find(({ kind }) => kind === 'differs')
  if (look.kind === 'absent' && look.nonce === 'free') return { kind: against === undefined ? 'missing' : 'pending' }
  if (look.kind === 'absent' && look.nonce === 'used') {
    return against === undefined
      ? { kind: 'missing' }
      : unknown(`${against.name} has a receipt that others have not yet`)
  }
  const asked = round.witnesses[0].endpoint.name
  if (against !== undefined) {
    const message = `${against.name} and ${asked} differ about nonce ${transfer.nonce} of ${scope.wallet}: ${against.message}`
    scope.endpoints.disagree({ about: 'receipt', message }) // O1
    return unknown(message)
  }
  if (!round.agreed) return unknown('the nodes differ about the final block') // O1
  const silent = [...round.absent, ...confirmations.filter(({ kind }) => kind === 'silent').map(({ name }) => name)]
  return look.kind === 'final'
    ? judgeReceipt(scope, transfer, look.receipt, silent)
    : judgeLoss(scope, round, transfer, silent)
}

function judgeReceipt<T extends Signed>(
  scope: Inquiry<T>,
  transfer: T,
  receipt: Receipt,
  silent: readonly string[],
): Observation {
  const paid = scope.paid(receipt, transfer)
  if (paid === 'other') {
    return unknown(`${receipt.transactionHash} moved something else than was asked: a person must look at it`)
  }
  if (paid === 'no' && silent.length > 0) return unknown(needsAll('It failed on chain', silent)) // O2
  return { kind: 'final', ...placeOf(receipt), ok: paid === 'yes', fee: feeOf(receipt) }
}

async function judgeLoss(
  scope: Scope,
  round: Round,
  transfer: Signed,
  silent: readonly string[],
): Promise<Observation> {
  if (silent.length > 0) return unknown(needsAll('Its nonce was used by another transaction', silent)) // O2
  const { endpoint } = round.witnesses[0]
  let user: NonceUser | null
  try {
    user = await nonceUser(endpoint, scope.wallet, nonceOf(transfer), round.final) // O3
  } catch (error) {
    if (!(error instanceof NodeError)) throw error
    return unknown(`${endpoint.name} cannot tell who used nonce ${transfer.nonce}: ask a node that keeps older state`)
  }
  if (user === null) return unknown(`no transaction is seen to have used nonce ${transfer.nonce}: a person must look`)
  if (!transfer.signed.some(({ hash }) => hash === user.hash)) return { kind: 'lost', because: 'nonce_used_by_another' }
  const message = `${endpoint.name} has ${user.hash} in block ${user.height} and no receipt for it`
  scope.endpoints.disagree({ about: 'receipt', message })
  return unknown(message)
}

const needsAll = (what: string, silent: readonly string[]) =>
  `${what}. To pay it again all nodes must confirm that, and ${silent.join(', ')} did not: repair or remove them`

function nonceOf({ nonce }: Signed): number {
  assert(nonce !== null, 'on this chain everything that is signed has a nonce')
  return nonce
}

const placeOf = ({ transactionHash, blockNumber, blockHash }: Receipt) => ({
  hash: transactionHash,
  block: { height: blockNumber, hash: blockHash },
})

const unknown = (message: string): Observation => ({ kind: 'unknown', message })
const settled = (observation: Observation): Look => ({ kind: 'settled', observation })
