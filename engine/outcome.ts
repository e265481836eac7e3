/** What comes of an input, and the record of its turn. */
import type { ActorRef } from './actor.js'
import type { Command, Principal, Role } from './command.js'
import { DomainError } from './errors.js'
import { type Idempotency, packImage, type StoredOutcome, type TurnRecord } from './record.js'
import type { Turn } from './turn.js'

export type Outcome<Reply> =
  | { readonly ok: true; readonly reply: Reply }
  | { readonly ok: false; readonly error: Error }

export interface Request<Args> {
  readonly args: Args
  readonly who?: Principal
  /** Client idempotency key; scoped to the principal. */
  readonly key?: string | undefined
  /** Digest of the request the key belongs to. */
  readonly fingerprint?: string | undefined
}

export interface Pending {
  readonly command: Command
  readonly args: never
  readonly who: Principal
  readonly refs: readonly ActorRef[]
  readonly key: string | undefined
  readonly fingerprint: string
  /** The message or alarm this input delivers; null for inputs from outside. */
  readonly consumes: string | null
  readonly done: (outcome: Outcome<never>) => void
}

function mayCall(needed: Role, role: Role): boolean {
  if (needed === 'public' || role === 'system') return true
  return role === needed || (needed === 'member' && role === 'admin')
}

/** Says nothing of the state, so it need not wait for it to be durable. */
export function roleRefusal(needed: Role, role: Role): DomainError | undefined {
  if (mayCall(needed, role)) return undefined
  const kind = role === 'public' ? 'unauthorized' : 'forbidden'
  return new DomainError(kind, kind, `This needs the role ${needed}.`)
}

export function notRunning(): DomainError {
  return new DomainError('unavailable', 'not_running', 'The server is starting or stopping.', { retryAfterMs: 2_000 })
}

export function tooFarBehind(): DomainError {
  return new DomainError('unavailable', 'write_behind_lag', 'The database is too far behind.', { retryAfterMs: 5_000 })
}

export function overloaded(): DomainError {
  return new DomainError('unavailable', 'overloaded', 'Too many requests wait for data.', { retryAfterMs: 1_000 })
}

export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown))
}

export function storageUnavailable(): DomainError {
  return new DomainError('unavailable', 'storage_unavailable', 'The database does not answer.', { retryAfterMs: 2_000 })
}

export function keyConflict(): DomainError {
  return new DomainError(
    'conflict',
    'idempotency_conflict',
    'This idempotency key was used with another request. Use a new key for a new request.',
  )
}

export function revive(stored: StoredOutcome): Outcome<unknown> {
  if (stored.ok) return { ok: true, reply: stored.reply }
  const { kind, code, message, details } = stored.error
  return { ok: false, error: new DomainError(kind, code, message, details) }
}

export function makeRecord(pending: Pending, turn: Turn, outcome: Outcome<unknown>): TurnRecord {
  return {
    seq: turn.seq,
    input: turn.input,
    facts: turn.facts,
    postings: turn.postings,
    images: turn.staged.map(({ ref, state }) => ({ actor: ref.id, image: packImage(state) })),
    deltas: turn.deltas.map(({ table, delta }) => ({ table: table.name, delta })),
    alarms: turn.alarms,
    messages: turn.messages,
    consumed: pending.consumes,
    idempotency: pending.key === undefined ? null : makeIdempotency(pending, pending.key, outcome),
  }
}

/** Only outcomes that changed something are kept: a refusal that left no trace is decided anew on a repeat. */
export function makeIdempotency(pending: Pending, key: string, outcome: Outcome<unknown>): Idempotency | null {
  const { fingerprint } = pending
  const forever = pending.command.naturalKey !== undefined
  if (outcome.ok) {
    // A record has no undefined: left out, it is the same after recovery.
    const stored = outcome.reply === undefined ? { ok: true as const } : outcome
    return { key, fingerprint, outcome: stored, forever }
  }
  if (!(outcome.error instanceof DomainError)) return null
  const { kind, code, message, details } = outcome.error
  return { key, fingerprint, outcome: { ok: false, error: { kind, code, message, details } }, forever }
}
