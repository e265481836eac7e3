/**
 * The words records say most often. Packed, each is a byte and its place in this list, as HTTP/2 does with the names of
 * headers: a third of a scan's record was names of fields.
 *
 * Kept for ever: what was packed outlives the program. A word is never moved or removed; there is room for 256.
 */
export const commonWords: readonly string[] = `
  userId scanId sessionId payoutId messageId channelId clientId deviceId compId fromUserId type kind status state
  name number value text code id from key args reply forever outcome error fingerprint message details quarter
  quarterScans lifetimeScans lifetimeComps tier override referralTins referrerId isAdmin locked scanTimes place
  lat lng guesses guessesSince goldChips sessions mobile desktop generation openedAt expiresAt ordinal codeRow
  codeHi codeLo sku method tierAfterwards deviceFingerprint ip clientAt compType compAmount milestone location
  timestamp device_id row device scanned scan.accepted scan.submit scan.rejected counter/scans counting active
  standard vip high_roller whale member system admin qr manual referral comp product_name tier_progress
  quarter_label current_tier next_tier current_count next_tier_threshold usdt_earned comp_earned milestone_hit
  wallet_balance gold_chips lifetime_comps referral_scan chip_earned language username author memberAgeSecondsMin
  memberSince standing postedAt editedAt deletedAt mentions reactions isPinned approved replyTo media url visible
  slowModeSeconds uniqueMessages emoteOnly linksFrom minimumTier description category order modes posting isVoice
  isSuspended systemMessages messages members pins profile known remembered repeated repeatedSince repeats
  violations lastAt wins epoch offset postedOffset chat.message_posted chat.message_changed chat.channel_changed
  chat.member_mentioned chat.post chat.announce chat.note_standing chat.reaction_set amount currency reference
  account lines wallet address chain available held funding funded treasury USDT payee requestedAt approvalsNeeded
  approvedBy approvals attempt nonce hash waiting dayAmount unfunded unfunded-comps open-payouts payout.request
  payout.requested payout.hold treasury.fund treasury.funded treasury/member:available treasury/member:held
  treasury/member:funding comp.awarded comp.funded comp_type.unlocked tier.changed milestone.unclaimed chip.earned
  chipType user.credit_chip user.credit_tins user.created crypto email phone fullName dateOfBirth passwordHash
  emailVerified twoFactor isActive createdAt account.open account.opened session.opened session.closed batch
  quantity checksum generated manufactured invalidated codes scan
`
  .trim()
  .split(/\s+/)
