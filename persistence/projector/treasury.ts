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

export const treasuryArea: Area = {
  targets: [snapshots, reconciliations, foreignTransfers],
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
  },
}
