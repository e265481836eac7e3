/** What is known of one code beside its status. Times are milliseconds. */
import type { CodeStatus } from './code-book.js'

export interface CodeHistory {
  /** Null for a code that was never generated. */
  readonly generatedAt: number | null
  readonly batch: number | null
  /** What was done to it after that, oldest first. */
  readonly changes: readonly { readonly status: CodeStatus; readonly at: number }[]
  readonly scan: CodeScan | null
  /** Refused attempts to scan it, newest first. */
  readonly attempts: readonly CodeAttempt[]
}

export interface CodeScan {
  readonly scanId: string
  readonly ordinal: number
  readonly userId: string
  readonly at: number
  readonly deviceId: string | null
  readonly ip: string | null
}

export interface CodeAttempt {
  readonly attemptId: string
  readonly userId: string
  readonly reason: string
  readonly at: number
  readonly deviceId: string | null
  readonly ip: string | null
}
