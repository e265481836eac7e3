/** BlakJaks: its rules as data. Row ids are those of the requirements (BJ-…). */

import type { LoyaltyRules, Product } from '../rules.js'
import { blakjaksChat } from './chat.js'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
const USDT = 1_000_000n

/** BJ-SHOP-02, BJ-SHOP-03: eight flavors in four strengths. */
const flavors = ['Spearmint', 'Wintergreen', 'Bubblegum', 'Blue Razz', 'Mint Ice', 'Citrus', 'Cinnamon', 'Coffee']
const strengths = ['3mg', '6mg', '9mg', '12mg']

function catalogue(): ReadonlyMap<string, Product> {
  const products = flavors.flatMap((flavor) =>
    strengths.map((strength) => ({
      sku: `${flavor.toUpperCase().replace(' ', '-')}-${strength.toUpperCase()}`,
      name: `BlakJaks ${flavor}`,
      flavor,
      strength,
    })),
  )
  return new Map(products.map((product) => [product.sku, product]))
}

export const blakjaksRules: LoyaltyRules = {
  memberIdPrefix: 'BJ',
  // BJ-T54
  minimumAgeYears: 21,
  // BJ-TIER-01, BJ-TIER-04, BJ-MID-02
  tiers: [
    { name: 'standard', scans: 0, permanentTins: null, suffix: 'ST' },
    { name: 'vip', scans: 7, permanentTins: 210, suffix: 'VIP' },
    { name: 'high_roller', scans: 15, permanentTins: 2_100, suffix: 'HR' },
    { name: 'whale', scans: 30, permanentTins: 21_000, suffix: 'WH' },
  ],
  // BJ-COMP-01…05, BJ-T01: highest first
  milestones: [
    { compType: 'trip', kind: 'trip', every: 500_000, amount: 0n, minimumTier: 'whale', label: '500000th' },
    {
      compType: 'crypto_10k',
      kind: 'crypto',
      every: 125_000,
      amount: 10_000n * USDT,
      minimumTier: 'whale',
      label: '125000th',
    },
    {
      compType: 'crypto_1k',
      kind: 'crypto',
      every: 7_500,
      amount: 1_000n * USDT,
      minimumTier: 'high_roller',
      label: '7500th',
    },
    { compType: 'crypto_100', kind: 'crypto', every: 500, amount: 100n * USDT, minimumTier: 'vip', label: '500th' },
  ],
  // BJ-UNL-01…05
  unlocks: [
    { compType: 'crypto_100', tinsPerMonth: 0 },
    { compType: 'crypto_1k', tinsPerMonth: 2_500 },
    { compType: 'casino', tinsPerMonth: 10_000 },
    { compType: 'crypto_10k', tinsPerMonth: 50_000 },
    { compType: 'trip', tinsPerMonth: 500_000 },
  ],
  // BJ-FRD-01, BJ-T32
  velocity: { scansMax: 60, windowMs: HOUR_MS },
  // BJ-FRD-02: a little above what an airliner does
  travelSpeedMaxKmPerHour: 1_000,
  // BJ-FRD-04: the requirement names no rule; guessing codes is the pattern the core can see
  guessing: { attemptsMax: 10, windowMs: HOUR_MS },
  // BJ-AUTH-15
  login: { failuresMax: 10, windowMs: HOUR_MS, lockMs: HOUR_MS },
  // BJ-AUTH-22
  reset: { requestsMax: 3, windowMs: HOUR_MS, codeTriesMax: 5 },
  // BJ-AUTH-13, BJ-AUTH-18
  sessionMs: 30 * DAY_MS,
  products: catalogue(),
  payouts: {
    // BJ-PAY-04
    perMinuteMax: 100,
    inFlightMax: 200,
    batchAtLeast: 20,
    // The largest automatic comp is $10,000; the largest trip match $42,000 is a batch that a person approves.
    reviewAbove: 25_000n * USDT,
    payeeDayReviewAbove: 25_000n * USDT,
    // BJ-TRS-06, BJ-TRS-07, BJ-T18
    dayReviewAbove: 50_000n * USDT,
    hourPauseAbove: 500_000n * USDT,
    // BJ-TRS-03, BJ-TRS-06, BJ-T17
    reviewApprovals: 1,
    sendApprovals: 2,
    signaturesMax: 12,
  },
  // BJ-REC-01
  oversight: { toleranceDaily: 10n * USDT },
  chat: blakjaksChat,
  // BJ-LIVE-07, BJ-JOB-10
  liveEvents: { eventsMax: 200, reminderBeforeMs: HOUR_MS },
}
