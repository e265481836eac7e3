/** What an AI makes of messages, after they were sent (BJ-MOD-01). */
import { z } from 'zod'
import { assert } from '../../engine/assert.js'
import type { Environment } from '../../engine/store.js'
import { Batcher, type BatcherLimits } from './batcher.js'
import { type AccountOptions, OutsideService } from './outside-service.js'
import { askForContent } from './texts.js'

const MODEL = 'omni-moderation-latest'
const TIMEOUT_MS = 10_000
const ATTEMPTS_MAX = 4
const ANSWER_BYTES_MAX = 1024 * 1024
const TEXTS_MAX = 32
/** Payment, not pace: waiting does not help. */
const OUT_OF_QUOTA = 'insufficient_quota'

export interface Verdict {
  readonly flagged: boolean
  /** How sure the service is, from 0 to 1, of each category that it was flagged for, such as `hate/threatening`. */
  readonly scores: Readonly<Record<string, number>>
}

export interface Moderator {
  /** One verdict for each text, in order. Rejects with `ServiceError` as a whole. */
  review(texts: readonly string[]): Promise<readonly Verdict[]>
}

const clean: Verdict = { flagged: false, scores: {} }

const answerSchema = z.object({
  results: z.array(
    z.object({
      flagged: z.boolean(),
      // Null for categories a model does not know.
      categories: z.record(z.string(), z.boolean().nullable()),
      category_scores: z.record(z.string(), z.number().nullable()),
    }),
  ),
})
const errorSchema = z.object({
  error: z.object({ message: z.string(), type: z.string().nullish(), code: z.string().nullish() }),
})

/** OpenAI's moderation endpoint, by default under `https://api.openai.com/v1`. At most 32 texts a call. */
export class OpenAiModerator implements Moderator {
  readonly #service: OutsideService

  constructor({ apiKey, baseUrl, environment, log, timeoutMs = TIMEOUT_MS }: AccountOptions) {
    this.#service = new OutsideService({
      name: 'OpenAI',
      baseUrl,
      headers: { authorization: `Bearer ${apiKey}` },
      environment,
      log,
      timeoutMs,
      attemptsMax: ATTEMPTS_MAX,
      answerBytesMax: ANSWER_BYTES_MAX,
      explain,
    })
  }

  async review(texts: readonly string[]): Promise<readonly Verdict[]> {
    assert(texts.length <= TEXTS_MAX, `at most ${TEXTS_MAX} texts are reviewed at once`)
    return askForContent(
      texts,
      () => clean,
      (input) => this.#review(input),
    )
  }

  async #review(input: readonly string[]): Promise<readonly Verdict[]> {
    const { results } = await this.#service.ask({
      path: '/moderations',
      body: { model: MODEL, input },
      answer: answerSchema.refine(({ results }) => results.length === input.length, 'not one result for each text'),
    })
    return results.map(toVerdict)
  }
}

const moderationLimits: BatcherLimits = {
  windowMs: 50,
  batchItemsMax: TEXTS_MAX,
  batchWeightMax: 20_000,
  callsInFlightMax: 2,
  waitingMax: 5_000,
}

/** Reviews single texts, those that arrive together in one call. Full: `moderation_busy`. */
export function moderationBatcher(
  moderator: Moderator,
  environment: Pick<Environment, 'now' | 'wakeAt'>,
): Batcher<string, Verdict> {
  return new Batcher({
    name: 'moderation',
    environment,
    limits: moderationLimits,
    groupOf: () => '',
    weightOf: (text) => text.length,
    call: (texts) => moderator.review(texts),
  })
}

function toVerdict({
  flagged,
  categories,
  category_scores,
}: z.output<typeof answerSchema>['results'][number]): Verdict {
  const names = Object.keys(categories).filter((name) => categories[name] === true)
  return { flagged, scores: Object.fromEntries(names.map((name) => [name, category_scores[name] ?? 0])) }
}

function explain(body: unknown) {
  const parsed = errorSchema.safeParse(body)
  if (!parsed.success) return undefined
  const { message, type, code } = parsed.data.error
  const text = `${code ?? type ?? 'error'}: ${message}`
  return type === OUT_OF_QUOTA || code === OUT_OF_QUOTA ? { text, isTemporary: false } : { text }
}
