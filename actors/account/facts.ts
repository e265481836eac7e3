import { z } from 'zod'
import { defineFact } from '../../engine/fact.js'

export const address = z.object({
  line1: z.string().max(255),
  line2: z.string().max(255).optional(),
  city: z.string().max(100),
  state: z.string().max(50),
  zip_code: z.string().max(20),
  country: z.string().length(2).default('US'),
})
export type Address = z.output<typeof address>

/** A new account (BJ-AUTH-01, BJ-AUTH-07). */
export const accountOpened = defineFact(
  'account.opened',
  z.object({
    userId: z.string(),
    number: z.number(),
    email: z.string(),
    username: z.string(),
    fullName: z.string(),
    phone: z.string().nullable(),
    /** ISO date */
    dateOfBirth: z.string(),
    address: address.nullable(),
    language: z.string(),
    referrerId: z.string().nullable(),
    isAdmin: z.boolean(),
  }),
)

export const profileChanged = defineFact(
  'account.profile_changed',
  z.object({
    userId: z.string(),
    email: z.string(),
    username: z.string(),
    fullName: z.string(),
    emailVerified: z.boolean(),
  }),
)

export const emailVerified = defineFact('account.email_verified', z.object({ userId: z.string() }))
export const loggedIn = defineFact('account.logged_in', z.object({ userId: z.string(), ip: z.string().nullable() }))
export const loginFailed = defineFact(
  'account.login_failed',
  z.object({ userId: z.string(), ip: z.string().nullable() }),
)
/** Ten failed logins in an hour (BJ-AUTH-15). */
export const accountLocked = defineFact('account.locked', z.object({ userId: z.string(), until: z.number() }))
export const accountUnlocked = defineFact('account.unlocked', z.object({ userId: z.string() }))
export const passwordChanged = defineFact('account.password_changed', z.object({ userId: z.string() }))
export const twoFactorChanged = defineFact(
  'account.two_factor_changed',
  z.object({ userId: z.string(), enabled: z.boolean() }),
)
