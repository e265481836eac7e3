/**
 * Translations of messages, each asked for once (BJ-TRL-02).
 *
 * R1 A message of one edit in one language is translated once while it is remembered, however many ask; those who ask
 *    meanwhile share the call.
 * R2 Only what succeeded is remembered. An edited message is another one.
 */
import { LRUCache } from 'lru-cache'
import { DomainError } from '../../engine/errors.js'
import type { Environment } from '../../engine/store.js'
import { Batcher, type BatcherLimits } from './batcher.js'
import { ServiceError } from './outside-service.js'
import { TRANSLATION_TEXTS_MAX, type Translation, type Translator } from './translation.js'

export interface TranslatableMessage {
  readonly id: string
  /** Counts its edits. */
  readonly version: number
  readonly text: string
}

export interface TranslationLimits {
  readonly entriesMax: number
  /** Of all translations remembered. */
  readonly charactersMax: number
  readonly batch: BatcherLimits
}

export const defaultTranslationLimits: TranslationLimits = {
  entriesMax: 50_000,
  charactersMax: 16 * 1024 * 1024,
  // Google advises 5,000 characters a call.
  batch: {
    windowMs: 20,
    batchItemsMax: TRANSLATION_TEXTS_MAX,
    batchWeightMax: 5_000,
    callsInFlightMax: 4,
    waitingMax: 2_000,
  },
}

interface Request {
  readonly text: string
  readonly language: string
}

export class TranslationCache {
  readonly #translations: LRUCache<string, Translation>
  /** No larger than what the batcher lets wait and be in flight. */
  readonly #underWay = new Map<string, Promise<Translation>>()
  readonly #batcher: Batcher<Request, Translation>

  constructor(
    translator: Translator,
    environment: Pick<Environment, 'now' | 'wakeAt'>,
    readonly limits: TranslationLimits = defaultTranslationLimits,
  ) {
    this.#translations = new LRUCache({
      max: limits.entriesMax,
      maxSize: limits.charactersMax,
      sizeCalculation: ({ text }) => text.length + 1,
    })
    this.#batcher = new Batcher({
      name: 'translation',
      environment,
      limits: limits.batch,
      groupOf: ({ language }) => language,
      weightOf: ({ text }) => text.length,
      call: async (requests) => {
        const texts = requests.map(({ text }) => text)
        return translator.translate(texts, requests[0]?.language ?? '')
      },
    })
  }

  /** Rejects with `translation_busy`, `translation_unavailable` (its cause says why) or `not_running`. */
  async translate({ id, version, text }: TranslatableMessage, language: string): Promise<Translation> {
    const key = JSON.stringify([id, version, language])
    const known = this.#translations.get(key) ?? this.#underWay.get(key) // R1
    if (known !== undefined) return known
    const request = this.#ask(key, { text, language }).finally(() => this.#underWay.delete(key))
    this.#underWay.set(key, request)
    return request
  }

  stop(): void {
    this.#batcher.stop()
  }

  gauges(): Record<string, number> {
    return {
      ...this.#batcher.gauges(),
      entries: this.#translations.size,
      entries_max: this.limits.entriesMax,
      characters: this.#translations.calculatedSize,
      characters_max: this.limits.charactersMax,
    }
  }

  async #ask(key: string, request: Request): Promise<Translation> {
    try {
      const translation = await this.#batcher.add(request)
      this.#translations.set(key, translation) // R2
      return translation
    } catch (error) {
      throw error instanceof ServiceError ? unavailable(error) : error
    }
  }
}

/** Members are not told what the service said. */
function unavailable(cause: ServiceError): DomainError {
  const { retryAfterMs } = cause
  const details = retryAfterMs === undefined ? {} : { retryAfterMs }
  const error = new DomainError('unavailable', 'translation_unavailable', 'Nothing can be translated now.', details)
  return Object.assign(error, { cause })
}
