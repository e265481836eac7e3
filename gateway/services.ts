/** What the routes stand on; the composition root provides it. */
import type { Logger } from 'pino'
import type { CodeHistory } from '../actors/codes/code-history.js'
import type { PayoutState } from '../actors/payout/facts.js'
import type {
  After,
  CompRow,
  CompStatus,
  PayoutFigures,
  PayoutRow,
  PayoutTrail,
  ReconciliationRow,
  SnapshotRow,
} from '../actors/payout/rows.js'
import type { LoyaltyProgram } from '../actors/programs/loyalty.js'
import type { CompType } from '../actors/programs/rules.js'
import type { Pool } from '../actors/treasury/facts.js'
import type { Administrator } from '../actors/user/administrator-row.js'
import type { RecentScan } from '../actors/user/recent-scans.js'
import type { ScanFlag } from '../actors/user/scan-flag.js'
import type { TransactionRow } from '../actors/withdrawal/rows.js'
import type { ParkedDetail, ParkedSummary } from '../engine/parked-row.js'
import type { Shard } from '../engine/shard.js'
import type { LoginGuard } from './auth/login-guard.js'
import type { OneTimeCodes } from './auth/one-time-codes.js'
import type { Passwords } from './auth/passwords.js'
import type { SecretBox } from './auth/secret-box.js'
import type { Tokens } from './auth/tokens.js'
import type { Chat } from './chat.js'
import type { MailPort } from './mail/mail.js'
import type { PayoutsPort } from './payouts-port.js'
import type { SocialPort } from './social-port.js'

/** Reads of what memory does not hold. */
export interface ColdReads {
  /** Accepted scans of a member, newest first. */
  recentScans(userId: string, page: { beforeOrdinal?: number; limit: number }): Promise<readonly RecentScan[]>
  /** `row` is the row of the code in the code book. */
  codeHistory(code: { row: number; hi: number; lo: number }): Promise<CodeHistory>
  /** Newest first. */
  scanFlags(page: { userId?: string; beforeSeq?: number; limit: number }): Promise<readonly ScanFlag[]>
  administrators(): Promise<readonly Administrator[]>
  /** When each batch was last exported, in milliseconds; null when it never was. */
  batchTimes(): Promise<readonly { readonly batch: number; readonly exportedAt: number | null }[]>
}

interface Page {
  readonly after?: After
  readonly limit: number
}

interface PageOfPool {
  readonly pool?: Pool
  readonly beforeSeq?: number
  readonly limit: number
}

/** Of payouts and the treasury, newest first. */
export interface PayoutReads {
  comps(filter: Page & { type?: CompType; status?: CompStatus; userId?: string }): Promise<readonly CompRow[]>
  payouts(filter: Page & { pool?: Pool; state?: PayoutState; userId?: string }): Promise<readonly PayoutRow[]>
  /** Money a member has won and not got yet. */
  pendingComps(userId: string): Promise<{ readonly count: number; readonly amount: bigint }>
  /** What came into the wallet of a member and left it. */
  transactions(
    filter: Page & { userId: string; filter: 'all' | 'deposits' | 'withdrawals' },
  ): Promise<readonly TransactionRow[]>
  trail(payoutId: string): Promise<PayoutTrail | null>
  reconciliations(page: PageOfPool): Promise<readonly ReconciliationRow[]>
  snapshots(page: PageOfPool): Promise<readonly SnapshotRow[]>
  /** Of payouts that were over since then, in milliseconds. */
  figures(sinceMs: number): Promise<PayoutFigures>
}

export interface ParkedRowsPort {
  /** Parked now. */
  readonly count: number
  /** Oldest first. */
  list(page: { isResolved: boolean; afterId: number; limit: number }): Promise<readonly ParkedSummary[]>
  find(id: number): Promise<ParkedDetail | null>
  /** Writes the row and those under its key after all; `error` says why they stay. */
  retry(
    id: number,
  ): Promise<{ readonly found: boolean; resolved: number; errorCode: string | null; error: string | null }>
  retryAll(page: {
    afterId: number
    limit: number
  }): Promise<{ readonly resolved: number; readonly refused: number; readonly nextAfterId: number | null }>
}

export interface Services {
  readonly shard: Shard
  readonly program: LoyaltyProgram
  readonly reads: ColdReads
  readonly payoutReads: PayoutReads
  /** Null when payouts are off. */
  readonly payouts: PayoutsPort | null
  readonly chat: Chat
  readonly social: SocialPort
  readonly parked: ParkedRowsPort
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
