/** A scan or attempt that looked suspicious, as administrators see it. */
export interface ScanFlag {
  readonly userId: string
  /** The scan or attempt. */
  readonly scanId: string
  readonly rule: string
  readonly detail: string
  /** Milliseconds. */
  readonly at: number
  /** The record it was raised in, for paging. */
  readonly seq: number
}
