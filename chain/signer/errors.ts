/** Why the policy of a signer says no, in the `code` of a `SignerRefused`. */
export const refusalCodes = [
  /** Somebody has pulled the stop switch. */
  'stopped',
  'batch_too_large',
  'wallet_unknown',
  'payout_id_wrong',
  /** Not a transaction of this chain in the one way it is written. */
  'bytes_unreadable',
  'chain_wrong',
  'fee_payer_wrong',
  /** Something else than one transfer, or more than that. */
  'no_plain_transfer',
  'lookup_table',
  'asset_wrong',
  'payee_wrong',
  'amount_wrong',
  'memo_wrong',
  /** Of a batch: another contract, another call, or other payouts than were named. */
  'batch_wrong',
  /** The batch contract would be allowed more than is paid through it along with that. */
  'allowance_too_high',
  'fee_too_high',
  /** The payout was signed for another wallet, payee or amount (S4). */
  'intent_changed',
  /** The payout was signed with another nonce (S2). */
  'nonce_changed',
  /** The nonce was signed for another payout (S2). */
  'nonce_taken',
  'signed_too_often',
  'limit_payout',
  'limit_destination_day',
  'limit_hour',
  'limit_day',
  'log_full',
] as const

export type RefusalCode = (typeof refusalCodes)[number]

export type UnavailableCode =
  | 'signer_unreachable'
  | 'signer_timeout'
  | 'signer_busy'
  | 'signer_closed'
  /** The old bytes of a payout may still be mined: new ones must wait. */
  | 'signer_waits'
  | 'signer_log_failed'
  | 'signer_answer_wrong'
  | 'key_failed'

/** The signer could not do it, now. Asking again for the same is always safe: it pays once. */
export class SignerUnavailable extends Error {
  override readonly name = 'SignerUnavailable'

  constructor(
    readonly code: UnavailableCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}

/** Another signer has the folder. */
export function signerLocked(directory: string, pid: number, lockFile: string): SignerStartError {
  return new SignerStartError(
    'log_locked',
    `Process ${pid} signs with ${directory} already, and two signers must never. Stop it first, or let the engine use ` +
      `it (SIGNER_SOCKET); if it is certainly no signer, delete ${lockFile}.`,
  )
}

/** A signer that must not start: its policy, log, lock or socket is wrong. Says what to do. */
export class SignerStartError extends Error {
  override readonly name = 'SignerStartError'

  constructor(
    readonly code: 'policy_wrong' | 'log_damaged' | 'log_locked' | 'socket_in_use' | 'keys_unfit',
    message: string,
  ) {
    super(message)
  }
}
