/** What the engine keeps of every record, whatever the program: images, alarms, messages, repeats, ledger. */
import { pack, type TurnRecord } from '../../engine/record.js'
import type { Batch } from './batch.js'
import { insertInto, upsertInto } from './target.js'

const images = upsertInto('actor_images', ['actor'], { actor: 'text', shard: 'text', seq: 'bigint', image: 'bytes' })

const alarms = upsertInto('alarms', ['actor', 'name'], {
  actor: 'text',
  name: 'text',
  shard: 'text',
  at_ms: 'bigint',
  command: 'text',
  args: 'bytes',
})

const messages = upsertInto('messages', ['shard', 'seq', 'number'], {
  shard: 'text',
  seq: 'bigint',
  number: 'int',
  command: 'text',
  args: 'bytes',
})

const idempotency = upsertInto('idempotency', ['shard', 'key'], {
  shard: 'text',
  key: 'text',
  fingerprint: 'text',
  at_ms: 'bigint',
  seq: 'bigint',
  forever: 'boolean',
  outcome: 'bytes',
})

const ledgerEntries = insertInto('ledger_entries', {
  shard: 'text',
  seq: 'bigint',
  line: 'int',
  posting: 'int',
  posted_at: 'time',
  kind: 'text',
  reference: 'text',
  account: 'text',
  currency: 'text',
  amount: 'amount',
})

export const engineTargets = [images, alarms, messages, idempotency, ledgerEntries]

/** Follows the order in which a shard applies a record, so that both end with the same alarms and messages. */
export function foldEngineRows(shard: string, record: TurnRecord, batch: Batch): void {
  const { seq } = record
  for (const { actor, image } of record.images) batch.put(images, { actor, shard, seq, image })
  // First, as in the engine: the turn may have set the alarm it consumed anew, for the same moment even.
  if (record.consumed !== null) consume(shard, record.consumed, batch)
  for (const { actor, name, at, ...what } of record.alarms) {
    if (at === null) batch.remove(alarms, { actor, name })
    else if ('command' in what) {
      batch.put(alarms, { actor, name, shard, at_ms: at, command: what.command, args: pack(what.args) })
    }
  }
  for (const { id, command, args } of record.messages) {
    batch.put(messages, { ...messageKey(shard, id), command, args: pack(args) })
  }
  if (record.idempotency !== null) {
    const { key, fingerprint, forever, outcome } = record.idempotency
    const at_ms = record.input.at
    batch.put(idempotency, { shard, key, fingerprint, at_ms, seq, forever, outcome: pack(outcome) })
  }
  foldLedger(shard, record, batch)
}

/** A turn consumes only what is pending, so an alarm of that name is the one it names. */
function consume(shard: string, consumed: string, batch: Batch): void {
  const hash = consumed.indexOf('#')
  if (hash < 0) batch.remove(messages, messageKey(shard, consumed))
  else {
    const name = consumed.slice(hash + 1, consumed.lastIndexOf('@'))
    batch.remove(alarms, { actor: consumed.slice(0, hash), name })
  }
}

function messageKey(shard: string, id: string) {
  const dot = id.indexOf('.')
  return { shard, seq: Number(id.slice(0, dot)), number: Number(id.slice(dot + 1)) }
}

function foldLedger(shard: string, { seq, input, postings }: TurnRecord, batch: Batch): void {
  let line = 0
  postings.forEach(({ kind, reference, lines }, posting) => {
    for (const { account, currency, amount } of lines) {
      batch.put(ledgerEntries, {
        shard,
        seq,
        line,
        posting,
        posted_at: input.at,
        kind,
        reference,
        account,
        currency,
        amount,
      })
      line += 1
    }
  })
}
