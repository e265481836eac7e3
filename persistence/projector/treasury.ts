import { campaignClosed, campaignOpened, campaignRaised } from '../../actors/campaign/facts.js'
import { foreignTransferSeen, treasuryReconciled, treasurySnapshotTaken } from '../../actors/treasury/facts.js'
import { type Area, onFact } from './projection.js'
import { insertInto } from './target.js'

const snapshots = insertInto('treasury_snapshots', {
  seq: 'bigint',
  entry: 'int',
  timestamp: 'time',
  pool: 'text',
  block_height: 'bigint',
  onchain_balance: 'usdt',
  ledger_balance: 'usdt',
  in_flight: 'usdt',
})

const reconciliations = insertInto('treasury_reconciliations', {
  seq: 'bigint',
  entry: 'int',
  reconciled_at: 'time',
  pool: 'text',
  block_height: 'bigint',
  onchain_balance: 'usdt',
  ledger_balance: 'usdt',
  in_flight: 'usdt',
  difference: 'usdt',
  status: 'text',
  cause: 'text',
})

const foreignTransfers = insertInto('foreign_transfers', {
  seq: 'bigint',
  entry: 'int',
  seen_at: 'time',
  pool: 'text',
  transaction_hash: 'text',
  block_height: 'bigint',
  to_address: 'text',
  amount: 'usdt',
})

const campaignSteps = insertInto('campaign_steps', {
  seq: 'bigint',
  entry: 'int',
  campaign: 'text',
  step: 'text',
  amount: 'usdt',
  detail: 'text',
  changed_by: 'text',
  changed_at: 'time',
})

const isoOf = (ms: number) => new Date(ms).toISOString()

export const treasuryArea: Area = {
  targets: [snapshots, reconciliations, foreignTransfers, campaignSteps],
  deltas: {},
  facts: {
    ...onFact(treasurySnapshotTaken, ({ pool, height, onChain, ledger, inFlight }, { seq, entry, at }, batch) =>
      batch.put(snapshots, {
        ...{ seq, entry, timestamp: at, pool, block_height: height },
        ...{ onchain_balance: onChain, ledger_balance: ledger, in_flight: inFlight },
      }),
    ),
    ...onFact(treasuryReconciled, (seen, { seq, entry, at }, batch) => {
      const { pool, height, onChain, ledger, inFlight, difference, status, cause } = seen
      batch.put(reconciliations, {
        ...{ seq, entry, reconciled_at: at, pool, block_height: height, difference, status, cause },
        ...{ onchain_balance: onChain, ledger_balance: ledger, in_flight: inFlight },
      })
    }),
    ...onFact(foreignTransferSeen, ({ pool, hash, height, to, amount }, { seq, entry, at }, batch) =>
      batch.put(foreignTransfers, {
        ...{ seq, entry, seen_at: at, pool, amount },
        ...{ transaction_hash: hash, block_height: height, to_address: to },
      }),
    ),
    ...onFact(campaignOpened, (opened, { seq, entry, at }, batch) => {
      const { campaign, pool, compTypes, budget: amount, startsAt, endsAt, by } = opened
      const end = endsAt === null ? 'it is closed' : isoOf(endsAt)
      const detail = `${pool}: ${compTypes.join(', ')} from ${isoOf(startsAt)} until ${end}`
      const step = { campaign, step: 'opened', amount, detail }
      batch.put(campaignSteps, { seq, entry, ...step, changed_by: by, changed_at: at })
    }),
    ...onFact(campaignRaised, ({ campaign, amount, by }, { seq, entry, at }, batch) => {
      const step = { campaign, step: 'raised', amount, detail: '' }
      batch.put(campaignSteps, { seq, entry, ...step, changed_by: by, changed_at: at })
    }),
    ...onFact(campaignClosed, ({ campaign, returned, by }, { seq, entry, at }, batch) => {
      const step = { campaign, step: 'closed', amount: returned, detail: '' }
      batch.put(campaignSteps, { seq, entry, ...step, changed_by: by, changed_at: at })
    }),
  },
}
