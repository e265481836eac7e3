/** BlakJaks' chat policy. */
import type { ChatRules, DefaultChannel } from '../../chat/rules.js'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS

const open = { minimumTier: 'standard', posting: 'members' } as const
const readOnly = { minimumTier: 'standard', posting: 'admins' } as const
const highRollers = { minimumTier: 'high_roller', posting: 'members' } as const

// BJ-CHAT-09, BJ-CHAT-10, BJ-T44
const channels: readonly DefaultChannel[] = [
  {
    id: 'announcements',
    category: 'General',
    name: 'Announcements',
    description: 'News from BlakJaks',
    icon: '📣',
    ...readOnly,
  },
  { id: 'general', category: 'General', name: 'General', description: 'Talk about anything', icon: '💬', ...open },
  { id: 'introductions', category: 'General', name: 'Introductions', description: 'Say hello', icon: '👋', ...open },
  {
    id: 'live-events',
    category: 'General',
    name: 'Live Events',
    description: 'While we are on air',
    icon: '🎥',
    ...open,
  },
  {
    id: 'high-roller-lounge',
    category: 'High Roller Lounge',
    name: 'High Roller Lounge',
    description: 'For High Rollers and Whales',
    icon: '♣️',
    ...highRollers,
  },
  {
    id: 'high-roller-trips',
    category: 'High Roller Lounge',
    name: 'Trips',
    description: 'Where to go next',
    icon: '✈️',
    ...highRollers,
  },
  {
    id: 'whale-room',
    category: 'High Roller Lounge',
    name: 'Whale Room',
    description: 'For Whales',
    icon: '🐋',
    minimumTier: 'whale',
    posting: 'members',
  },
  {
    id: 'wins',
    category: 'Comps & Crypto',
    name: 'Wins',
    description: 'Milestones and rises in tier, as they happen',
    icon: '🎉',
    ...open,
  },
  {
    id: 'comps',
    category: 'Comps & Crypto',
    name: 'Comps',
    description: 'How comps work, and who got one',
    icon: '🎁',
    ...open,
  },
  { id: 'crypto', category: 'Comps & Crypto', name: 'Crypto', description: 'Wallets and USDT', icon: '🪙', ...open },
  {
    id: 'governance',
    category: 'Governance',
    name: 'Governance',
    description: 'Votes and their results',
    icon: '🗳️',
    ...open,
  },
  {
    id: 'flavor-ideas',
    category: 'Governance',
    name: 'Flavor Ideas',
    description: 'What to make next',
    icon: '🧪',
    ...open,
  },
  {
    id: 'feedback',
    category: 'Governance',
    name: 'Feedback',
    description: 'What should be better',
    icon: '📝',
    ...open,
  },
]

export const blakjaksChat: ChatRules = {
  // BJ-CHAT-12
  textLengthMax: 2_000,
  editWindowMs: 5 * MINUTE_MS,
  // BJ-CHAT-20, BJ-JOB-09
  retentionMs: 90 * DAY_MS,
  // BJ-CHAT-21, BJ-T43
  paces: {
    standard: { intervalMs: 1_000, escalates: true },
    vip: { intervalMs: 500, escalates: true },
    high_roller: { intervalMs: 0, escalates: false },
    whale: { intervalMs: 0, escalates: false },
  },
  allowances: {
    edits: { atOnce: 10, intervalMs: 2_000 },
    reports: { atOnce: 10, intervalMs: MINUTE_MS },
  },
  // BJ-CHAT-22, BJ-T43
  escalation: { intervalMaxMs: 30_000, calmMs: MINUTE_MS },
  // BJ-CHAT-23, BJ-T43
  repetition: { messagesMax: 5, windowMs: 10 * MINUTE_MS, muteMs: HOUR_MS },
  mentionsMax: 10,
  emojisMax: 20,
  pinsMax: 50,
  channelsMax: 200,
  wordRulesMax: 1_000,
  // BJ-CHAT-13, BJ-CHAT-14, BJ-EMO-01
  mediaHosts: { gif: ['giphy.com'], emote: ['cdn.7tv.app'], image: ['cdn.blakjaks.com'] },
  system: { channel: 'wins', perMinuteMax: 30, tiersFrom: 'vip' },
  channels,
}
