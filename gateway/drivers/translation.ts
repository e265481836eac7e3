/** Messages in the language of who reads them (BJ-TRL-01). */
import { z } from 'zod'
import { assert } from '../../engine/assert.js'
import { type AccountOptions, OutsideService } from './outside-service.js'
import { askForContent } from './texts.js'

const TIMEOUT_MS = 5_000
/** Somebody waits for it: fewer than for what nobody sees. */
const ATTEMPTS_MAX = 3
const ANSWER_BYTES_MAX = 1024 * 1024
/** Google's word: "Too many text segments" beyond. */
export const TRANSLATION_TEXTS_MAX = 128
/** BCP 47 for a language that cannot be told. */
const UNDETERMINED = 'und'
/** Google answers 403 to quotas: those of a minute pass, that of a day does not. */
const PASSING_QUOTAS = new Set(['rateLimitExceeded', 'userRateLimitExceeded'])

export interface Translation {
  readonly text: string
  /** BCP 47; `und` where the service could not tell. */
  readonly sourceLanguage: string
}

export interface Translator {
  /**
   * One translation for each text, in order, into the language `target` (BCP 47). Rejects with `ServiceError` as a
   * whole, also for a language the service does not know.
   */
  translate(texts: readonly string[], target: string): Promise<readonly Translation[]>
}

const answerSchema = z.object({
  data: z.object({
    translations: z.array(z.object({ translatedText: z.string(), detectedSourceLanguage: z.string().optional() })),
  }),
})
const errorSchema = z.object({
  error: z.object({ message: z.string(), errors: z.array(z.object({ reason: z.string().optional() })).optional() }),
})

/** Google Cloud Translation, Basic (v2), by default at `https://translation.googleapis.com`. At most 128 texts a call. */
export class GoogleTranslator implements Translator {
  readonly #service: OutsideService

  constructor({ apiKey, baseUrl, environment, log, timeoutMs = TIMEOUT_MS }: AccountOptions) {
    this.#service = new OutsideService({
      name: 'Google Translation',
      baseUrl,
      headers: { 'x-goog-api-key': apiKey },
      environment,
      log,
      timeoutMs,
      attemptsMax: ATTEMPTS_MAX,
      answerBytesMax: ANSWER_BYTES_MAX,
      explain,
    })
  }

  async translate(texts: readonly string[], target: string): Promise<readonly Translation[]> {
    assert(texts.length <= TRANSLATION_TEXTS_MAX, `at most ${TRANSLATION_TEXTS_MAX} texts are translated at once`)
    return askForContent(
      texts,
      (text) => ({ text, sourceLanguage: UNDETERMINED }),
      (q) => this.#translate(q, target),
    )
  }

  async #translate(q: readonly string[], target: string): Promise<readonly Translation[]> {
    const { data } = await this.#service.ask({
      path: '/language/translate/v2',
      body: { q, target, format: 'text' },
      answer: answerSchema.refine(
        ({ data }) => data.translations.length === q.length,
        'not one translation for each text',
      ),
    })
    return data.translations.map(({ translatedText, detectedSourceLanguage = UNDETERMINED }) => ({
      text: translatedText,
      sourceLanguage: detectedSourceLanguage,
    }))
  }
}

function explain(body: unknown) {
  const parsed = errorSchema.safeParse(body)
  if (!parsed.success) return undefined
  const { message: text, errors = [] } = parsed.data.error
  return errors.some(({ reason }) => PASSING_QUOTAS.has(reason ?? '')) ? { text, isTemporary: true } : { text }
}
