/** A node of a chain as its answers show it (BJ-NODE-02), the same for every chain. Null: not known. */
export interface NodeHealth {
  /** The host; never the whole address, that may carry the key of an account. */
  readonly name: string
  /** It answers, is on our chain and keeps up. */
  readonly usable: boolean
  /** The newest block it told of; on Solana the last final slot. */
  readonly height: number | null
  readonly peers: number | null
  readonly syncing: boolean | null
  readonly latencyMs: number | null
  readonly lastError: string | null
}
