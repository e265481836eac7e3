/** A row that Postgres refused (P3), as operators see it. Times are milliseconds. */
export interface ParkedSummary {
  readonly id: number
  readonly seq: number
  /** Of the row; `fact <type>` where no row could be made. */
  readonly table: string
  readonly kind: 'put' | 'patch' | 'remove' | 'fact'
  /** Rows under one key are retried together, in order. */
  readonly key: string | null
  /** Of Postgres; `unreadable` for a fact, `behind` for what waits for a row parked before it, `no_row`. */
  readonly errorCode: string
  readonly error: string
  readonly parkedAt: number
  readonly attempts: number
  readonly triedAt: number | null
  readonly resolvedAt: number | null
}

export interface ParkedDetail extends ParkedSummary {
  /** Null once it is where it belongs. */
  readonly row: unknown
}
