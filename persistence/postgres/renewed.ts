/**
 * A pool of the driver that is replaced when one of its connections is lost.
 *
 * The driver (postgres 3.4.9) cannot use a connection again that was lost when it was about to send: the timer of that
 * write is cleared, yet still taken to be running. It stays in its pool, and whoever is given it waits for the connect
 * timeout, as does, one after the other, whoever waits in the pool's queue. So:
 *
 * R1 A pool that has lost a connection gets no new work; the next query opens another pool.
 * R2 What is under way in the old one may end there; who would rather ask again is told ({@link onRenewal}).
 */
import type { Sql } from './connection.js'

/** For work that is under way when its pool is replaced; no longer than what replaced it. */
const RETIRED_END_MS = 60_000

export interface PoolEvents {
  /** A connection was made; called at least for the first one. */
  onConnected(): void
  /** A connection was lost or closed, or could not be made. */
  onClosed(): void
}

const listenersOf = new WeakMap<Sql, Set<() => void>>()

/** Calls back when the pool behind `sql` is replaced, until the function it returns is called. */
export function onRenewal(sql: Sql, listener: () => void): () => void {
  const listeners = listenersOf.get(sql)
  listeners?.add(listener)
  return () => listeners?.delete(listener)
}

/** Behaves like what `open` makes. */
export function renewed(open: (events: PoolEvents) => Sql): Sql {
  const listeners = new Set<() => void>()
  let current: Sql | undefined
  const retired = new Map<Sql, NodeJS.Timeout>()
  let isEnded = false

  /** The driver would wait for a connection that is lost for as long as it may. */
  const endRetired = (sql: Sql, timeout: number) => {
    clearTimeout(retired.get(sql))
    retired.delete(sql)
    return sql.end({ timeout })
  }
  const retire = (sql: Sql) => {
    if (current !== sql || isEnded) return
    current = undefined // R1
    // Idle connections go at once, the others after what they are doing. The driver's types leave it out.
    void (sql as Sql & { close(): Promise<void> }).close()
    retired.set(
      sql,
      setTimeout(() => endRetired(sql, 0), RETIRED_END_MS),
    )
    for (const listener of listeners) listener() // R2
  }
  const make = () => {
    // One that never was connected has nothing to forget, and knows how long to wait before it tries again.
    let wasConnected = false
    const sql = open({
      onConnected: () => {
        wasConnected = true
      },
      onClosed: () => {
        if (wasConnected) retire(sql)
      },
    })
    return sql
  }
  const pool = () => {
    current ??= make()
    return current
  }
  const end = async (options?: { timeout?: number }) => {
    isEnded = true
    const others = [...retired.keys()].map((sql) => endRetired(sql, options?.timeout ?? 0))
    await Promise.all([pool().end(options), ...others])
  }
  const facade = new Proxy((() => {}) as unknown as Sql, {
    apply: (_, self, input) => Reflect.apply(pool(), self, input),
    get: (_, name) => (name === 'end' ? end : Reflect.get(pool(), name)),
  })
  listenersOf.set(facade, listeners)
  return facade
}
