/** Where an error belongs; the gateway turns it into a status (HTTP) or an ack (sockets). */
export type ErrorKind =
  | 'invalid'
  | 'unauthorized'
  | 'forbidden'
  | 'not_found'
  | 'conflict'
  | 'unprocessable'
  | 'too_many'
  | 'unavailable'

export interface ErrorDetails {
  /** The input field the error is about. */
  readonly field?: string
  /** When trying again can succeed, in milliseconds from now. */
  readonly retryAfterMs?: number
}

/** An expected refusal: bad input, a broken rule, a limit. `code` is stable and published. */
export class DomainError extends Error {
  override readonly name = 'DomainError'

  constructor(
    readonly kind: ErrorKind,
    readonly code: string,
    message: string,
    readonly details: ErrorDetails = {},
  ) {
    super(message)
  }
}
