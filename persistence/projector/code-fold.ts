/**
 * Folds scans into the status bytes of their codes' chunks, so that a start reads only the scans after a mark. Done
 * little by little, for many scans at once: the chunk of a code is a kilobyte or more, too much to write for each scan.
 *
 * F1 Only committed scans are folded, and folding one twice changes nothing: a fold may be cut short anywhere.
 * F2 The mark moves with the last chunks of a fold. Up to it every scan is in the chunks, those that were parked then
 *    too: they need not be looked for again, wherever a retry puts them.
 * F3 The mark of the shard is locked meanwhile, as it is by every batch: nothing else changes the chunks.
 */

import type { Session } from '../postgres/session.js'
import { eachScan, packedScans } from '../scanned-codes.js'
import { arrayText } from './columns.js'
import type { ProjectorLimits } from './limits.js'

/** Scans on their way into the chunks. */
interface Fold {
  /** Code row and status byte of each as one number, ascending. */
  readonly scans: Float64Array
  readonly throughOrdinal: bigint
  /** How many are in the chunks. */
  readonly done: number
}

const STATES = 256

export class CodeFold {
  #fold: Fold | undefined
  #steppedAt = Number.NEGATIVE_INFINITY

  constructor(
    private readonly session: Session,
    private readonly shard: string,
    private readonly limits: ProjectorLimits,
  ) {}

  /** One short transaction, if it is time for one. */
  async step(): Promise<void> {
    if (performance.now() - this.#steppedAt < this.limits.foldIntervalMs) return
    this.#steppedAt = performance.now()
    if (this.#fold === undefined) this.#fold = await this.#begin()
    else this.#fold = await this.#goOn(this.#fold)
  }

  /** Reads what is to be folded, if it is worth the while. */
  async #begin(): Promise<Fold | undefined> {
    const { foldScansMin, foldScansMax } = this.limits
    const [ends] = await this.session.query(
      `select coalesce((select folded_ordinal from code_fold_mark), 0) as folded,
         coalesce((select max(ordinal) from scans), 0) as last`,
    )
    const folded = BigInt(ends?.folded as bigint)
    const waiting = Number(BigInt(ends?.last as bigint) - folded)
    if (waiting < foldScansMin) return undefined
    const throughOrdinal = folded + BigInt(Math.min(waiting, foldScansMax))
    const scans: number[] = []
    for (const { packed } of await this.session.query(packedScans, [folded, throughOrdinal])) {
      eachScan(packed as Buffer, (codeRow, state) => scans.push(codeRow * STATES + state))
    }
    return { scans: Float64Array.from(scans).sort(), throughOrdinal, done: 0 }
  }

  /** Folds the scans of the next chunks; undefined when they were the last. */
  async #goOn(fold: Fold): Promise<Fold | undefined> {
    return this.session.transaction(async () => {
      await this.session.query('select from projector_mark where shard = $1 for update', [this.shard]) // F3
      const done = await this.#foldChunks(fold)
      if (done < fold.scans.length) return { ...fold, done }
      // F2
      await this.session.query(
        `insert into code_fold_mark (folded_ordinal) values ($1) on conflict (only_row)
         do update set folded_ordinal = greatest(code_fold_mark.folded_ordinal, excluded.folded_ordinal)`,
        [fold.throughOrdinal],
      )
      return undefined
    })
  }

  /** Returns how many scans are in the chunks then. */
  async #foldChunks({ scans, done }: Fold): Promise<number> {
    const nextRow = Math.floor((scans[done] ?? 0) / STATES)
    const chunks = await this.session.query(
      `select chunk, first_row, statuses from qr_code_chunks
       where first_row >= (select max(first_row) from qr_code_chunks where first_row <= $1)
       order by first_row limit $2`,
      [nextRow, this.limits.foldChunksMax],
    )
    const changed: { readonly row: { readonly chunk: number; readonly statuses: Uint8Array } }[] = []
    let next = done
    for (const { chunk, first_row: firstRow, statuses } of chunks as unknown as Chunk[]) {
      const before = next
      const end = (firstRow + statuses.length) * STATES
      for (let scan = scans[next]; scan !== undefined && scan < end; scan = scans[++next]) {
        statuses[Math.floor(scan / STATES) - firstRow] = scan % STATES
      }
      if (next > before) changed.push({ row: { chunk, statuses } })
    }
    // Beyond all chunks there is nothing to fold into; only a parked row made up by hand can name such a code.
    if (changed.length === 0) return scans.length
    await this.session.query(
      `update qr_code_chunks set statuses = sent.statuses from unnest($1::int4[], $2::bytea[]) as sent (chunk, statuses)
       where qr_code_chunks.chunk = sent.chunk`,
      [arrayText(changed, 'chunk'), arrayText(changed, 'statuses')],
    )
    return next
  }
}

interface Chunk {
  readonly chunk: number
  readonly first_row: number
  readonly statuses: Uint8Array
}
