/** Why something was not done: the code is stable, the message is for people. */
export class ChatError extends Error {
  override readonly name = 'ChatError'

  constructor(
    readonly code: string,
    message: string,
    /** After which trying again can succeed; null when nothing is said of that. */
    readonly retryAfterMs: number | null = null,
  ) {
    super(message)
  }
}

/** A refusal as the server words it, in an ack, a `connect_error`, or over HTTP. */
interface Refusal {
  readonly code: string
  readonly message?: string
  readonly detail?: string
  readonly retry_after?: number
}

export function isRefusal(value: unknown): value is Refusal {
  return typeof value === 'object' && value !== null && 'code' in value && typeof value.code === 'string'
}

export function chatErrorOf({ code, message, detail, retry_after: seconds }: Refusal): ChatError {
  return new ChatError(code, message ?? detail ?? code, seconds === undefined ? null : seconds * 1_000)
}

export const connectionLost = () => new ChatError('connection_lost', 'The connection ended before the answer came.')
export const noAnswer = () => new ChatError('no_answer', 'The server did not answer in time.')

/** Says nothing about what was asked: it may have happened or not, and may be asked again. */
const UNHEARD = new Set(['connection_lost', 'no_answer', 'outcome_unknown'])
export const isUnheard = ({ code }: ChatError): boolean => UNHEARD.has(code)

/** The server is busy, or we are too fast: nothing happened, and the same may succeed later. */
const PASSING = new Set(['rate_limited', 'too_many_in_flight', 'busy', 'engine_unavailable', 'not_running', 'internal'])
export const isPassing = (error: ChatError): boolean => PASSING.has(error.code)

/** No token of this session will be let in any more. */
const FINAL = new Set(['unauthorized', 'session_ended', 'account_suspended'])
export const isFinal = ({ code }: ChatError): boolean => FINAL.has(code)

export function asChatError(cause: unknown): ChatError {
  if (cause instanceof ChatError) return cause
  return new ChatError('internal', cause instanceof Error ? cause.message : String(cause))
}
