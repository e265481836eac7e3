import { depositSeen } from '../../actors/deposit/facts.js'
import { withdrawalIdentified, withdrawalMoved, withdrawalSubmitted } from '../../actors/withdrawal/facts.js'
import type { OpenWithdrawalDelta } from '../../actors/withdrawal/open-withdrawals.js'
import { type Area, onDelta, onFact } from './projection.js'
import { insertInto, patchOf, upsertInto } from './target.js'

const withdrawals = insertInto('withdrawals', {
  id: 'text',
  seq: 'bigint',
  user_id: 'uuid',
  transaction_hash: 'text',
  from_address: 'text',
  to_address: 'text',
  amount: 'usdt',
  submitted_at: 'time',
})

const changes = patchOf('withdrawals', ['id'], {
  id: 'text',
  to_address: 'text',
  amount: 'usdt',
  state: 'text',
  block_height: 'bigint',
  because: 'text',
  moved_at: 'time',
})

const openWithdrawals = upsertInto('open_withdrawals', ['withdrawal_id'], {
  withdrawal_id: 'text',
  seq: 'bigint',
  entry: 'int',
  user_id: 'text',
})

const deposits = insertInto('external_deposits', {
  id: 'text',
  seq: 'bigint',
  user_id: 'uuid',
  transaction_hash: 'text',
  log_index: 'bigint',
  block_height: 'bigint',
  from_address: 'text',
  to_address: 'text',
  amount: 'usdt',
  seen_at: 'time',
})

export const withdrawalArea: Area = {
  targets: [withdrawals, changes, openWithdrawals, deposits],
  deltas: onDelta<OpenWithdrawalDelta>('open-withdrawals', (delta, { seq, entry }, batch) => {
    const { withdrawalId: withdrawal_id } = delta
    if (delta.op === 'over') batch.remove(openWithdrawals, { withdrawal_id })
    else batch.put(openWithdrawals, { withdrawal_id, seq, entry, user_id: delta.userId })
  }),
  facts: {
    ...onFact(withdrawalSubmitted, ({ withdrawalId: id, userId, hash, from, to, amount }, { seq, at }, batch) =>
      batch.put(withdrawals, {
        ...{ id, seq, user_id: userId, transaction_hash: hash, submitted_at: at },
        ...{ from_address: from, to_address: to, amount },
      }),
    ),
    ...onFact(withdrawalIdentified, ({ withdrawalId: id, to, amount }, _, batch) =>
      batch.patch(changes, { id, to_address: to, amount }),
    ),
    ...onFact(withdrawalMoved, ({ withdrawalId: id, state, height, because }, { at }, batch) =>
      batch.patch(changes, { id, state, block_height: height, because, moved_at: at }),
    ),
    ...onFact(depositSeen, ({ hash, index, ...seen }, { seq, at }, batch) =>
      batch.put(deposits, {
        ...{ id: `${hash}-${index}`, seq, user_id: seen.userId, transaction_hash: hash, log_index: index },
        ...{
          block_height: seen.height,
          from_address: seen.from,
          to_address: seen.to,
          amount: seen.amount,
          seen_at: at,
        },
      }),
    ),
  },
}
