/** The services of others that the chat leans on, each only when it is set up. */
import type { Logger } from 'pino'
import type { messageChanged, messagePosted } from './actors/chat/facts.js'
import type { Core } from './core.js'
import type { CoreMetrics } from './core-metrics.js'
import { system } from './engine/command.js'
import { asError } from './engine/outcome.js'
import { type Emote, SevenTvEmotes } from './gateway/drivers/emotes.js'
import { MessageReview } from './gateway/drivers/message-review.js'
import { OpenAiModerator } from './gateway/drivers/moderation.js'
import { GoogleTranslator } from './gateway/drivers/translation.js'
import {
  defaultTranslationLimits,
  TranslationCache,
  type TranslationStore,
} from './gateway/drivers/translation-cache.js'
import { LiveEvents } from './gateway/live-events.js'
import type { SocialPort } from './gateway/social-port.js'
import { readOnLiveConnection } from './persistence/postgres/connection.js'
import {
  auditLog,
  history,
  keepTranslation,
  numberAt,
  openMemberReport,
  openReports,
  silencesOf,
  translations,
} from './persistence/queries/chat.js'
import { endedEvents } from './persistence/queries/live-events.js'
import type { Settings } from './settings.js'

/** What was written so long before the newest message is reviewed again after a start. */
const REVIEWED_AGAIN_WITHIN_MS = 3_600_000
/** Until the core is told of emotes that it could not take. */
const EMOTES_RETRY_MS = 10_000

export interface ChatDrivers {
  readonly review: MessageReview | null
  readonly translations: TranslationCache | null
  readonly emotes: SevenTvEmotes | null
  /** Calls under way end by themselves; nothing more comes of them. */
  stop(): void
}

/** Nothing waits for a service: the chat works, whatever they do. */
export async function openChatDrivers(settings: Settings, core: Core, log: Logger): Promise<ChatDrivers> {
  const review = await openReview(settings, core, log)
  const cache = openTranslations(settings, core, log)
  const emotes = openEmotes(settings, core, log)
  return {
    review,
    translations: cache,
    emotes: emotes?.source ?? null,
    stop: () => {
      review?.stop()
      cache?.stop()
      emotes?.stop()
    },
  }
}

/** The chat's surroundings as the routes see them; `read` answers for a Postgres that is away. */
export function socialPort(
  { sql, shard, program }: Core,
  { translations: cache, emotes }: ChatDrivers,
  { TRANSLATION_LANGUAGES: languages, HLS_URL_TEMPLATE: playbackTemplate }: Settings,
  read: <T>(rows: () => Promise<T>) => Promise<T>,
): SocialPort {
  return {
    reads: {
      history: (page) => read(() => history(sql, page)),
      openReports: (page) => read(() => openReports(sql, page)),
      openMemberReport: (reportId) => read(() => openMemberReport(sql, reportId)),
      silencesOf: (userId, page) => read(() => silencesOf(sql, userId, page)),
      auditLog: (filter) => read(() => auditLog(sql, filter)),
      numberAt: (channelId, offset) => read(() => numberAt(sql, channelId, offset)),
    },
    live: new LiveEvents({
      ...{ engine: shard, program, playbackTemplate },
      ended: (page) => read(() => endedEvents(sql, page)),
    }),
    translations:
      cache === null ? null : { languages, translate: (message, language) => cache.translate(message, language) },
    emotes,
  }
}

export function exposeChatDrivers(metrics: CoreMetrics, { review, translations: cache, emotes }: ChatDrivers): void {
  if (review !== null) metrics.gauges('moderation', 'Review of messages', () => review.gauges())
  if (cache !== null) metrics.gauges('translation', 'Translation of messages', () => cache.gauges())
  if (emotes !== null) metrics.gauges('emotes', 'Emotes of 7TV', () => emotes.gauges())
}

type Written = ReturnType<typeof messagePosted.make | typeof messageChanged.make>

async function openReview(settings: Settings, core: Core, log: Logger): Promise<MessageReview | null> {
  const { OPENAI_API_KEY: apiKey, OPENAI_BASE_URL: baseUrl } = settings
  if (apiKey === undefined) return null
  const { shard, environment } = core
  const { commands, queries } = core.program.chat
  const review = new MessageReview({
    moderator: new OpenAiModerator({ apiKey, baseUrl, environment, log }),
    chat: {
      message: (messageId) => shard.query(queries.messageOf, { messageId }),
      judge: ({ messageId, version, verdict, because }) =>
        shard.execute(commands.moderation.judge, {
          args: { messageId, verdict, because },
          who: system,
          key: `judge:${messageId}:${version}`,
        }),
    },
    environment,
    log,
  })
  shard.subscribe(({ facts }) => {
    for (const fact of facts as readonly Written[]) {
      const isText =
        fact.type === 'chat.message_posted' || (fact.type === 'chat.message_changed' && fact.change === 'edited')
      if (isText) review.take(fact.message)
    }
  })
  for (const message of await shard.query(queries.lastWritten, { withinMs: REVIEWED_AGAIN_WITHIN_MS })) {
    review.take(message)
  }
  return review
}

function openTranslations(settings: Settings, core: Core, log: Logger): TranslationCache | null {
  const { GOOGLE_TRANSLATE_API_KEY: apiKey, GOOGLE_TRANSLATE_BASE_URL: baseUrl } = settings
  if (apiKey === undefined) return null
  const { environment } = core
  const translator = new GoogleTranslator({ apiKey, baseUrl, environment, log })
  return new TranslationCache(translator, environment, defaultTranslationLimits, storeOf(core, log))
}

function storeOf({ sql, environment }: Core, log: Logger): TranslationStore {
  const failed = (error: unknown) => {
    log.warn({ err: asError(error) }, 'translations are neither kept nor found')
    throw error
  }
  return {
    find: async ({ id, version }, language) => {
      const [found] = await readOnLiveConnection(sql, () => translations(sql, [id], language)).catch(failed)
      return found?.version === version ? found : null
    },
    keep: (message, language, { text, sourceLanguage }) =>
      keepTranslation(sql, {
        ...{ messageId: message.id, version: message.version, language },
        ...{ text, sourceLanguage, at: environment.now() },
      }).catch(failed),
  }
}

function openEmotes(settings: Settings, { shard, program, environment }: Core, log: Logger) {
  if (settings.EMOTES === 'off') return null
  let cancelRetry = () => {}
  let isStopped = false
  const tellCore = (emotes: readonly Emote[]): void => {
    cancelRetry()
    const codes = emotes.map(({ code }) => code)
    shard.execute(program.chat.commands.moderation.setEmotes, { args: { codes }, who: system }).catch((error) => {
      if (isStopped) return
      log.warn({ err: asError(error) }, 'the core was not told of the emotes')
      cancelRetry = environment.wakeAt(environment.now() + EMOTES_RETRY_MS, () => tellCore(emotes))
    })
  }
  const source = new SevenTvEmotes({
    baseUrl: settings.SEVENTV_API_BASE_URL,
    emoteSetId: settings.SEVENTV_EMOTE_SET_ID,
    environment,
    log,
    onRefreshed: tellCore,
  })
  void source.start()
  return {
    source,
    stop: () => {
      isStopped = true
      cancelRetry()
      source.stop()
    },
  }
}
