/** Memory of cached members: their actors from Postgres into a cache, the way a shard loads them. */
import { createBlakjaks } from '../../actors/programs/blakjaks/program.js'
import { quarterOf } from '../../actors/programs/tiers.js'
import type { createUserActor } from '../../actors/user/machine.js'
import { type ActorId, type ActorType, stepState } from '../../engine/actor.js'
import { defaultLimits } from '../../engine/limits.js'
import { Loader } from '../../engine/loader.js'
import { packImage } from '../../engine/record.js'
import { Residents } from '../../engine/residents.js'
import { connect, type Sql } from '../../persistence/postgres/connection.js'
import { PostgresStore } from '../../persistence/store.js'
import { keptBytes } from './restore.js'
import { SHARD } from './stock.js'

const LOADED_AT_ONCE = 1_000
/** A busy member: so many scans in the hour, whose times are all kept. */
const SCANS_PER_MEMBER = 10
const SCAN_AT = Date.UTC(2026, 9, 1)

export interface MemberMemory {
  readonly members: number
  /** Bytes each, kept objects only. */
  readonly user: number
  readonly userAfterScans: number
  readonly account: number
}

/** Needs `--expose-gc`. */
export async function measureMembers(url: string, count: number): Promise<MemberMemory> {
  const sql = connect(url, { max: 1, applicationName: 'comptroller bench' })
  try {
    const { actors } = createBlakjaks().program
    const [user, account] = ['user', 'account'].map((name) => actors.find(({ type }) => type === name))
    if (user === undefined || account === undefined) throw new Error('the program has no members')
    const keys = await memberKeys(sql, count)
    const before = keptBytes()
    const users = await loaded(sql, user, keys)
    const withUsers = keptBytes()
    for (const key of keys) scanTenTimes(users, user, key)
    const withScans = keptBytes()
    const accounts = await loaded(sql, account, keys)
    const withAccounts = keptBytes()
    if (accounts.gauges().cached_actors + users.gauges().cached_actors !== 2 * keys.length) {
      throw new Error('not every member has a user and an account')
    }
    const each = (bytes: number) => bytes / keys.length
    return {
      members: keys.length,
      user: each(withUsers - before),
      userAfterScans: each(withScans - before),
      account: each(withAccounts - withScans),
    }
  } finally {
    await sql.end()
  }
}

async function memberKeys(sql: Sql, count: number): Promise<string[]> {
  const rows = await sql<{ key: string }[]>`select user_id as key from directory_members order by number limit ${count}`
  return rows.map(({ key }) => key)
}

/** A cache with the actors of these keys. */
async function loaded(sql: Sql, type: ActorType, keys: readonly string[]): Promise<Residents> {
  const residents = new Residents({ ...defaultLimits, cachedActorsMax: keys.length })
  const loader = new Loader(new PostgresStore(sql, SHARD), residents, () => 0)
  for (let from = 0; from < keys.length; from += LOADED_AT_ONCE) {
    const refs = keys.slice(from, from + LOADED_AT_ONCE).map((key) => type.ref(key))
    await loader.load(refs)
    // As a turn does, which needs the state.
    for (const { id } of refs) residents.state(id, 'cached')
  }
  return residents
}

function scanTenTimes(residents: Residents, type: ActorType, key: string): void {
  const id = type.ref(key).id as ActorId
  let state = residents.state(id, 'cached')
  if (state === undefined) return
  for (let scan = 0; scan < SCANS_PER_MEMBER; scan++) {
    const at = SCAN_AT + scan * 60_000
    const event = { type: 'scan.counted' as const, at, quarter: quarterOf(at), place: { lat: 40.7128, lng: -74.006 } }
    state = stepState(type as ReturnType<typeof createUserActor>, state, event, [])
  }
  residents.set(id, 'cached', state, packImage(state), 1)
}
