import type { CodeDelta } from '../../actors/codes/code-book.js'
import { batchCompleted, batchCreated, batchExported } from '../../actors/codes/facts.js'
import { type Area, onDelta, onFact } from './projection.js'
import { insertInto, patchOf } from './target.js'

const batches = insertInto('qr_batches', {
  id: 'int',
  name: 'text',
  product_sku: 'text',
  code_count: 'int',
  checksum: 'boolean',
  created_by: 'text',
  generated_at: 'time',
})

const batchChanges = patchOf('qr_batches', ['id'], { id: 'int', completed_at: 'time', exported_at: 'time' })

/** Chunks and rows are numbered here as the code book numbers them: in the order they are added. */
const chunks = insertInto(
  'qr_code_chunks',
  { batch_id: 'int', code_count: 'int', generated_at: 'time', codes: 'bytes', statuses: 'bytes' },
  (sent) => `
    insert into qr_code_chunks (chunk, first_row, code_count, batch_id, generated_at, codes, statuses)
    select last.chunk + sent.place, last.end_row + sum(sent.code_count) over (order by sent.place) - sent.code_count,
      sent.code_count, sent.batch_id, to_timestamp(sent.generated_at / 1000.0::float8), sent.codes, sent.statuses
    from ${sent}, (
      select coalesce(max(chunk), -1) as chunk, coalesce(max(first_row + code_count), 0) as end_row
      from (select * from qr_code_chunks order by chunk desc limit 1) newest
    ) last`,
)

const statusChanges = insertInto('qr_status_changes', {
  seq: 'bigint',
  entry: 'int',
  status: 'text',
  first_row: 'int',
  end_row: 'int',
  runs: 'ints',
  changed_at: 'time',
})

const statuses = insertInto(
  'qr_code_chunks',
  { runs: 'ints', status: 'text' },
  (sent) => `
    select set_code_status(change.runs, change.status)
    from (select ('{' || runs || '}')::int4[] as runs, status from ${sent} order by place) change`,
)

const CODE_BYTES = 8

export const codeArea: Area = {
  targets: [batches, batchChanges, chunks, statuses, statusChanges],
  deltas: onDelta<CodeDelta>('codes', (delta, { seq, entry, at }, batch) => {
    if (delta.op === 'append') {
      const count = delta.codes.length / CODE_BYTES
      batch.put(chunks, {
        batch_id: delta.batch,
        code_count: count,
        generated_at: at,
        codes: delta.codes,
        statuses: new Uint8Array(count),
      })
    } else if (delta.op === 'status') {
      const { status, runs } = delta
      const end = (runs.at(-2) ?? 0) + (runs.at(-1) ?? 0)
      batch.put(statuses, { runs, status })
      batch.put(statusChanges, { seq, entry, status, first_row: runs[0] ?? 0, end_row: end, runs, changed_at: at })
    }
    // A scanned code is implied by its scan, which spares an update for every scan.
  }),
  facts: {
    ...onFact(batchCreated, ({ batch: id, name, sku, quantity, checksum, by }, { at }, batch) =>
      batch.put(batches, {
        id,
        name,
        product_sku: sku,
        code_count: quantity,
        checksum,
        created_by: by,
        generated_at: at,
      }),
    ),
    ...onFact(batchCompleted, ({ batch: id }, { at }, batch) => batch.patch(batchChanges, { id, completed_at: at })),
    ...onFact(batchExported, ({ batch: id }, { at }, batch) => batch.patch(batchChanges, { id, exported_at: at })),
  },
}
