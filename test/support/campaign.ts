// Members who scan without pause while the server is being hurt, and who remember everything they sent and were told.
import { setTimeout as sleep } from 'node:timers/promises'
import { type Member, newKey, type Told } from './members.js'

/** Below the limit of 60 accepted scans an hour. */
const SCANS_PER_MEMBER = 58

/** A scan that was sent, and what became of it so far. */
export interface Attempt {
  readonly member: Member
  readonly code: string
  readonly key: string
  /** The body of the 200, byte by byte; undefined while it was not answered so. */
  answer: string | undefined
  /** How it ended otherwise: a status and code, or the error of the connection. */
  refusal: string | undefined
}

export class Campaign {
  readonly attempts: Attempt[] = []
  #answered = 0

  constructor(
    readonly members: readonly Member[],
    /** Active codes; each is sent once, with a key of its own. */
    readonly codes: string[],
  ) {}

  get answered(): number {
    return this.#answered
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
    const scanOn = async () => {
      while (!enough()) {
        const attempt = this.#next()
        await this.#send(attempt)
        if (attempt.answer === undefined) return
        if (pauseMs > 0) await sleep(pauseMs)
      }
    }
    await Promise.all(Array.from({ length: clients }, scanOn))
  }

  /** Sends everything that was not accepted once more, with the same keys. */
  async retry(): Promise<void> {
    const waiting = this.unanswered
    const some = async () => {
      for (let attempt = waiting.pop(); attempt !== undefined; attempt = waiting.pop()) await this.#send(attempt)
    }
    await Promise.all([some(), some(), some(), some()])
  }

  /** What was accepted, by member id and in order: `ordinal id code`. */
  answeredBy(userId?: string): string[] {
    return this.attempts
      .filter(({ answer, member }) => answer !== undefined && (userId === undefined || member.user.id === userId))
      .map(({ answer = '', code }): { code: string; scan: Told } => ({ code, scan: JSON.parse(answer).scan }))
      .sort((a, b) => a.scan.ordinal - b.scan.ordinal)
      .map(({ code, scan }) => `${scan.ordinal} ${scan.id} ${code}`)
  }

  #next(): Attempt {
    const index = this.attempts.length
    const member = this.members[index % this.members.length]
    const code = this.codes.pop()
    if (member === undefined || code === undefined || index >= this.members.length * SCANS_PER_MEMBER) {
      throw new Error('the campaign needs more members or codes')
    }
    const attempt = { member, code, key: newKey(), answer: undefined, refusal: undefined }
    this.attempts.push(attempt)
    return attempt
  }

  async #send(attempt: Attempt): Promise<void> {
    const { member, code, key } = attempt
    try {
      const { status, text, body } = await member.post('/v1/scans/submit', { code }, { key })
      attempt.refusal = status === 200 ? undefined : `${status} ${body.code}`
      if (status !== 200) return
      attempt.answer = text
      this.#answered += 1
    } catch (error) {
      attempt.refusal = connectionErrorOf(error)
    }
  }
}

function connectionErrorOf(error: unknown): string {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
  return cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause)
}

/** All scans of a member as the server lists them, oldest first: `ordinal id code`. */
export async function listedScans(member: Member): Promise<string[]> {
  const scans: Told[] = []
  for (let cursor: string | null = ''; cursor !== null; ) {
    const { body } = await member.get(`/v1/scans/recent?limit=100${cursor && `&cursor=${cursor}`}`)
    scans.push(...body.scans)
    cursor = body.next_cursor
  }
  return scans.reverse().map(({ ordinal, id, code }) => `${ordinal} ${id} ${code}`)
}
