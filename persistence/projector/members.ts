import {
  accountLocked,
  accountOpened,
  accountUnlocked,
  emailVerified,
  loggedIn,
  loginFailed,
  passwordChanged,
  profileChanged,
  twoFactorChanged,
} from '../../actors/account/facts.js'
import type { DirectoryDelta } from '../../actors/members/directory.js'
import {
  administratorChanged,
  chipEarned,
  referralTinsCredited,
  sessionClosed,
  sessionOpened,
  tierChanged,
  userCreated,
  userStandingChanged,
} from '../../actors/user/facts.js'
import type { Batch } from './batch.js'
import { type Area, onDelta, onFact, type Source } from './projection.js'
import { insertInto, patchOf, upsertInto } from './target.js'

const users = upsertInto('users', ['id'], {
  id: 'uuid',
  number: 'int',
  referred_by_id: 'uuid',
  is_admin: 'boolean',
  member_since: 'time',
})

const userChanges = patchOf('users', ['id'], {
  id: 'uuid',
  email: 'text',
  username: 'text',
  full_name: 'text',
  phone: 'text',
  date_of_birth: 'date',
  address_line1: 'text',
  address_line2: 'text',
  city: 'text',
  state: 'text',
  zip_code: 'text',
  country: 'text',
  language: 'text',
  tier: 'text',
  tier_status: 'text',
  email_verified: 'boolean',
  totp_enabled: 'boolean',
  is_active: 'boolean',
  last_login: 'time',
  locked_until: 'time',
  is_admin: 'boolean',
})

const directoryMembers = upsertInto('directory_members', ['number'], { number: 'int', user_id: 'uuid' })

const directoryNames = upsertInto('directory_names', ['kind', 'name_key'], {
  kind: 'text',
  name_key: 'bigint',
  member_number: 'int',
})

const accountEvents = insertInto('account_events', {
  seq: 'bigint',
  entry: 'int',
  user_id: 'uuid',
  kind: 'text',
  session_id: 'text',
  device: 'text',
  ip_address: 'inet',
  detail: 'text',
  created_at: 'time',
})

const tierHistory = insertInto('tier_history', {
  seq: 'bigint',
  entry: 'int',
  user_id: 'uuid',
  quarter: 'text',
  previous_tier: 'text',
  tier: 'text',
  scan_count: 'int',
  because: 'text',
  achieved_at: 'time',
  expires_at: 'time',
  is_permanent: 'boolean',
})

const referralTins = insertInto('referral_tins', {
  seq: 'bigint',
  entry: 'int',
  user_id: 'uuid',
  tins: 'int',
  total: 'bigint',
  credited_at: 'time',
})

const affiliateChips = insertInto('affiliate_chips', {
  seq: 'bigint',
  entry: 'int',
  user_id: 'uuid',
  referred_user_id: 'uuid',
  scan_id: 'uuid',
  chip_type: 'text',
  chips_earned: 'int',
  earned_at: 'time',
})

interface AccountEvent {
  readonly userId: string
  readonly kind: string
  readonly sessionId?: string
  readonly device?: string
  readonly ip?: string | null
  readonly detail?: string
}

function noteEvent(event: AccountEvent, { seq, entry, at }: Source, batch: Batch): void {
  batch.put(accountEvents, {
    seq,
    entry,
    user_id: event.userId,
    kind: event.kind,
    session_id: event.sessionId ?? null,
    device: event.device ?? null,
    ip_address: event.ip ?? null,
    detail: event.detail ?? null,
    created_at: at,
  })
}

/** The 64 bits of a name as Postgres' signed bigint. */
function nameKey(hi: number, lo: number): bigint {
  return BigInt.asIntN(64, (BigInt(hi) << 32n) | BigInt(lo))
}

const accountFacts = {
  ...onFact(accountOpened, (account, { at }, batch) => {
    const { userId: id, number, referrerId, isAdmin, address } = account
    batch.put(users, { id, number, referred_by_id: referrerId, is_admin: isAdmin, member_since: at })
    batch.patch(userChanges, {
      id,
      email: account.email,
      username: account.username,
      full_name: account.fullName,
      phone: account.phone,
      date_of_birth: account.dateOfBirth,
      address_line1: address?.line1 ?? null,
      address_line2: address?.line2 ?? null,
      city: address?.city ?? null,
      state: address?.state ?? null,
      zip_code: address?.zip_code ?? null,
      country: address?.country ?? null,
      language: account.language,
    })
  }),
  ...onFact(profileChanged, ({ userId: id, email, username, fullName, emailVerified: verified }, _, batch) =>
    batch.patch(userChanges, { id, email, username, full_name: fullName, email_verified: verified }),
  ),
  ...onFact(emailVerified, ({ userId: id }, _, batch) => batch.patch(userChanges, { id, email_verified: true })),
  ...onFact(loggedIn, ({ userId, ip }, source, batch) => {
    batch.patch(userChanges, { id: userId, last_login: source.at })
    noteEvent({ userId, kind: 'logged_in', ip }, source, batch)
  }),
  ...onFact(loginFailed, ({ userId, ip }, source, batch) =>
    noteEvent({ userId, kind: 'login_failed', ip }, source, batch),
  ),
  ...onFact(accountLocked, ({ userId, until }, source, batch) => {
    batch.patch(userChanges, { id: userId, locked_until: until })
    noteEvent({ userId, kind: 'locked' }, source, batch)
  }),
  ...onFact(accountUnlocked, ({ userId }, source, batch) => {
    batch.patch(userChanges, { id: userId, locked_until: null })
    noteEvent({ userId, kind: 'unlocked' }, source, batch)
  }),
  ...onFact(passwordChanged, ({ userId }, source, batch) =>
    noteEvent({ userId, kind: 'password_changed' }, source, batch),
  ),
  ...onFact(twoFactorChanged, ({ userId, enabled }, source, batch) => {
    batch.patch(userChanges, { id: userId, totp_enabled: enabled })
    noteEvent({ userId, kind: enabled ? 'two_factor_enabled' : 'two_factor_disabled' }, source, batch)
  }),
}

const userFacts = {
  ...onFact(userCreated, ({ userId: id, number, referrerId, isAdmin }, { at }, batch) =>
    batch.put(users, { id, number, referred_by_id: referrerId, is_admin: isAdmin, member_since: at }),
  ),
  ...onFact(userStandingChanged, ({ userId, standing, by, reason }, source, batch) => {
    batch.patch(userChanges, { id: userId, is_active: standing === 'active' })
    noteEvent({ userId, kind: standing, detail: `${reason} (by ${by})` }, source, batch)
  }),
  ...onFact(administratorChanged, ({ userId, isAdmin, by }, source, batch) => {
    batch.patch(userChanges, { id: userId, is_admin: isAdmin })
    noteEvent(
      { userId, kind: isAdmin ? 'made_administrator' : 'removed_administrator', detail: `by ${by}` },
      source,
      batch,
    )
  }),
  ...onFact(sessionOpened, ({ userId, sessionId, device }, source, batch) =>
    noteEvent({ userId, kind: 'session_opened', sessionId, device }, source, batch),
  ),
  ...onFact(sessionClosed, ({ userId, sessionId, device, because }, source, batch) =>
    noteEvent({ userId, kind: 'session_closed', sessionId, device, detail: because }, source, batch),
  ),
  ...onFact(tierChanged, (change, { seq, entry, at }, batch) => {
    const { userId, from, to, quarter, quarterScans, because, locked, expiresAt } = change
    batch.patch(userChanges, { id: userId, tier: to, tier_status: locked ? 'locked' : 'active' })
    batch.put(tierHistory, {
      seq,
      entry,
      user_id: userId,
      quarter,
      previous_tier: from,
      tier: to,
      scan_count: quarterScans,
      because,
      achieved_at: at,
      expires_at: expiresAt,
      is_permanent: locked,
    })
  }),
  ...onFact(referralTinsCredited, ({ userId, tins, total }, { seq, entry, at }, batch) =>
    batch.put(referralTins, { seq, entry, user_id: userId, tins, total, credited_at: at }),
  ),
  ...onFact(chipEarned, ({ userId, fromUserId, scanId, chipType }, { seq, entry, at }, batch) =>
    batch.put(affiliateChips, {
      seq,
      entry,
      user_id: userId,
      referred_user_id: fromUserId,
      scan_id: scanId,
      chip_type: chipType,
      chips_earned: 1,
      earned_at: at,
    }),
  ),
}

export const memberArea: Area = {
  targets: [
    users,
    userChanges,
    directoryMembers,
    directoryNames,
    accountEvents,
    tierHistory,
    referralTins,
    affiliateChips,
  ],
  facts: { ...accountFacts, ...userFacts },
  deltas: onDelta<DirectoryDelta>('members', (delta, _, batch) => {
    if (delta.op === 'member') {
      batch.put(directoryMembers, { number: delta.number, user_id: delta.userId })
      return
    }
    const key = { kind: delta.kind, name_key: nameKey(delta.hi, delta.lo) }
    if (delta.op === 'claim') batch.put(directoryNames, { ...key, member_number: delta.member })
    else batch.remove(directoryNames, key)
  }),
}
