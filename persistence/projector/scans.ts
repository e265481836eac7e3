import { parseCode } from '../../actors/codes/code-text.js'
import { scanAccepted, scanFlagged, scanRejected } from '../../actors/user/facts.js'
import { codeNumber } from '../code-number.js'
import { type Area, onFact } from './projection.js'
import { insertInto } from './target.js'

const scans = insertInto('scans', {
  ordinal: 'bigint',
  id: 'uuid',
  user_id: 'uuid',
  code: 'bigint',
  scanned_at: 'time',
  client_at: 'time',
  seq: 'bigint',
  code_row: 'int',
  quarter_scans: 'int',
  device_fingerprint: 'smallint',
  scan_method: 'text',
  product_sku: 'text',
  quarter: 'text',
  tier: 'text',
  geolocation: 'point',
  device_id: 'text',
  ip_address: 'inet',
  comp_type: 'text',
  comp_amount: 'usdt',
  milestone_hit: 'text',
})

const attempts = insertInto('scan_attempts', {
  seq: 'bigint',
  entry: 'int',
  id: 'uuid',
  user_id: 'uuid',
  typed: 'text',
  code: 'bigint',
  reason: 'text',
  device_id: 'text',
  ip_address: 'inet',
  attempted_at: 'time',
})

const flags = insertInto('scan_flags', {
  seq: 'bigint',
  entry: 'int',
  user_id: 'uuid',
  scan_id: 'uuid',
  rule: 'text',
  detail: 'text',
  flagged_at: 'time',
})

export const scanArea: Area = {
  targets: [scans, attempts, flags],
  deltas: {},
  facts: {
    ...onFact(scanAccepted, (scan, { seq, at }, batch) =>
      batch.put(scans, {
        ordinal: scan.ordinal,
        id: scan.scanId,
        user_id: scan.userId,
        code: codeNumber(scan.codeHi, scan.codeLo),
        scanned_at: at,
        client_at: scan.clientAt,
        seq,
        code_row: scan.codeRow,
        quarter_scans: scan.quarterScans,
        device_fingerprint: scan.deviceFingerprint,
        scan_method: scan.method,
        product_sku: scan.sku,
        quarter: scan.quarter,
        tier: scan.tier,
        geolocation: scan.lat === null || scan.lng === null ? null : [scan.lat, scan.lng],
        device_id: scan.deviceId,
        ip_address: scan.ip,
        comp_type: scan.compType,
        comp_amount: scan.compType === null ? null : scan.compAmount,
        milestone_hit: scan.milestone,
      }),
    ),
    ...onFact(scanRejected, (attempt, { seq, entry, at }, batch) => {
      const code = parseCode(attempt.code)
      batch.put(attempts, {
        seq,
        entry,
        id: attempt.attemptId,
        user_id: attempt.userId,
        typed: attempt.code,
        code: code === null ? null : codeNumber(code.hi, code.lo),
        reason: attempt.reason,
        device_id: attempt.deviceId,
        ip_address: attempt.ip,
        attempted_at: at,
      })
    }),
    ...onFact(scanFlagged, ({ userId, scanId, rule, detail }, { seq, entry, at }, batch) =>
      batch.put(flags, { seq, entry, user_id: userId, scan_id: scanId, rule, detail, flagged_at: at }),
    ),
  },
}
