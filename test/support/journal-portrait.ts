// What a bank looks like after it recovered from a journal.
import { defineQuery } from '../../engine/command.js'
import type { Journal } from '../../engine/journal.js'
import { defaultLimits } from '../../engine/limits.js'
import { Shard } from '../../engine/shard.js'
import { createBank, vault } from './bank.js'
import { type Projection, World } from './engine.js'

const limits = { ...defaultLimits, cachedActorsMax: 100 }

const vaultQuery = defineQuery({
  name: 'test.vault',
  actors: () => [],
  read: (scope, _: Record<string, never>) =>
    scope.exists(vault) ? [scope.context(vault).moves, scope.balance(vault, 'outside')] : [],
})

/** Recovers a bank as a start does, and tells all that can be told of its state. Throws what recovery throws. */
export async function portraitOf(journal: Journal, store: Projection): Promise<string> {
  const bank = createBank()
  const shard = new Shard(bank.program, journal, store, new World(), limits)
  for (const name of store.names) bank.names.add(name)
  await shard.recover(store.checkpoint())
  const { alarms, outstanding_messages, idempotency_entries, last_seq } = shard.gauges()
  const found: unknown[] = [{ alarms, outstanding_messages, idempotency_entries, last_seq }]
  for (const name of [...bank.names].sort()) found.push(name, await shard.query(bank.statement, { name }))
  found.push(await shard.query(vaultQuery, {}))
  return JSON.stringify(found, (_, value: unknown) => (typeof value === 'bigint' ? `${value} cents` : value))
}
