/** Batches of codes: generate, activate, invalidate, export (BJ-QR-01…12). Packed codes are eight bytes each. */
import { z } from 'zod'
import { defineCommand, defineQuery, type Principal } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import type { ReadScope, Turn } from '../../engine/turn.js'
import { batchCounter } from '../counter/machine.js'
import type { LoyaltyRules } from '../programs/rules.js'
import type { MemberAccess } from '../user/access.js'
import { CHUNK_CODES_MAX, type CodeBook, type CodeStatus, runsOf } from './code-book.js'
import { batchCreated, batchExported } from './facts.js'
import { batchActor } from './machine.js'

export const BATCH_CODES_MAX = 10_000_000

export const newBatch = z.object({
  name: z.string().min(1).max(255),
  quantity: z.number().int().min(1).max(BATCH_CODES_MAX),
  product_sku: z.string().min(1).max(50),
  checksum: z.boolean().default(false),
})

const packedCodes = z.object({ codes: z.instanceof(Uint8Array) })

export function codeCommands(rules: LoyaltyRules, book: CodeBook, access: MemberAccess) {
  const actors = (_: unknown, who: Principal) => access.refsOf(who)

  const createBatch = defineCommand({
    name: 'codes.create_batch',
    input: newBatch,
    who: 'admin',
    actors,
    handle: (turn, { name, quantity, product_sku: sku, checksum }) => {
      const by = access.requireAdmin(turn)
      if (!rules.products.has(sku)) {
        const known = [...rules.products.keys()].slice(0, 3).join(', ')
        throw new DomainError('unprocessable', 'sku_unknown', `There is no product ${sku}. Examples: ${known}.`, {
          field: 'product_sku',
        })
      }
      turn.step(batchCounter, { type: 'advanced' })
      const batch = turn.context(batchCounter).value
      const ref = batchActor.ref(String(batch))
      turn.step(ref, { type: 'batch.opened', number: batch, name, sku, quantity, checksum, at: turn.at })
      turn.emit(batchCreated.make({ batch, name, sku, quantity, checksum, by }))
      return { batch, quantity }
    },
  })

  /** Adds freshly drawn codes. Codes that are known already are dropped; the generator draws more (BJ-QR-02). */
  const appendCodes = defineCommand({
    name: 'codes.append',
    input: packedCodes.extend({ batch: z.number(), after: z.number() }),
    who: 'system',
    actors: () => [],
    handle: (turn, { batch, after, codes }) => {
      const ref = batchActor.ref(String(batch))
      const { generated, quantity } = turn.context(ref)
      // `after` makes a repeat of the same chunk harmless.
      if (turn.value(ref) !== 'generating' || after !== generated) return { generated }
      const wanted = unpackCodes(codes).subarray(0, 2 * Math.min(CHUNK_CODES_MAX, quantity - generated))
      const fresh = book.fresh(wanted)
      if (fresh.length === 0) return { generated }
      turn.change(book, { op: 'append', batch, codes: fresh })
      turn.step(ref, { type: 'codes.added', count: fresh.length / 8 })
      return { generated: turn.context(ref).generated }
    },
  })

  /** Moves those codes that may move, and counts the others. */
  function move(turn: Turn, codes: Uint8Array, status: Exclude<CodeStatus, 'scanned'>) {
    access.requireAdmin(turn)
    const rows = new Set<number>()
    const found = { moved: 0, already: 0, unknown: 0, invalid: 0 }
    const pairs = unpackCodes(codes)
    for (let at = 0; at < pairs.length; at += 2) {
      const row = book.find(pairs[at] ?? 0, pairs[at + 1] ?? 0)
      if (row < 0) found.unknown += 1
      else if (rows.has(row) || isPast(book.status(row), status)) found.already += 1
      else if (book.mayBecome(row, status)) rows.add(row)
      else found.invalid += 1
    }
    found.moved = rows.size
    if (rows.size > 0) turn.change(book, { op: 'status', runs: runsOf(rows), status })
    return found
  }

  /** The manufacturer's feedback: generated codes become active (BJ-QR-07). */
  const manufacture = defineCommand({
    name: 'codes.manufacture',
    input: packedCodes,
    who: 'admin',
    actors,
    handle: (turn, { codes }) => move(turn, codes, 'manufactured'),
  })

  /** Takes unused codes out of use, or makes them usable for a new production run (BJ-QR-08). */
  const setUnused = defineCommand({
    name: 'codes.set_unused',
    input: packedCodes.extend({ status: z.enum(['invalidated', 'generated']) }),
    who: 'admin',
    actors,
    handle: (turn, { codes, status }) => move(turn, codes, status),
  })

  const noteExport = defineCommand({
    name: 'codes.note_export',
    input: z.object({ batch: z.number() }),
    who: 'admin',
    actors,
    handle: (turn, { batch }) => {
      const by = access.requireAdmin(turn)
      requireBatch(turn, batch)
      turn.emit(batchExported.make({ batch, by }))
      return null
    },
  })

  const listBatches = defineQuery({
    name: 'codes.list_batches',
    actors: () => [],
    read: (scope, _: Record<string, never>) =>
      Array.from({ length: scope.context(batchCounter).value }, (_item, index) => {
        const ref = batchActor.ref(String(index + 1))
        return { ...scope.context(ref), state: scope.value(ref) as string, counts: book.batchCounts(index + 1) }
      }).reverse(),
  })

  return { createBatch, appendCodes, manufacture, setUnused, noteExport, listBatches }
}

/** Throws `batch_unknown`. */
export function requireBatch(scope: ReadScope, batch: number) {
  const ref = batchActor.ref(String(batch))
  if (!Number.isInteger(batch) || batch < 1 || batch > scope.context(batchCounter).value) {
    throw new DomainError('not_found', 'batch_unknown', `There is no batch ${batch}.`, { field: 'batch_id' })
  }
  return scope.context(ref)
}

/** Whether a code has that status or one that comes after it, so that repeating the feedback changes nothing. */
function isPast(status: CodeStatus, wanted: CodeStatus): boolean {
  return status === wanted || (wanted === 'manufactured' && status === 'scanned')
}

function unpackCodes(packed: Uint8Array): Uint32Array {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength)
  const codes = new Uint32Array(packed.byteLength / 4)
  for (let at = 0; at < codes.length; at++) codes[at] = view.getUint32(at * 4)
  return codes
}

/** Packs [hi, lo, …] as eight bytes a code. */
export function packCodes(codes: Uint32Array): Uint8Array {
  const packed = new Uint8Array(codes.length * 4)
  const view = new DataView(packed.buffer)
  codes.forEach((half, at) => {
    view.setUint32(at * 4, half)
  })
  return packed
}
