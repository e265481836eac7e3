/** What nodes say, understood in one place. Every node words it in its own way. */
import type { Broadcast, BroadcastRefusal } from '../chain.js'
import type { Answer } from './json-rpc.js'

/** Nobody answered: another endpoint may. */
export class NodeSilent extends Error {
  override readonly name = 'NodeSilent'
}

/** The node answered with an error. */
export class NodeError extends Error {
  override readonly name = 'NodeError'
  constructor(
    message: string,
    /** The call was carried out and reverted. */
    readonly reverted: boolean,
  ) {
    super(message)
  }
}

/** The result of a call; throws what stands in its place. */
export function resultOf(answer: Answer | undefined): unknown {
  if (answer === undefined || answer.kind === 'silent') throw new NodeSilent(answer?.message ?? 'no answer')
  if (answer.kind === 'error') throw new NodeError(answer.message, isRevert(answer))
  return answer.result
}

const EXECUTION_REVERTED = 3

const isRevert = (answer: Answer & { kind: 'error' }) =>
  answer.code === EXECUTION_REVERTED || /revert|out of gas|invalid opcode/i.test(answer.message)

const ALREADY_THERE = /already known|already imported|known transaction|already in mempool|already exists/i

/** The first that matches. */
const refusals: readonly (readonly [BroadcastRefusal, RegExp])[] = [
  ['nonce_used', /nonce (is )?too low|old nonce|nonce has already been used|invalid nonce.*lower/i],
  [
    'underpriced',
    /underpriced|less than block base fee|fee too low|gas price too low|below the (base|minimum)|tip.*(below|too low)/i,
  ],
  ['no_gas', /insufficient funds|insufficient balance|enough funds|overshot/i],
  ['failed_preflight', /revert|intrinsic gas too low|exceeds block gas limit|gas limit reached/i],
]

/** Nodes that are busy or not there yet have said nothing about the transaction. */
const SAYS_NOTHING =
  /rate limit|too many requests|timed? ?out|limit exceeded|unavailable|syncing|internal error|overload/i

/** What an answer to `eth_sendRawTransaction` means. */
export function broadcastOf(answer: Answer): Broadcast {
  if (answer.kind === 'silent') return { kind: 'unknown', message: answer.message }
  if (answer.kind === 'result') return { kind: 'accepted' }
  const { message } = answer
  if (ALREADY_THERE.test(message)) return { kind: 'accepted' }
  const refusal = refusals.find(([, pattern]) => pattern.test(message))
  if (refusal !== undefined) return { kind: 'refused', code: refusal[0], message }
  if (SAYS_NOTHING.test(message)) return { kind: 'unknown', message }
  return { kind: 'refused', code: 'other', message }
}
