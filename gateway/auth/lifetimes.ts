const MINUTE_MS = 60_000
const DAY_MS = 24 * 60 * MINUTE_MS

/** BJ-AUTH-13. */
export const ACCESS_TOKEN_LIFETIME_MS = 15 * MINUTE_MS
export const REFRESH_TOKEN_LIFETIME_MS = 30 * DAY_MS

/** How far the clocks of two gateways may differ. */
export const CLOCK_LEEWAY_MS = 5_000

export const KEY_ROTATION_PERIOD_MS = 90 * DAY_MS

/** How long readers of the public key document may cache it. */
export const KEY_PUBLISH_AHEAD_MS = 60 * MINUTE_MS

export const EMAIL_CODE_LIFETIME_MS = DAY_MS
/** BJ-AUTH-22. */
export const RESET_CODE_LIFETIME_MS = 15 * MINUTE_MS
