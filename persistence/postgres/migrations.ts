// Brings the schema up to date from plain NNNN_name.sql files.
//
// M1 A file is applied whole or not at all, and recorded in the same transaction.
// M2 Files are applied in the order of their numbers, each once, also when several processes start together.
// M3 An applied file never changes.
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { DomainError, type ErrorKind } from '../../engine/errors.js'
import { errorCode, type Transaction } from './connection.js'
import type { Transactions } from './session.js'

const LOCK_KEY = 'comptroller/migrations'
const LOCK_TIMEOUT_MS = 1_000
/** Attempts per transaction; with the lock timeout this is two minutes of waiting. */
const LOCK_ATTEMPTS_MAX = 120
const FILE_NAME = /^(\d{4})_([a-z0-9_]+)\.sql$/

interface Migration {
  readonly version: number
  readonly name: string
  readonly file: string
  readonly text: string
  readonly checksum: string
}

const fail = (kind: ErrorKind, code: string, message: string) => new DomainError(kind, code, message)

/**
 * Applies the files of `folder` that the database does not have yet and returns their names.
 * Errors: `migration_changed`, `migration_out_of_order`, `migration_invalid`, `migration_failed`, `migration_blocked`.
 */
export async function migrate(sql: Transactions, folder: string, log: Logger): Promise<string[]> {
  const migrations = await readMigrations(folder)
  const applied: string[] = []
  let pending = await retryLocked(sql, async (tx) => {
    const found = await compare(tx, migrations)
    if (found.unknown.length > 0)
      log.warn({ versions: found.unknown }, 'the database has migrations unknown to this version')
    return found.pending
  })
  while (pending[0]) {
    const next = pending[0]
    // Looked at anew under the lock each time: another process may have applied it since.
    pending = await retryLocked(sql, async (tx) => {
      const found = await compare(tx, migrations)
      if (found.pending[0] === next) await apply(tx, next)
      return found.pending
    })
    if (pending[0] !== next) continue
    applied.push(next.file)
    pending = pending.slice(1)
    log.info({ migration: next.file }, 'migration applied')
  }
  return applied
}

async function readMigrations(folder: string): Promise<Migration[]> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.sql')).sort()
  const migrations = await Promise.all(files.map((file) => readMigration(folder, file)))
  migrations.forEach(({ version, file }, index) => {
    const previous = migrations[index - 1]
    if (previous?.version === version) {
      throw fail('conflict', 'migration_invalid', `${previous.file} and ${file} have the same number`)
    }
  })
  return migrations
}

async function readMigration(folder: string, file: string): Promise<Migration> {
  const [, digits, name] = FILE_NAME.exec(file) ?? []
  if (!digits || !name) throw fail('invalid', 'migration_invalid', `${file} is not named NNNN_name.sql`)
  // A checkout with Windows line ends is the same migration.
  const text = (await readFile(join(folder, file), 'utf8')).replaceAll('\r\n', '\n')
  if (/^\s*(commit|rollback|end)\s*(;|transaction\b|work\b)/im.test(withoutBodies(text))) {
    throw fail('invalid', 'migration_invalid', `${file} ends its transaction itself`) // M1
  }
  const checksum = createHash('sha256').update(text).digest('hex')
  return { version: Number(digits), name, file, text, checksum }
}

/** The text without dollar-quoted function bodies, in which `end;` is not about transactions. */
const withoutBodies = (text: string) => text.replace(/(\$[a-z_0-9]*\$).*?\1/gis, '')

/** Runs `work` in a transaction that excludes other runners, again while locks are in the way. */
async function retryLocked<T>(sql: Transactions, work: (tx: Transaction) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return (await sql.begin('read write', async (tx) => {
        await tx.unsafe(`set local lock_timeout = ${LOCK_TIMEOUT_MS}`)
        await tx`select pg_advisory_xact_lock(hashtextextended(${LOCK_KEY}, 0))`
        return await work(tx)
      })) as T
    } catch (error) {
      const blocked = ['55P03', '40P01'].includes(errorCode(error)) // lock_not_available, deadlock_detected
      if (!blocked) throw error
      if (attempt < LOCK_ATTEMPTS_MAX) continue
      const waitedS = (LOCK_ATTEMPTS_MAX * LOCK_TIMEOUT_MS) / 1000
      throw fail('unavailable', 'migration_blocked', `Something has held the database's tables for ${waitedS} s`)
    }
  }
}

interface Comparison {
  /** Files to apply, in order. */
  readonly pending: readonly Migration[]
  /** Numbers applied by a newer or another version of this program. */
  readonly unknown: readonly number[]
}

/** Checks the files against what is applied. */
async function compare(tx: Transaction, migrations: readonly Migration[]): Promise<Comparison> {
  await tx`create table if not exists schema_migrations (
    version integer primary key,
    name text not null,
    checksum text not null,
    applied_at timestamptz not null default now()
  )`
  const rows = await tx<{ version: number; name: string; checksum: string }[]>`
    select version, name, checksum from schema_migrations order by version`
  const applied = new Map(rows.map((row) => [row.version, row]))
  const last = rows.at(-1)?.version ?? 0
  for (const { version, file, checksum } of migrations) {
    const row = applied.get(version)
    if (row && row.checksum !== checksum) {
      const message = `${file} has changed since it was applied; restore it and put the change into a new file`
      throw fail('conflict', 'migration_changed', message) // M3
    }
    if (!row && version < last) {
      const message = `${file} is new, but number ${last} is already applied; give it a higher number`
      throw fail('conflict', 'migration_out_of_order', message) // M2
    }
  }
  const known = new Set(migrations.map(({ version }) => version))
  return {
    pending: migrations.filter(({ version }) => !applied.has(version)),
    unknown: [...applied.keys()].filter((version) => !known.has(version)),
  }
}

async function apply(tx: Transaction, migration: Migration): Promise<void> {
  const { version, name, file, text, checksum } = migration
  try {
    await tx.unsafe(text)
  } catch (error) {
    if (['55P03', '40P01'].includes(errorCode(error))) throw error
    const position = error instanceof Error && 'position' in error ? Number(error.position) : 0
    const line = position > 0 ? `:${text.slice(0, position).split('\n').length}` : ''
    const reason = error instanceof Error ? error.message : String(error)
    throw fail('unprocessable', 'migration_failed', `${file}${line}: ${reason}`)
  }
  await tx`insert into schema_migrations (version, name, checksum) values (${version}, ${name}, ${checksum})`
}
