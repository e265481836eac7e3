/**
 * Has messages reviewed after they were sent (BJ-MOD-01): what is flagged goes to the moderators, the worst is taken away.
 *
 * V1 Nothing waits for a review: a message stands until a verdict says otherwise.
 * V2 Every text that is posted, or edited, is reviewed at least once and judged at most once. One that could not be
 *    reviewed waits and is tried again, the oldest first; after a restart what was written last is reviewed once more.
 * V3 What waits has a limit, and each text a limit of attempts; what is past them is given up, and counted (B1).
 * V4 Whoever edits a bad text into a good one is flagged, but the good one is not taken away.
 */
import type { Logger } from 'pino'
import type { Message } from '../../actors/chat/facts.js'
import { assert } from '../../engine/assert.js'
import { asError } from '../../engine/outcome.js'
import type { Environment } from '../../engine/store.js'
import { type Moderator, moderationBatcher, type Verdict } from './moderation.js'

/** What is taken away at once, without asking a moderator first. */
export const removal = {
  scoreMin: 0.9,
  categories: new Set(['sexual/minors', 'hate/threatening', 'harassment/threatening', 'self-harm/instructions']),
}

export const reviewLimits = {
  waitingMax: 10_000,
  attemptsMax: 10,
  /** Texts that find out whether the service is back. */
  probesAtOnce: 32,
  retryFirstMs: 5_000,
  retryMaxMs: 5 * 60_000,
}

/** A text of a message; the version is the time of the edit, 0 before the first. */
interface Text {
  readonly messageId: string
  readonly version: number
  readonly text: string
  readonly attempts: number
}

export interface Judgement {
  readonly messageId: string
  readonly version: number
  readonly verdict: 'flag' | 'remove'
  readonly because: string
}

/** The chat as the review sees it. */
export interface ReviewedChat {
  /** A message as it is now. */
  message(messageId: string): Promise<Message | null>
  /** A second judgement of the same version changes nothing. */
  judge(judgement: Judgement): Promise<unknown>
}

export interface MessageReviewOptions {
  readonly moderator: Moderator
  readonly chat: ReviewedChat
  readonly environment: Pick<Environment, 'now' | 'wakeAt'>
  readonly log: Pick<Logger, 'warn' | 'info'>
}

const versionOf = ({ editedAt }: Message) => editedAt ?? 0

export class MessageReview {
  readonly #options: MessageReviewOptions
  readonly #batcher: ReturnType<typeof moderationBatcher>
  /** By message id, in the order they are tried again. */
  readonly #waiting = new Map<string, Text>()
  /** While the service does not answer, and until what waited is through. */
  #isHolding = false
  #isStopped = false
  #failuresInARow = 0
  #cancelRetry = () => {}
  readonly #counts = { reviewed: 0, flagged: 0, removed: 0, given_up: 0 }

  constructor(options: MessageReviewOptions) {
    this.#options = options
    this.#batcher = moderationBatcher(options.moderator, options.environment)
  }

  /** Takes a message that was posted or edited. Never throws. */
  take(message: Message): void {
    const { author, deletedAt, messageId, text } = message
    // Moderators are above the rules, and the system says nothing bad.
    if (this.#isStopped || author === null || author.isAdmin || deletedAt !== null || text.trim() === '') return
    const taken = { messageId, version: versionOf(message), text, attempts: 0 }
    if (this.#isHolding) this.#hold(taken)
    else void this.#review(taken)
  }

  gauges(): Record<string, number> {
    return {
      ...this.#counts,
      ...this.#batcher.gauges(),
      held: this.#waiting.size,
      held_max: reviewLimits.waitingMax,
      failures_in_a_row: this.#failuresInARow,
    }
  }

  stop(): void {
    this.#isStopped = true
    this.#cancelRetry()
    this.#batcher.stop()
  }

  /** Whether it is done with. */
  async #review(text: Text): Promise<boolean> {
    try {
      const verdict = await this.#batcher.add(text.text)
      if (this.#isStopped) return false
      if (verdict.flagged) await this.#judge(text, verdict)
      this.#counts.reviewed += 1
      this.#failuresInARow = 0
      return true
    } catch (error) {
      if (this.#isStopped) return false
      this.#hold({ ...text, attempts: text.attempts + 1 })
      this.#retryLater(asError(error))
      return false
    }
  }

  async #judge({ messageId, version }: Text, { scores }: Verdict): Promise<void> {
    const { chat } = this.#options
    const now = await chat.message(messageId)
    if (now === null || now.deletedAt !== null) return
    const isSame = versionOf(now) === version
    const isWorst = Object.entries(scores).some(
      ([category, score]) => removal.categories.has(category) && score >= removal.scoreMin,
    )
    const verdict = isWorst && isSame ? 'remove' : 'flag' // V4
    await chat.judge({ messageId, version, verdict, because: becauseOf(scores, isSame) }) // V2
    this.#counts[verdict === 'remove' ? 'removed' : 'flagged'] += 1
  }

  #hold(text: Text): void {
    const known = this.#waiting.get(text.messageId)
    if (known !== undefined && known.version >= text.version) return
    this.#waiting.delete(text.messageId)
    this.#waiting.set(text.messageId, text)
    // V3
    if (text.attempts >= reviewLimits.attemptsMax) this.#giveUp(text.messageId)
    const [oldest] = this.#waiting.keys()
    if (this.#waiting.size > reviewLimits.waitingMax && oldest !== undefined) this.#giveUp(oldest)
  }

  #giveUp(messageId: string): void {
    this.#waiting.delete(messageId)
    this.#counts.given_up += 1
  }

  #retryLater(error: Error): void {
    if (this.#isHolding) return
    this.#isHolding = true
    this.#options.log.warn({ err: error, held: this.#waiting.size }, 'messages are not reviewed; they wait')
    this.#wakeForRetry()
  }

  #wakeForRetry(): void {
    const { environment } = this.#options
    const waitMs = Math.min(reviewLimits.retryFirstMs * 2 ** this.#failuresInARow, reviewLimits.retryMaxMs)
    this.#failuresInARow += 1
    this.#cancelRetry = environment.wakeAt(environment.now() + waitMs, () => void this.#retry())
  }

  async #retry(): Promise<void> {
    assert(this.#isHolding, 'only what is held is tried again')
    while (this.#waiting.size > 0) {
      const some = [...this.#waiting.values()].slice(0, reviewLimits.probesAtOnce)
      for (const { messageId } of some) this.#waiting.delete(messageId)
      const done = await Promise.all(some.map((text) => this.#review(text)))
      if (this.#isStopped) return
      if (!done.every(Boolean)) {
        this.#wakeForRetry()
        return
      }
    }
    this.#isHolding = false
    this.#options.log.info('messages are reviewed again')
  }
}

function becauseOf(scores: Verdict['scores'], isSame: boolean): string {
  const reasons = Object.entries(scores).map(([category, score]) => `${category} ${score.toFixed(2)}`)
  return `${reasons.join(', ') || 'flagged'}${isSame ? '' : ' (before it was edited)'}`
}
