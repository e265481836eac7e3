// Advisory locks bound to a database session, for what only one process may do.
//
// K1 A lock is held from `holdLock` to `release`, also across restarts of Postgres: a broken session is replaced and
//    the lock taken again.
// K2 A holder whose lock went to somebody else meanwhile learns it from `lost`.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { DomainError } from '../../engine/errors.js'
import { connectSession, type Sql } from './connection.js'

/** How long a lock may be another's before we call it taken: a killed predecessor's session takes a moment to end. */
const TAKE_PATIENCE_MS = 1_000
const TAKE_INTERVAL_MS = 50
const RETAKE_INTERVAL_MS = 250
const RELEASE_TIMEOUT_S = 1

export type LockMode = 'exclusive' | 'shared'

export interface HeldLock {
  /** Resolves if another process has taken the lock while our session was broken. Otherwise stays pending. */
  readonly lost: Promise<DomainError>
  release(): Promise<void>
}

interface Holder {
  readonly pid: number
  readonly name: string
  readonly address: string | null
  readonly since: Date
}

/** The sessions that hold the lock. */
export async function lockHolders(sql: Sql, key: string): Promise<readonly Holder[]> {
  return await sql<Holder[]>`
    select a.pid, a.application_name as name, host(a.client_addr) as address, a.backend_start as since
    from pg_locks l join pg_stat_activity a using (pid)
    where l.locktype = 'advisory' and l.granted and l.objsubid = 1
      and l.database = (select oid from pg_database where datname = current_database())
      and (l.classid::bigint << 32) | l.objid::bigint = hashtextextended(${key}, 0)`
}

class SessionLock implements HeldLock {
  readonly lost: Promise<DomainError>
  readonly #name = `comptroller lock ${randomUUID()}`
  readonly #sql: Sql
  #state: 'taking' | 'held' | 'released' = 'taking'
  #reportLoss: (error: DomainError) => void = () => {}

  constructor(
    url: string,
    readonly key: string,
    readonly mode: LockMode,
    readonly taken: (holder: Holder | undefined) => DomainError,
  ) {
    this.#sql = connectSession(url, this.#name, () => this.#onClose())
    this.lost = new Promise((resolve) => {
      this.#reportLoss = resolve
    })
  }

  async take(): Promise<void> {
    const deadline = performance.now() + TAKE_PATIENCE_MS
    while (!(await this.#try())) {
      const holders = await lockHolders(this.#sql, this.key)
      // A session of ours that broke on our side may live on at the server.
      const own = holders.filter((holder) => holder.name === this.#name)
      for (const { pid } of own) await this.#sql`select pg_terminate_backend(${pid})`
      if (performance.now() > deadline) throw this.taken(holders[0])
      await sleep(TAKE_INTERVAL_MS)
    }
    if (this.#state === 'taking') this.#state = 'held'
  }

  async #try(): Promise<boolean> {
    const [row] =
      this.mode === 'exclusive'
        ? await this.#sql<{ ok: boolean }[]>`select pg_try_advisory_lock(hashtextextended(${this.key}, 0)) as ok`
        : await this.#sql<{ ok: boolean }[]>`select pg_try_advisory_lock_shared(hashtextextended(${this.key}, 0)) as ok`
    return row?.ok === true
  }

  #onClose(): void {
    if (this.#state !== 'held') return
    this.#state = 'taking'
    void this.#retake()
  }

  // K1
  async #retake(): Promise<void> {
    while (this.#state === 'taking') {
      try {
        await this.take()
      } catch (error) {
        if (!(error instanceof DomainError)) await sleep(RETAKE_INTERVAL_MS)
        else if (this.#state === 'taking') {
          await this.release()
          this.#reportLoss(error) // K2
        }
      }
    }
  }

  async release(): Promise<void> {
    if (this.#state === 'released') return
    const held = this.#state === 'held'
    this.#state = 'released'
    // Unlocked in so many words, because the end of a session is noticed by the server a moment later.
    if (held) await this.#sql`select pg_advisory_unlock_all()`.catch(() => {})
    await this.#sql.end({ timeout: RELEASE_TIMEOUT_S })
  }
}

/** Takes a lock, waiting a second at most, and holds it until released. `taken` makes the refusal. */
export async function holdLock(
  url: string,
  key: string,
  mode: LockMode,
  taken: (holder: Holder | undefined) => DomainError,
): Promise<HeldLock> {
  const lock = new SessionLock(url, key, mode, taken)
  try {
    await lock.take()
    return lock
  } catch (error) {
    await lock.release()
    throw error
  }
}

/** Makes this process the only server of a shard on this database; `shard_locked` if another already is. */
export function acquireShardLock(url: string, shard: string): Promise<HeldLock> {
  return holdLock(url, `comptroller/shard/${shard}`, 'exclusive', (holder) => {
    const who = holder ? ` (connected from ${holder.address ?? 'its host'} since ${holder.since.toISOString()})` : ''
    const message = `Another server already runs shard ${shard} on this database${who}`
    return new DomainError('conflict', 'shard_locked', message)
  })
}
