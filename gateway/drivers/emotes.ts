/**
 * The emotes everybody has, from 7TV (BJ-EMO-02, BJ-JOB-14). Pictures come from 7TV's own servers; here is only which
 * there are.
 *
 * E1 The last good set stays, whatever 7TV does later.
 * E2 One load at a time, an hour after a good one, sooner after a failed one, and always another until the stop.
 * E3 An emote is listed only if it can be written (`:code:`) and shown (an https picture). One that is not does not
 *    keep out the others; a set of which none is left is no good set.
 */
import type { Logger } from 'pino'
import { z } from 'zod'
import type { Environment } from '../../engine/store.js'
import { OutsideService, ServiceError } from './outside-service.js'

const REFRESH_INTERVAL_MS = 60 * 60 * 1_000
const RETRY_FIRST_MS = 10_000
const TIMEOUT_MS = 15_000
const ANSWER_BYTES_MAX = 16 * 1024 * 1024
const EMOTES_MAX = 5_000
const GLOBAL_SET = 'global'
/** What chat takes between two colons. */
const CODE = /^[A-Za-z0-9_-]{2,64}$/
/** 64 pixels high: twice that of a line, once that of the picker. */
const PICTURE = '2x.webp'
const LIVE = 3

export interface Emote {
  /** Written `:code:`. */
  readonly code: string
  readonly id: string
  /** An animated or still WebP of 64 pixels. */
  readonly url: string
  readonly animated: boolean
}

const emoteSchema = z.object({
  id: z.string().min(1),
  name: z.string().regex(CODE),
  data: z.object({
    animated: z.boolean(),
    lifecycle: z.literal(LIVE).optional(),
    host: z.object({ url: z.string().min(1), files: z.array(z.object({ name: z.string() })) }),
  }),
})
// Read loosely: each emote is judged by itself (E3). A set without any lacks the list.
const setSchema = z.object({
  id: z.string(),
  emotes: z.array(z.unknown()).default([]),
  emote_count: z.number().default(0),
})
const errorSchema = z.object({ error: z.string() })

export interface SevenTvEmotesOptions {
  /** `https://7tv.io/v3` */
  readonly baseUrl: string
  /** Another set than the global one. */
  readonly emoteSetId?: string | undefined
  readonly environment: Pick<Environment, 'now' | 'wakeAt'>
  readonly log: Pick<Logger, 'info' | 'warn'>
  /** Called after every good load, also of the same set. Must not throw. */
  readonly onRefreshed?: (emotes: readonly Emote[]) => void
  readonly timeoutMs?: number
}

export class SevenTvEmotes {
  readonly #options: SevenTvEmotesOptions
  readonly #service: OutsideService
  readonly #stopping = new AbortController()
  #emotes: readonly Emote[] = []
  #refreshedAt: number | null = null
  #failures = 0
  #cancelNext = () => {}

  constructor(options: SevenTvEmotesOptions) {
    this.#options = options
    this.#service = new OutsideService({
      name: '7TV',
      baseUrl: options.baseUrl,
      headers: {},
      environment: options.environment,
      log: options.log,
      timeoutMs: options.timeoutMs ?? TIMEOUT_MS,
      attemptsMax: 1,
      answerBytesMax: ANSWER_BYTES_MAX,
      explain: (body) => {
        const parsed = errorSchema.safeParse(body)
        return parsed.success ? { text: parsed.data.error } : undefined
      },
    })
  }

  /** Empty until the first good load. */
  get emotes(): readonly Emote[] {
    return this.#emotes
  }

  /** When the set was loaded, in milliseconds since the epoch; null before the first good load. */
  get refreshedAt(): number | null {
    return this.#refreshedAt
  }

  gauges(): Record<string, number> {
    const nowMs = this.#options.environment.now()
    return {
      emotes: this.#emotes.length,
      emotes_max: EMOTES_MAX,
      failed_loads_in_a_row: this.#failures,
      age_seconds: this.#refreshedAt === null ? Number.NaN : (nowMs - this.#refreshedAt) / 1_000,
    }
  }

  /** Resolves when the first load is over, well or not; others follow by themselves. */
  start(): Promise<void> {
    return this.#refresh()
  }

  stop(): void {
    this.#cancelNext()
    this.#stopping.abort()
  }

  async #refresh(): Promise<void> {
    let waitMs = REFRESH_INTERVAL_MS
    try {
      const { emotes, left } = await this.#load()
      if (this.#stopping.signal.aborted) return
      this.#emotes = emotes
      this.#refreshedAt = this.#options.environment.now()
      this.#failures = 0
      this.#options.log.info({ emotes: emotes.length, left }, 'emotes of 7TV loaded')
      this.#options.onRefreshed?.(emotes)
    } catch (error) {
      if (this.#stopping.signal.aborted) return
      this.#failures += 1 // E1: and nothing else changes
      waitMs = this.#retryWaitMs(error)
      const { emotes } = this
      this.#options.log.warn({ err: error, kept: emotes.length, retryInMs: waitMs }, 'emotes of 7TV were not loaded')
    }
    const { environment } = this.#options
    this.#cancelNext = environment.wakeAt(environment.now() + waitMs, () => void this.#refresh()) // E2
  }

  #retryWaitMs(error: unknown): number {
    const backoffMs = RETRY_FIRST_MS * 2 ** (this.#failures - 1)
    const askedForMs = error instanceof ServiceError ? (error.retryAfterMs ?? 0) : 0
    return Math.min(REFRESH_INTERVAL_MS, Math.max(backoffMs, askedForMs))
  }

  async #load(): Promise<{ emotes: readonly Emote[]; left: number }> {
    const answer = await this.#service.askOnce({
      path: `/emote-sets/${encodeURIComponent(this.#options.emoteSetId ?? GLOBAL_SET)}`,
      answer: setSchema,
      signal: this.#stopping.signal,
    })
    const emotes = listed(answer.emotes)
    if (emotes.length === 0 && Math.max(answer.emotes.length, answer.emote_count) > 0) {
      throw new ServiceError('7TV answered with no emote that can be used', true)
    }
    return { emotes, left: answer.emotes.length - emotes.length }
  }
}

/** Those that can be written and shown, the first of each code. */
function listed(given: readonly unknown[]): readonly Emote[] {
  const emotes = new Map<string, Emote>()
  for (const one of given) {
    if (emotes.size === EMOTES_MAX) break
    const emote = readEmote(one)
    if (emote !== undefined && !emotes.has(emote.code)) emotes.set(emote.code, emote)
  }
  return [...emotes.values()]
}

function readEmote(given: unknown): Emote | undefined {
  const parsed = emoteSchema.safeParse(given)
  if (!parsed.success) return undefined
  const { id, name, data } = parsed.data
  if (!data.host.files.some((file) => file.name === PICTURE)) return undefined
  // 7TV leaves out the scheme: //cdn.7tv.app/emote/…
  const address = `${data.host.url.startsWith('//') ? 'https:' : ''}${data.host.url}/${PICTURE}`
  if (!URL.canParse(address) || new URL(address).protocol !== 'https:') return undefined
  return { code: name, id, url: new URL(address).href, animated: data.animated }
}
