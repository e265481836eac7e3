import {
  payeeAddressSet,
  payoutApproved,
  payoutFailed,
  payoutMoved,
  payoutRequested,
  payoutRetried,
  payoutSettled,
} from '../../actors/payout/facts.js'
import type { OpenPayoutDelta } from '../../actors/payout/open-payouts.js'
import { walletBound, walletPaused, walletResumed } from '../../actors/wallet/facts.js'
import { type Area, onDelta, onFact } from './projection.js'
import { insertInto, patchOf, upsertInto } from './target.js'

const payouts = insertInto('payouts', {
  id: 'text',
  seq: 'bigint',
  wallet: 'text',
  kind: 'text',
  reference: 'text',
  user_id: 'uuid',
  amount: 'usdt',
  requested_by: 'text',
  requested_at: 'time',
})

const payoutChanges = patchOf('payouts', ['id'], {
  id: 'text',
  state: 'text',
  attempt: 'int',
  to_address: 'text',
  nonce: 'bigint',
  transaction_hash: 'text',
  block_height: 'bigint',
  fee: 'amount',
  because: 'text',
  moved_at: 'time',
})

/** The state of a comp follows its payout (BJ-T27). */
const compChanges = patchOf('comps', ['id'], {
  id: 'uuid',
  status: 'text',
  transaction_hash: 'text',
  paid_at: 'time',
})

const steps = insertInto('payout_steps', {
  seq: 'bigint',
  entry: 'int',
  payout_id: 'text',
  attempt: 'int',
  state: 'text',
  to_address: 'text',
  nonce: 'bigint',
  transaction_hash: 'text',
  block_height: 'bigint',
  because: 'text',
  moved_by: 'text',
  moved_at: 'time',
})

const approvals = insertInto('payout_approvals', {
  seq: 'bigint',
  entry: 'int',
  payout_id: 'text',
  intent: 'text',
  approved_by: 'text',
  approved_at: 'time',
})

const openPayouts = upsertInto('open_payouts', ['payout_id'], {
  payout_id: 'text',
  seq: 'bigint',
  entry: 'int',
  wallet: 'text',
  state: 'text',
  payee: 'text',
  amount: 'bigint',
})

const walletSteps = insertInto('wallet_steps', {
  seq: 'bigint',
  entry: 'int',
  wallet: 'text',
  state: 'text',
  detail: 'text',
  changed_by: 'text',
  changed_at: 'time',
})

const memberWallets = upsertInto('member_wallets', ['user_id'], {
  user_id: 'uuid',
  address: 'text',
  provider: 'text',
  set_at: 'time',
})

export const payoutArea: Area = {
  targets: [...[payouts, payoutChanges, compChanges], ...[steps, approvals, openPayouts, walletSteps, memberWallets]],
  deltas: onDelta<OpenPayoutDelta>('open-payouts', (delta, { seq, entry }, batch) => {
    if (delta.op === 'over') batch.remove(openPayouts, { payout_id: delta.payoutId })
    else {
      const { payoutId: payout_id, wallet, state, payee, amount } = delta
      batch.put(openPayouts, { payout_id, seq, entry, wallet, state, payee, amount })
    }
  }),
  facts: {
    ...onFact(payoutRequested, (request, { seq, at }, batch) =>
      batch.put(payouts, {
        id: request.payoutId,
        seq,
        wallet: request.wallet,
        kind: request.kind,
        reference: request.reference,
        user_id: request.userId,
        amount: request.amount,
        requested_by: request.by,
        requested_at: at,
      }),
    ),
    ...onFact(payoutMoved, (step, { seq, entry, at }, batch) => {
      const place = {
        attempt: step.attempt,
        state: step.state,
        to_address: step.to,
        nonce: step.nonce,
        transaction_hash: step.hash,
        block_height: step.height,
        because: step.because,
        moved_at: at,
      }
      batch.put(steps, { seq, entry, payout_id: step.payoutId, ...place, moved_by: step.by })
      batch.patch(payoutChanges, { id: step.payoutId, ...place })
    }),
    ...onFact(payoutApproved, ({ payoutId, intent, by }, { seq, entry, at }, batch) =>
      batch.put(approvals, { seq, entry, payout_id: payoutId, intent, approved_by: by, approved_at: at }),
    ),
    ...onFact(payoutSettled, ({ payoutId: id, kind, reference, hash, fee }, { at }, batch) => {
      batch.patch(payoutChanges, { id, fee })
      if (kind === 'comp') {
        batch.patch(compChanges, { id: reference, status: 'paid', transaction_hash: hash, paid_at: at })
      }
    }),
    ...onFact(payoutFailed, ({ kind, reference, state, hash }, _, batch) => {
      if (kind === 'comp') batch.patch(compChanges, { id: reference, status: state, transaction_hash: hash })
    }),
    ...onFact(payoutRetried, ({ kind, reference }, _, batch) => {
      if (kind === 'comp') batch.patch(compChanges, { id: reference, status: 'pending', transaction_hash: null })
    }),
    ...onFact(walletBound, ({ wallet, chain, address }, { seq, entry, at }, batch) =>
      batch.put(walletSteps, {
        ...{ seq, entry, wallet, state: 'bound', detail: `${chain} ${address}` },
        ...{ changed_by: 'system', changed_at: at },
      }),
    ),
    ...onFact(walletPaused, ({ wallet, because, by }, { seq, entry, at }, batch) =>
      batch.put(walletSteps, { seq, entry, wallet, state: 'paused', detail: because, changed_by: by, changed_at: at }),
    ),
    ...onFact(walletResumed, ({ wallet, by }, { seq, entry, at }, batch) =>
      batch.put(walletSteps, { seq, entry, wallet, state: 'resumed', detail: '', changed_by: by, changed_at: at }),
    ),
    ...onFact(payeeAddressSet, ({ userId: user_id, address, provider }, { at }, batch) =>
      batch.put(memberWallets, { user_id, address, provider, set_at: at }),
    ),
  },
}
