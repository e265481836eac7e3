/**
 * Which sockets speak for which session, so that an ended session ends its sockets at once.
 *
 * M1 A socket is entered before its session is checked: a session that closes meanwhile is noticed on one side or the
 *    other. M2 A socket leaves exactly once, however it goes. B1 Sockets of one member are bounded.
 */
import { DomainError } from '../../engine/errors.js'
import type { Environment } from '../../engine/store.js'
import type { Principal } from '../http/toolkit/principal.js'
import type { ServerSocket } from './client-out.js'

export interface Authenticated {
  readonly principal: Principal
  /** When the token ends, in milliseconds since 1970. */
  readonly expiresAtMs: number
}

/** A member's socket, from its handshake to its end. */
export class Member {
  #endedBecause: string | undefined

  constructor(
    readonly socket: ServerSocket,
    readonly principal: Principal,
    /** Forgets the socket (M2). */
    readonly leave: () => void,
  ) {}

  /** Why the session ended while the socket was not connected yet. */
  get endedBecause(): string | undefined {
    return this.#endedBecause
  }

  /** Tells the client why and disconnects the socket; one that is not connected yet is refused when it would be. */
  end(because: string): void {
    this.#endedBecause ??= because
    if (!this.socket.connected) return
    this.socket.emit('session:ended', { code: because })
    this.socket.disconnect()
  }
}

export class Members {
  readonly #bySession = new Map<string, Set<Member>>()
  readonly #perMember = new Map<string, number>()

  constructor(
    readonly socketsPerMemberMax: number,
    readonly environment: Pick<Environment, 'wakeAt'>,
  ) {}

  get online(): number {
    return this.#perMember.size
  }

  /** Enters a socket until it or its connection closes, or it is refused after all. Throws `too_many_connections`. */
  enter(socket: ServerSocket, { principal, expiresAtMs }: Authenticated): Member {
    const { userId, sessionId } = principal
    const open = this.#perMember.get(userId) ?? 0
    if (open >= this.socketsPerMemberMax) {
      throw new DomainError('too_many', 'too_many_connections', 'Too many connections of this member.')
    }
    const cancelExpiry = this.environment.wakeAt(expiresAtMs, () => member.end('token_expired'))
    const leave = () => {
      cancelExpiry()
      socket.conn.off('close', leave)
      this.#remove(member)
    }
    const member = new Member(socket, principal, leave)
    this.#perMember.set(userId, open + 1)
    const session = this.#bySession.get(sessionId) ?? new Set()
    this.#bySession.set(sessionId, session.add(member)) // M1
    // A socket that never gets to connect has no disconnect event; its connection closes all the same.
    socket.conn.once('close', leave)
    socket.once('disconnect', leave)
    if (socket.conn.readyState !== 'open') leave()
    return member
  }

  /** Ends every socket of a session. */
  endSession(sessionId: string, because: string): void {
    for (const member of this.#bySession.get(sessionId) ?? []) member.end(because)
  }

  #remove(member: Member): void {
    const { userId, sessionId } = member.principal
    const session = this.#bySession.get(sessionId)
    if (session?.delete(member) !== true) return // M2
    if (session.size === 0) this.#bySession.delete(sessionId)
    const left = (this.#perMember.get(userId) ?? 1) - 1
    if (left === 0) this.#perMember.delete(userId)
    else this.#perMember.set(userId, left)
  }
}
