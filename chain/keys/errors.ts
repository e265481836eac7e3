export type KeyErrorCode =
  | 'key_missing'
  | 'key_exists'
  | 'key_name_wrong'
  | 'key_unfit'
  | 'keystore_closed'
  | 'keystore_damaged'
  | 'keystore_password_missing'
  | 'keystore_password_wrong'
  | 'kms_unavailable'
  | 'kms_answer_wrong'

/** A key that cannot be made, opened or used. Never carries a secret. */
export class KeyError extends Error {
  override readonly name = 'KeyError'

  constructor(
    readonly code: KeyErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}
