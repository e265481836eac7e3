/**
 * Translations of messages, each asked for once (BJ-TRL-02).
 *
 * R1 A message of one edit in one language is translated once while it is remembered, however many ask; those who ask
 *    meanwhile share the call.
 * R2 Only what succeeded is remembered. An edited message is another one.
 * R3 What is kept for longer, in a store, is looked up before the service is asked. A store that fails is as good as
 *    none, and nobody waits for anything to be kept.
 */
import { LRUCache } from 'lru-cache'
import { DomainError } from '../../engine/errors.js'
import type { Environment } from '../../engine/store.js'
import { Batcher, type BatcherLimits, busy } from './batcher.js'
import { ServiceError } from './outside-service.js'
import { TRANSLATION_TEXTS_MAX, type Translation, type Translator } from './translation.js'

export interface TranslatableMessage {
  readonly id: string
  /** Another one after each edit. */
  readonly version: number
  readonly text: string
}

/** Where translations outlive the process. */
export interface TranslationStore {
  find(message: TranslatableMessage, language: string): Promise<Translation | null>
  keep(message: TranslatableMessage, language: string, translation: Translation): Promise<unknown>
}

export interface TranslationLimits {
  readonly entriesMax: number
  /** Different translations being looked for at a time. */
  readonly underWayMax: number
  /** Translations on their way to the store; past it they are not kept. */
  readonly keepingMax: number
  /** Of all translations remembered. */
  readonly charactersMax: number
  readonly batch: BatcherLimits
}

export const defaultTranslationLimits: TranslationLimits = {
  entriesMax: 50_000,
  underWayMax: 4_000,
  keepingMax: 200,
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
  readonly #underWay = new Map<string, Promise<Translation>>()
  readonly #batcher: Batcher<Request, Translation>
  #keeping = 0

  constructor(
    translator: Translator,
    environment: Pick<Environment, 'now' | 'wakeAt'>,
    readonly limits: TranslationLimits = defaultTranslationLimits,
    readonly store: TranslationStore | null = null,
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
  async translate(message: TranslatableMessage, language: string): Promise<Translation> {
    const key = JSON.stringify([message.id, message.version, language])
    const known = this.#translations.get(key) ?? this.#underWay.get(key) // R1
    if (known !== undefined) return known
    if (this.#underWay.size >= this.limits.underWayMax) throw busy('translation')
    const request = this.#find(key, message, language).finally(() => this.#underWay.delete(key))
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
      under_way: this.#underWay.size,
      under_way_max: this.limits.underWayMax,
      keeping: this.#keeping,
      keeping_max: this.limits.keepingMax,
    }
  }

  async #find(key: string, message: TranslatableMessage, language: string): Promise<Translation> {
    const kept = this.store === null ? null : await this.store.find(message, language).catch(() => null) // R3
    const translation = kept ?? (await this.#ask({ text: message.text, language }))
    this.#translations.set(key, translation) // R2
    if (kept === null) this.#keep(message, language, translation)
    return translation
  }

  async #ask(request: Request): Promise<Translation> {
    try {
      return await this.#batcher.add(request)
    } catch (error) {
      throw error instanceof ServiceError ? unavailable(error) : error
    }
  }

  #keep(message: TranslatableMessage, language: string, translation: Translation): void {
    if (this.store === null || this.#keeping >= this.limits.keepingMax) return
    this.#keeping += 1
    const settled = () => {
      this.#keeping -= 1
    }
    this.store.keep(message, language, translation).then(settled, settled) // R3
  }
}

/** Members are not told what the service said. */
function unavailable(cause: ServiceError): DomainError {
  const { retryAfterMs } = cause
  const details = retryAfterMs === undefined ? {} : { retryAfterMs }
  const error = new DomainError('unavailable', 'translation_unavailable', 'Nothing can be translated now.', details)
  return Object.assign(error, { cause })
}
