/** The journal could not be written, so the shard has stopped (J4). Says what that means and what to do. */
export class JournalFailedError extends Error {
  override readonly name = 'JournalFailedError'
  readonly code = 'journal_failed'

  /** `freeBytesMin` is what the next start asks for. */
  constructor(cause: Error, directory: string, freeBytesMin: number) {
    const advice = isDiskFull(cause)
      ? `The disk is full: make room until at least ${freeBytesMin} bytes are free there, then start again.`
      : 'Look into that disk, then start again.'
    super(
      `The journal in ${directory} could not be written (${cause.message}), so the server has stopped. Nothing that ` +
        `was answered is lost; what was not answered may be sent again with the same idempotency key. ${advice}`,
      { cause },
    )
  }
}

/** Also of a quota; a short write is how a disk that fills up just then shows it. */
export function isDiskFull(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const code = 'code' in error ? error.code : undefined
  return code === 'ENOSPC' || code === 'EDQUOT' || error.message.startsWith('Short write')
}
