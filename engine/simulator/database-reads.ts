/** What a start and a shard read back from the simulated database, as persistence/restore and the store do with SQL. */
import type { OpenState } from '../../actors/payout/open-payouts.js'
import type { LoyaltyProgram } from '../../actors/programs/loyalty.js'
import type { AnyRow } from '../../persistence/projector/columns.js'
import type { ActorId } from '../actor.js'
import { type StoredOutcome, unpack } from '../record.js'
import type { Checkpoint, Store } from '../store.js'
import { restoreRecentMessages } from './chat-reads.js'
import type { SimulatedPostgres } from './postgres.js'
import { SHARD } from './program.js'
import type { Life } from './scheduler.js'
import type { Tables } from './tables.js'

const SCANNED = 2
const DEVICE_SHIFT = 2
const bytesOf = (value: unknown) => value as Uint8Array

/** Fills the tables of a fresh program, and returns the checkpoint of the same moment. */
export function restoreFrom(
  tables: Tables,
  { program, book, directory, unfunded, open, openWithdrawals, chat }: LoyaltyProgram,
): Checkpoint {
  restoreCodes(tables, book)
  const members = sortedBy(tables.rows('directory_members'), 'number')
  directory.restoreMembers(Buffer.concat(members.map(({ user_id }) => uuidBytes(String(user_id)))))
  for (const kind of ['email', 'username'] as const) {
    const names = tables.rows('directory_names').filter((row) => row.kind === kind)
    const keys = names.flatMap(({ name_key }) => halves(BigInt(name_key as bigint)))
    directory.restoreNames(
      kind,
      Uint32Array.from(keys),
      Uint32Array.from(names, (row) => Number(row.member_number)),
    )
  }
  for (const row of sortedBy(tables.rows('unfunded_comps'), 'seq', 'entry')) {
    const { comp_id, user_id, amount } = row
    unfunded.apply({ op: 'waits', compId: String(comp_id), userId: String(user_id), amount: BigInt(amount as bigint) })
  }
  for (const row of sortedBy(tables.rows('open_payouts'), 'seq', 'entry')) {
    const { payout_id, wallet, state, payee, amount } = row
    const place = {
      payoutId: String(payout_id),
      wallet: String(wallet),
      state: state as OpenState,
      payee: String(payee),
    }
    open.apply({ op: 'is', ...place, amount: BigInt(amount as bigint) })
  }
  for (const { withdrawal_id, user_id } of sortedBy(tables.rows('open_withdrawals'), 'seq', 'entry')) {
    openWithdrawals.apply({ op: 'is', withdrawalId: String(withdrawal_id), userId: String(user_id) })
  }
  restoreRecentMessages(tables, chat.recentMessages)
  const pinned = new Set(program.actors.filter(({ residency }) => residency === 'pinned').map(({ type }) => type))
  return checkpointOf(tables, pinned)
}

function checkpointOf(tables: Tables, pinnedTypes: ReadonlySet<string>): Checkpoint {
  const images = tables.rows('actor_images')
  const isPinned = (actor: string) => pinnedTypes.has(actor.slice(0, actor.indexOf('/')))
  return {
    appliedSeq: tables.appliedSeq,
    lastAt: tables.lastAt,
    pinned: images
      .filter(({ actor }) => isPinned(String(actor)))
      .map(({ actor, image }) => ({ actor: actor as ActorId, image: bytesOf(image) })),
    alarms: sortedBy(tables.rows('alarms'), 'actor', 'name').map(({ actor, name, at_ms, command, args }) => ({
      ...{ actor: actor as ActorId, name: String(name), at: Number(at_ms) },
      ...{ command: String(command), args: unpack(bytesOf(args)) },
    })),
    messages: sortedBy(tables.rows('messages'), 'seq', 'number').map(({ seq, number, command, args }) => ({
      ...{ id: `${seq}.${number}`, command: String(command), args: unpack(bytesOf(args)) },
    })),
    idempotency: sortedBy(
      tables.rows('idempotency').filter(({ forever }) => forever === false),
      'seq',
    ).map(({ key, fingerprint, at_ms, seq }) => ({
      ...{ key: String(key), fingerprint: String(fingerprint), at: Number(at_ms), seq: Number(seq), forever: false },
    })),
  }
}

function restoreCodes(tables: Tables, book: LoyaltyProgram['book']): void {
  const scanned = new Map<number, number>()
  const parked = tables.parked.filter(({ table }) => table === 'scans').map(({ row }) => row as AnyRow)
  for (const { code_row, device_fingerprint } of [...tables.rows('scans'), ...parked]) {
    scanned.set(Number(code_row), SCANNED | (Number(device_fingerprint) << DEVICE_SHIFT))
  }
  for (const { batch, firstRow, codes, statuses } of tables.chunks) {
    const overlaid = statuses.map((status, at) => scanned.get(firstRow + at) ?? status)
    book.restoreChunk(batch, codes, overlaid)
  }
}

/** The store of one process. */
export function storeOf(postgres: SimulatedPostgres, life: Life): Store {
  const { tables } = postgres
  return {
    loadImages: (ids) =>
      postgres.call(life, () => {
        const rows = ids.map((id) => [id, tables.find('actor_images', id)?.image] as const)
        return new Map(rows.flatMap(([id, image]) => (image === undefined ? [] : [[id, bytesOf(image)] as const])))
      }),
    loadOutcome: (key) =>
      postgres.call(life, () => {
        const row = tables.find('idempotency', `${SHARD}\n${key}`)
        if (row === undefined) return undefined
        postgres.story.mark('a repeat was found in the database')
        const { fingerprint, at_ms, outcome } = row
        return {
          fingerprint: String(fingerprint),
          at: Number(at_ms),
          outcome: unpack<StoredOutcome>(bytesOf(outcome)),
        }
      }),
  }
}

function sortedBy(rows: readonly AnyRow[], ...names: readonly string[]): AnyRow[] {
  return [...rows].sort((a, b) => {
    for (const name of names) {
      const [left, right] = [a[name], b[name]]
      if (left === right || left == null || right == null) continue
      return left < right ? -1 : 1
    }
    return 0
  })
}

const uuidBytes = (text: string) => Buffer.from(text.replaceAll('-', ''), 'hex')
const halves = (key: bigint) => {
  const unsigned = BigInt.asUintN(64, key)
  return [Number(unsigned >> 32n), Number(unsigned & 0xffff_ffffn)]
}
