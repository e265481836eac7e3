/** A journal of real scan records, made by the real program on a shard with nothing but the journal behind it. */
import { randomBytes, randomUUID } from 'node:crypto'
import { codesFromRandom, formatCode, RANDOM_BYTES_PER_CODE } from '../../actors/codes/code-text.js'
import { packCodes } from '../../actors/codes/commands.js'
import { createBlakjaks } from '../../actors/programs/blakjaks/program.js'
import type { LoyaltyProgram } from '../../actors/programs/loyalty.js'
import { inParallel } from '../../cli/progress.js'
import { type Principal, system } from '../../engine/command.js'
import { Shard } from '../../engine/shard.js'
import type { Checkpoint, Environment, Store } from '../../engine/store.js'
import { openFileJournal } from '../../persistence/journal/file-journal.js'

const CODES_PER_TURN = 1_024
const AT_ONCE = 512
/** Ten million scans a day, evenly. */
const SCAN_EVERY_MS = 8.64
const FIRST_SCAN_AT = Date.UTC(2026, 9, 1)

export interface ScanLoad {
  readonly directory: string
  readonly members: number
  readonly scans: number
  /** Whether each scan has an Idempotency-Key. */
  readonly keyed: boolean
}

export const nothingApplied: Checkpoint = {
  appliedSeq: 0,
  lastAt: 0,
  pinned: [],
  alarms: [],
  messages: [],
  idempotency: [],
}

/** For a shard that has everything in memory. */
export const emptyStore: Store = { loadImages: async () => new Map(), loadOutcome: async () => undefined }

/** A clock that only moves when told to, and no timers. */
export class HandClock implements Environment {
  at = FIRST_SCAN_AT
  now = () => Math.floor(this.at)
  micros = () => 0
  newId = () => randomUUID()
  wakeAt = () => () => {}
}

interface Scene {
  readonly shard: Shard
  readonly loyalty: LoyaltyProgram
  readonly clock: HandClock
}

/**
 * Writes members, codes and scans to the journal of an empty directory and tells how many are done. Returns the last
 * record before the scans.
 */
export async function writeScanJournal(load: ScanLoad, onScan: (done: number) => void): Promise<{ stockSeq: number }> {
  let onDurable = (_: number) => {}
  const fail = (error: Error) => {
    throw error
  }
  const { journal } = await openFileJournal({
    directory: load.directory,
    listener: { onDurable: (seq) => onDurable(seq), onFailure: fail },
  })
  const loyalty = createBlakjaks()
  const clock = new HandClock()
  const shard = new Shard(loyalty.program, journal, emptyStore, clock)
  await shard.recover(nothingApplied)
  onDurable = (seq) => {
    shard.durable(seq)
    shard.applied(seq)
  }
  const scene = { shard, loyalty, clock }
  const members = await openMembers(scene, load.members)
  const codes = await makeCodes(scene, load.scans)
  const stockSeq = shard.lastSeq
  await scanAll(scene, load, members, codes, onScan)
  await shard.drain()
  return { stockSeq }
}

async function openMembers({ shard, loyalty }: Scene, count: number): Promise<Principal[]> {
  const members = Array.from(
    { length: count },
    (): Principal => ({ userId: randomUUID(), sessionId: randomUUID(), role: 'member' }),
  )
  await inParallel(count, AT_ONCE, async (index) => {
    const { userId, sessionId } = members[index] as Principal
    await shard.execute(loyalty.commands.open, {
      args: {
        userId,
        email: `member${index}@example.com`,
        username: `member${index}`,
        full_name: `Member ${index}`,
        date_of_birth: '1990-01-01',
        language: 'en',
        passwordHash: '-',
        verification: null,
        session: { sessionId, device: 'mobile' },
        isAdmin: false,
      },
      who: system,
    })
  })
  return members
}

/** Active codes as text, in random order of nothing: they were drawn at random. */
async function makeCodes({ shard, loyalty: { commands } }: Scene, quantity: number): Promise<string[]> {
  const { batch } = await shard.execute(commands.createBatch, {
    args: { name: 'bench', quantity, product_sku: 'SPEARMINT-3MG', checksum: false },
    who: system,
  })
  const texts: string[] = []
  for (let after = 0; after < quantity; ) {
    const drawn = codesFromRandom(
      randomBytes(RANDOM_BYTES_PER_CODE * Math.min(CODES_PER_TURN, quantity - after)),
      false,
    )
    const codes = packCodes(drawn)
    after = (await shard.execute(commands.appendCodes, { args: { batch, after, codes }, who: system })).generated
    await shard.execute(commands.manufacture, { args: { codes }, who: system })
    for (let at = 0; at < drawn.length; at += 2) texts.push(formatCode(drawn[at] as number, drawn[at + 1] as number))
  }
  return texts
}

async function scanAll(
  { shard, loyalty, clock }: Scene,
  { scans, keyed }: ScanLoad,
  members: readonly Principal[],
  codes: readonly string[],
  onScan: (done: number) => void,
): Promise<void> {
  let done = 0
  await inParallel(scans, AT_ONCE, async (index) => {
    const member = index % members.length
    clock.at += SCAN_EVERY_MS
    await shard.execute(loyalty.commands.submitScan, {
      args: {
        code: codes[index] as string,
        timestamp: clock.now(),
        location: { lat: 25 + (member % 2_000) / 100, lng: -120 + (member % 4_500) / 100 },
        device_id: `bench-${member}`,
        method: 'qr',
        ip: '203.0.113.7',
      },
      who: members[member] as Principal,
      ...(keyed ? { key: randomUUID(), fingerprint: 'bench' } : {}),
    })
    done += 1
    if (done % 1_000 === 0) onScan(done)
  })
}
