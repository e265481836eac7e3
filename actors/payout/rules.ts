/** What a program allows its wallets to pay, in minor units of their asset. */
export interface PayoutRules {
  /** Payouts prepared a minute and wallet (BJ-PAY-04). */
  readonly perMinuteMax: number
  /** Payouts between prepared and final, a wallet (B1). */
  readonly inFlightMax: number
  /** From so many queued payouts on they are paid by one transaction, where the wallet has a batch contract. */
  readonly batchAtLeast: number
  /** A single payout above this waits for a person. */
  readonly reviewAbove: bigint
  /** So does what would bring the payouts of a day to one payee above this. */
  readonly payeeDayReviewAbove: bigint
  /** So does what would bring a wallet's unreviewed payouts of a UTC day above this (BJ-TRS-06, BJ-T18). */
  readonly dayReviewAbove: bigint
  /** What brings the payouts of an hour above this pauses the wallet (BJ-TRS-07, BJ-T18). */
  readonly hourPauseAbove: bigint
  /** Administrators who must agree to what a limit holds, and to a transfer by hand (BJ-TRS-03, BJ-T17). */
  readonly reviewApprovals: number
  readonly sendApprovals: number
  /** Transactions ever signed for one attempt: replacements of what is stuck. */
  readonly signaturesMax: number
}
