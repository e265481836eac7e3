// Members who scan without pause while the server is being hurt, and who remember everything they sent and were told.
import { setTimeout as pause } from 'node:timers/promises'
import { io, type Socket } from 'socket.io-client'
import { type Member, newKey, type Told } from './members.js'

/** For campaigns only, whose subject is the moment at which something happens. */
export { pause }

/** Below the limit of 60 accepted scans an hour. */
export const SCANS_PER_MEMBER = 58
const SOCKET_PATIENCE_MS = 20_000
const RETRIES_AT_ONCE = 4

/** A scan that was sent, and what became of it so far. */
export interface Attempt {
  readonly member: Member
  readonly code: string
  readonly key: string
  /** The body of the 200, byte by byte; undefined while it was not answered so. */
  answer: string | undefined
  /** How it ended otherwise: a status and code, or the error of the connection. */
  refusal: string | undefined
  /** What a refusal said of when to come back, in seconds. */
  retryAfter: string | null
  /** What the answer says of the scan. */
  scan: { readonly ordinal: number; readonly id: string } | undefined
}

/** How one sending of a scan ended. */
interface Sent {
  readonly answer?: string
  readonly refusal?: string
  readonly retryAfter?: string | null
}

type Send = (attempt: Attempt) => Promise<Sent>

export interface CampaignOptions {
  /** Whether the next scan is sent twice at the same time, with the same key; never by default. */
  readonly twice?: () => boolean
}

export class Campaign {
  readonly attempts: Attempt[] = []
  /** Two different answers to one scan; none is ever right. */
  readonly contradictions: string[] = []
  /** Everything sockets were told, by whom. */
  readonly told: { readonly member: Member; readonly event: string; readonly data: Told }[] = []
  readonly #scansLeft: Map<Member, number>
  readonly #twice: () => boolean
  #turn = 0
  #answered = 0
  #sentTwice = 0

  constructor(
    readonly members: readonly Member[],
    /** Active codes; each is sent once, with a key of its own. */
    readonly codes: string[],
    { twice = () => false }: CampaignOptions = {},
  ) {
    this.#scansLeft = new Map(members.map((member) => [member, SCANS_PER_MEMBER]))
    this.#twice = twice
  }

  get answered(): number {
    return this.#answered
  }

  get sentTwice(): number {
    return this.#sentTwice
  }

  get unanswered(): Attempt[] {
    return this.attempts.filter(({ answer }) => answer === undefined)
  }

  /** How many attempts ended in which other way than accepted. */
  get refusals(): Record<string, number> {
    const counts: Record<string, number> = {}
    for (const { refusal } of this.unanswered) counts[String(refusal)] = (counts[String(refusal)] ?? 0) + 1
    return counts
  }

  /**
   * Scans with `clients` at once until `enough` or until a scan is not accepted, each client for itself: a server that
   * is gone is not asked again. A pause after each scan makes the members last longer.
   */
  async scanUntil(clients: number, enough: () => boolean, pauseMs = 0): Promise<void> {
    await Promise.all(Array.from({ length: clients }, () => this.#scanOn(sendOverHttp, enough, pauseMs)))
  }

  /** The same over sockets, each of another member. Who does not get in because the server is gone does not scan. */
  async scanOnSocketsUntil(clients: number, enough: () => boolean, pauseMs: number): Promise<void> {
    const scanOn = async () => {
      const member = this.#nextMember()
      const socket = await openSocket(member)
      socket.onAny((event: string, data: Told) => this.told.push({ member, event, data }))
      try {
        if (socket.connected) await this.#scanOn((attempt) => sendOverSocket(socket, attempt), enough, pauseMs, member)
      } finally {
        socket.disconnect()
      }
    }
    await Promise.all(Array.from({ length: clients }, scanOn))
  }

  /** Sends everything that was not accepted once more, with the same keys. */
  async retry(): Promise<number> {
    const waiting = this.unanswered
    const count = waiting.length
    const some = async () => {
      for (let attempt = waiting.pop(); attempt !== undefined; attempt = waiting.pop()) {
        await this.#send(attempt, sendOverHttp)
      }
    }
    await Promise.all(Array.from({ length: RETRIES_AT_ONCE }, some))
    return count
  }

  /** Sends what was answered once more, with the same keys; returns what is now answered in another way. */
  async askAgain(answered: readonly Attempt[]): Promise<string[]> {
    const waiting = [...answered]
    const changed: string[] = []
    const some = async () => {
      for (let attempt = waiting.pop(); attempt !== undefined; attempt = waiting.pop()) {
        const { answer, refusal } = await sendOverHttp(attempt)
        if (answer !== attempt.answer) changed.push(`${attempt.answer} became ${answer ?? refusal}`)
      }
    }
    await Promise.all(Array.from({ length: RETRIES_AT_ONCE }, some))
    return changed
  }

  /** What was accepted, by member id and in order: `ordinal id code`. */
  answeredBy(userId?: string): string[] {
    return this.attempts
      .flatMap(({ scan, code, member }) =>
        scan === undefined || (userId !== undefined && member.user.id !== userId) ? [] : { ...scan, code },
      )
      .sort((a, b) => a.ordinal - b.ordinal)
      .map(({ ordinal, id, code }) => `${ordinal} ${id} ${code}`)
  }

  async #scanOn(send: Send, enough: () => boolean, pauseMs: number, member?: Member): Promise<void> {
    while (!enough()) {
      if (member !== undefined && this.#scansLeft.get(member) === 0) return
      const attempt = this.#next(member ?? this.#nextMember())
      await this.#send(attempt, send)
      if (attempt.answer === undefined) return
      if (pauseMs > 0) await pause(pauseMs)
    }
  }

  /** The next in turn who may still scan. */
  #nextMember(): Member {
    for (let tries = 0; tries < this.members.length; tries++) {
      const member = this.members[this.#turn++ % this.members.length]
      if (member !== undefined && (this.#scansLeft.get(member) ?? 0) > 0) return member
    }
    throw new Error('the campaign needs more members')
  }

  #next(member: Member): Attempt {
    const code = this.codes.pop()
    if (code === undefined) throw new Error('the campaign needs more codes')
    this.#scansLeft.set(member, (this.#scansLeft.get(member) ?? 0) - 1)
    const attempt: Attempt = {
      member,
      code,
      key: newKey(),
      answer: undefined,
      refusal: undefined,
      retryAfter: null,
      scan: undefined,
    }
    this.attempts.push(attempt)
    return attempt
  }

  async #send(attempt: Attempt, send: Send): Promise<void> {
    const twice = this.#twice()
    if (twice) this.#sentTwice += 1
    const sent = await Promise.all([send(attempt), ...(twice ? [sendOverHttp(attempt)] : [])])
    for (const { answer, refusal, retryAfter = null } of sent) {
      if (answer === undefined) Object.assign(attempt, { refusal, retryAfter })
      else if (attempt.answer === undefined) {
        attempt.answer = answer
        attempt.scan = JSON.parse(answer).scan
        this.#answered += 1
      } else if (attempt.answer !== answer) this.contradictions.push(`${attempt.answer} and ${answer}`)
    }
  }
}

async function sendOverHttp({ member, code, key }: Attempt): Promise<Sent> {
  try {
    const { status, text, body, headers } = await member.post('/v1/scans/submit', { code }, { key })
    if (status === 200) return { answer: text }
    return { refusal: `${status} ${body.code}`, retryAfter: headers.get('retry-after') }
  } catch (error) {
    return { refusal: connectionErrorOf(error) }
  }
}

async function sendOverSocket(socket: Socket, { code, key }: Attempt): Promise<Sent> {
  if (!socket.connected) return { refusal: 'socket closed' } // it would be kept for a connection that never comes
  try {
    const scan = { code, idempotency_key: key }
    const ack: Told = await socket.timeout(SOCKET_PATIENCE_MS).emitWithAck('scan:submit', scan)
    return ack.success === true ? { answer: JSON.stringify(ack) } : { refusal: `socket ${ack.error?.code}` }
  } catch (error) {
    return { refusal: connectionErrorOf(error) }
  }
}

/** Connected, or not when the server is not there. */
async function openSocket(member: Member): Promise<Socket> {
  const socket = io(member.site.url, {
    forceNew: true,
    reconnection: false,
    transports: ['websocket'],
    timeout: SOCKET_PATIENCE_MS,
    auth: { token: member.token },
  })
  await new Promise<void>((resolve) => {
    socket.once('connect', resolve)
    socket.once('connect_error', () => resolve())
    socket.once('disconnect', () => resolve())
  })
  return socket
}

function connectionErrorOf(error: unknown): string {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
  return cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause)
}

/** All scans of a member as the server lists them, oldest first: `ordinal id code`. */
export async function listedScans(member: Member): Promise<string[]> {
  const scans: Told[] = []
  for (let cursor: string | null = ''; cursor !== null; ) {
    const { body, status, text } = await member.get(`/v1/scans/recent?limit=100${cursor && `&cursor=${cursor}`}`)
    if (status !== 200) throw new Error(`a list of scans is answered ${status}: ${text}`)
    scans.push(...body.scans)
    cursor = body.next_cursor
  }
  return scans.reverse().map(({ ordinal, id, code }) => `${ordinal} ${id} ${code}`)
}
