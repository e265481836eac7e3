import { compFunded, treasuryFunded } from '../../actors/treasury/facts.js'
import type { UnfundedDelta } from '../../actors/treasury/unfunded-comps.js'
import { compAwarded, milestoneUnclaimed } from '../../actors/user/facts.js'
import { compUnlocked, tinsSold, unlockThresholdChanged } from '../../actors/volume/facts.js'
import { type Area, onDelta, onFact } from './projection.js'
import { insertInto, patchOf, upsertInto } from './target.js'

const comps = insertInto('comps', {
  id: 'uuid',
  seq: 'bigint',
  user_id: 'uuid',
  type: 'text',
  amount: 'usdt',
  funded: 'boolean',
  trigger_scan_id: 'uuid',
  ordinal: 'bigint',
  milestone: 'text',
  awarded_at: 'time',
  campaign: 'text',
})

const compChanges = patchOf('comps', ['id'], { id: 'uuid', funded: 'boolean' })

const unfundedComps = upsertInto('unfunded_comps', ['comp_id'], {
  comp_id: 'text',
  seq: 'bigint',
  entry: 'int',
  user_id: 'text',
  amount: 'bigint',
  campaign: 'text',
})

const milestonesUnclaimed = insertInto('milestones_unclaimed', {
  seq: 'bigint',
  entry: 'int',
  ordinal: 'bigint',
  user_id: 'uuid',
  comp_type: 'text',
  because: 'text',
  passed_at: 'time',
})

const tins = insertInto('tins_sold', {
  seq: 'bigint',
  entry: 'int',
  tins: 'int',
  user_id: 'uuid',
  reference: 'text',
  monthly_average: 'float',
  recorded_by: 'text',
  sold_at: 'time',
})

const unlocks = upsertInto('comp_unlocks', ['comp_type'], {
  comp_type: 'text',
  monthly_average: 'float',
  unlocked_by: 'text',
  unlocked_at: 'time',
})

const thresholds = insertInto('comp_unlock_thresholds', {
  seq: 'bigint',
  entry: 'int',
  comp_type: 'text',
  tins_per_month: 'bigint',
  changed_by: 'text',
  changed_at: 'time',
})

const funding = insertInto('treasury_funding', {
  seq: 'bigint',
  entry: 'int',
  pool: 'text',
  amount: 'usdt',
  reference: 'text',
  recorded_by: 'text',
  funded_at: 'time',
})

export const prizeArea: Area = {
  targets: [comps, compChanges, unfundedComps, milestonesUnclaimed, tins, unlocks, thresholds, funding],
  deltas: onDelta<UnfundedDelta>('unfunded-comps', (delta, { seq, entry }, batch) => {
    if (delta.op === 'funded') batch.remove(unfundedComps, { comp_id: delta.compId })
    else {
      const { compId, userId, amount, campaign = null } = delta
      batch.put(unfundedComps, { comp_id: compId, seq, entry, user_id: userId, amount, campaign })
    }
  }),
  facts: {
    ...onFact(compAwarded, (comp, { seq, at }, batch) =>
      batch.put(comps, {
        id: comp.compId,
        seq,
        user_id: comp.userId,
        type: comp.compType,
        amount: comp.amount,
        funded: comp.funded,
        trigger_scan_id: comp.scanId,
        ordinal: comp.ordinal,
        milestone: comp.milestone,
        awarded_at: at,
        campaign: comp.campaign ?? null,
      }),
    ),
    ...onFact(compFunded, ({ compId: id }, _, batch) => batch.patch(compChanges, { id, funded: true })),
    ...onFact(milestoneUnclaimed, ({ ordinal, userId, compType, because }, { seq, entry, at }, batch) =>
      batch.put(milestonesUnclaimed, {
        seq,
        entry,
        ordinal,
        user_id: userId,
        comp_type: compType,
        because,
        passed_at: at,
      }),
    ),
    ...onFact(tinsSold, (sale, { seq, entry, at }, batch) =>
      batch.put(tins, {
        seq,
        entry,
        tins: sale.tins,
        user_id: sale.userId,
        reference: sale.reference,
        monthly_average: sale.average,
        recorded_by: sale.by,
        sold_at: at,
      }),
    ),
    ...onFact(compUnlocked, ({ compType, average, by }, { at }, batch) =>
      batch.put(unlocks, { comp_type: compType, monthly_average: average, unlocked_by: by, unlocked_at: at }),
    ),
    ...onFact(unlockThresholdChanged, ({ compType, tinsPerMonth, by }, { seq, entry, at }, batch) =>
      batch.put(thresholds, {
        seq,
        entry,
        comp_type: compType,
        tins_per_month: tinsPerMonth,
        changed_by: by,
        changed_at: at,
      }),
    ),
    ...onFact(treasuryFunded, ({ pool, amount, reference, by }, { seq, entry, at }, batch) =>
      batch.put(funding, { seq, entry, pool, amount, reference, recorded_by: by, funded_at: at }),
    ),
  },
}
