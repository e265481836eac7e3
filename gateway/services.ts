/** What the routes stand on; the composition root provides it. */
import type { Logger } from 'pino'
import type { LoyaltyProgram } from '../actors/programs/loyalty.js'
import type { RecentScan } from '../actors/user/recent-scans.js'
import type { Shard } from '../engine/shard.js'
import type { LoginGuard } from './auth/login-guard.js'
import type { OneTimeCodes } from './auth/one-time-codes.js'
import type { Passwords } from './auth/passwords.js'
import type { SecretBox } from './auth/secret-box.js'
import type { Tokens } from './auth/tokens.js'
import type { MailPort } from './mail/mail.js'

/** Reads of what memory does not hold. */
export interface ColdReads {
  /** Accepted scans of a member, newest first. */
  recentScans(userId: string, page: { beforeOrdinal: number | null; limit: number }): Promise<readonly RecentScan[]>
  /** What happened to a code: its scan and refused attempts, newest first. */
  codeHistory(hi: number, lo: number): Promise<readonly CodeEvent[]>
  /** When each batch was last exported, in milliseconds. */
  batchExports(): Promise<ReadonlyMap<number, number>>
}

export interface CodeEvent {
  readonly at: number
  readonly event: 'scanned' | 'rejected'
  readonly userId: string
  readonly reason: string | null
  readonly deviceId: string | null
}

export interface Services {
  readonly shard: Shard
  readonly program: LoyaltyProgram
  readonly reads: ColdReads
  readonly tokens: Tokens
  readonly passwords: Passwords
  readonly box: SecretBox
  readonly codes: OneTimeCodes
  readonly mail: MailPort
  readonly loginGuard: LoginGuard
  readonly publicJwks: () => object
  readonly now: () => number
  readonly newId: () => string
  readonly log: Logger
}
