/** The journal is wrong somewhere a crash cannot explain (J2). The file was left as it is. */
export class JournalDamagedError extends Error {
  override readonly name = 'JournalDamagedError'
  readonly code = 'journal_damaged'

  constructor(
    /** Path of the segment. */
    readonly file: string,
    /** Byte offset in the segment. */
    readonly offset: number,
    /** The record that was due at this place; all before it are intact. 0 where no record belongs. */
    readonly expectedSeq: number,
    readonly what: string,
    remedy?: string,
  ) {
    const due = expectedSeq === 0 ? '' : `, where record ${expectedSeq} is due`
    const restore =
      'Copy the journal directory away, run "comptroller journal verify" on it, and restore this file from a backup. ' +
      `Records before ${expectedSeq} are intact.`
    super(
      `Journal damaged in ${file} at byte ${offset}${due}: ${what}. The file was left as it is. ${remedy ?? restore}`,
    )
  }
}

/** The journal ends at `place`, before a record that was durable (J5). */
export function endsTooSoon(
  place: { readonly file: string; readonly offset: number },
  nextSeq: number,
  knownDurableSeq: number,
): JournalDamagedError {
  const what = `the journal ends here, yet record ${knownDurableSeq} is known to have been durable`
  return new JournalDamagedError(place.file, place.offset, nextSeq, what)
}

/** Another process writes to this journal. */
export class JournalLockedError extends Error {
  override readonly name = 'JournalLockedError'
  readonly code = 'journal_locked'

  constructor(
    readonly directory: string,
    readonly pid: number,
    lockFile: string,
  ) {
    super(
      `The journal in ${directory} is in use by process ${pid}. Stop that process first; ` +
        `if it is certainly no Comptroller, delete ${lockFile}.`,
    )
  }
}
