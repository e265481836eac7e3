/** The journal is wrong somewhere a crash cannot explain (J2). Nothing was changed on disk. */
export class JournalDamagedError extends Error {
  override readonly name = 'JournalDamagedError'
  readonly code = 'journal_damaged'

  constructor(
    /** Path of the segment. */
    readonly file: string,
    /** Byte offset in the segment. */
    readonly offset: number,
    /** The record that was due at this place; all before it are intact. */
    readonly expectedSeq: number,
    readonly what: string,
  ) {
    super(
      `Journal damaged in ${file} at byte ${offset}, where record ${expectedSeq} is due: ${what}. ` +
        'Nothing was changed. Copy the journal directory away, run "comptroller journal verify" on it, ' +
        `and restore this file from a backup. Records before ${expectedSeq} are intact.`,
    )
  }
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
