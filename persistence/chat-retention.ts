/**
 * Deletes messages of the chat for good when they are too old to be shown (BJ-CHAT-20, BJ-JOB-09), once a day.
 *
 * A1 Only what no turn can use any more is deleted: the age of a message is told by the time of the last record that
 *    Postgres holds, and no later turn is before that. So write-behind has nothing more to write about it, whatever the
 *    clock says; what is written about it all the same, whole, goes the next time.
 * A2 A message goes after all that belongs to it, so a run that is cut short leaves nothing that the next one misses.
 * B1 A statement deletes `rowsMax` rows at most, of `messagesMax` messages, in a transaction of its own.
 */
import type { Logger } from 'pino'
import type { Environment } from '../engine/store.js'
import { channelsWithMessages } from './message-rows.js'
import type { Sql } from './postgres/connection.js'

const MINUTE_MS = 60_000
const DAY_MS = 24 * 60 * MINUTE_MS

export interface ChatRetentionLimits {
  readonly messagesMax: number
  readonly rowsMax: number
  /** From the start to the first run, and from a run that failed to the next. */
  readonly retryIntervalMs: number
}

export const defaultChatRetentionLimits: ChatRetentionLimits = {
  messagesMax: 200,
  rowsMax: 2_000,
  retryIntervalMs: 10 * MINUTE_MS,
}

export interface ChatRetentionOptions {
  readonly sql: Sql
  readonly shard: string
  /** The age at which messages go. */
  readonly retentionMs: number
  readonly environment: Pick<Environment, 'now' | 'wakeAt'>
  /** Whether Postgres may be written to, which takes room on a disk first. */
  readonly mayWrite: () => boolean
  readonly log: Pick<Logger, 'info' | 'warn'>
  readonly limits?: ChatRetentionLimits
}

export class ChatRetention {
  readonly #limits: ChatRetentionLimits
  #running: Promise<number> | undefined
  #cancelNext = () => {}
  #isStopped = false

  constructor(private readonly options: ChatRetentionOptions) {
    this.#limits = options.limits ?? defaultChatRetentionLimits
  }

  start(): void {
    this.#wakeIn(this.#limits.retryIntervalMs)
  }

  /** Resolves when the statement under way is done. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#cancelNext()
    await this.#running?.catch(() => {})
  }

  /** Deletes what is too old now; returns how many messages. Who asks while it runs gets the result of that run. */
  run(): Promise<number> {
    this.#running ??= this.#deleteAll().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  #wakeIn(ms: number): void {
    if (this.#isStopped) return
    const { environment } = this.options
    this.#cancelNext = environment.wakeAt(environment.now() + ms, () => void this.#runDaily())
  }

  async #runDaily(): Promise<void> {
    const { log } = this.options
    try {
      const messages = await this.run()
      if (messages > 0) log.info({ messages }, 'old messages of the chat were deleted')
      this.#wakeIn(this.#mayGoOn ? DAY_MS : this.#limits.retryIntervalMs)
    } catch (error) {
      log.warn({ err: error }, 'old messages of the chat could not be deleted; it is tried again')
      this.#wakeIn(this.#limits.retryIntervalMs)
    }
  }

  get #mayGoOn(): boolean {
    return !this.#isStopped && this.options.mayWrite()
  }

  async #deleteAll(): Promise<number> {
    const { sql, shard, retentionMs } = this.options
    // A1
    const [mark] = await sql<{ applied_at_ms: bigint }[]>`
      select applied_at_ms from projector_mark where shard = ${shard}`
    const untilMs = Number(mark?.applied_at_ms ?? 0) - retentionMs
    let count = 0
    for (const channelId of await channelsWithMessages(sql)) {
      while (this.#mayGoOn) {
        const ids = await this.#oldest(channelId, untilMs)
        if (ids.length === 0) break
        if (await this.#delete(ids)) count += ids.length
      }
    }
    return count
  }

  /** Of the channel's first messages those that are old enough. */
  async #oldest(channelId: string, untilMs: number): Promise<string[]> {
    const { sql } = this.options
    const rows = await sql<{ id: string }[]>`
      select id from (
        select id, created_at from social_messages where channel_id = ${channelId}
        order by number limit ${this.#limits.messagesMax}
      ) first_ones where created_at <= ${new Date(untilMs)}`
    return rows.map(({ id }) => id)
  }

  /** A2. False when it was cut short. */
  async #delete(ids: readonly string[]): Promise<boolean> {
    const { sql, environment } = this.options
    const { rowsMax } = this.#limits
    const messages = sql`unnest(${[...ids]}::text[]) message (id)`
    const parts = [
      () => sql`
        delete from social_message_reactions where (message_id, user_id, emoji) in (
          select reaction.* from ${messages}, lateral (
            select message_id, user_id, emoji from social_message_reactions where message_id = message.id
            order by message_id, user_id, emoji limit ${rowsMax}) reaction
          limit ${rowsMax})`,
      () => sql`
        delete from actor_images where actor in (
          select image.actor from ${messages}, lateral (
            select actor from actor_images
            where actor > 'reaction/' || message.id || ':' and actor < 'reaction/' || message.id || ';'
            order by actor limit ${rowsMax}) image
          limit ${rowsMax})`,
      () => sql`
        delete from social_message_translations where (message_id, language) in (
          select message_id, language from social_message_translations where message_id = any(${[...ids]}::text[])
          limit ${rowsMax})`,
      () => sql`
        delete from chat_report_decisions where (seq, entry) in (
          select seq, entry from chat_report_decisions where message_id = any(${[...ids]}::text[]) limit ${rowsMax})`,
      // What was reported of it nobody could decide any more.
      () => sql`
        update chat_reports set decision = 'deleted', closed_by = 'system', closed_at = ${new Date(environment.now())}
        where id in (
          select id from chat_reports where message_id = any(${[...ids]}::text[]) and closed_at is null limit ${rowsMax})`,
      () => sql`delete from actor_images where actor in (select 'message/' || message.id from ${messages})`,
      () => sql`delete from social_messages where id = any(${[...ids]}::text[])`,
    ]
    for (const part of parts) {
      let deleted = rowsMax
      while (deleted === rowsMax) {
        if (!this.#mayGoOn) return false
        deleted = (await part()).count
      }
    }
    return true
  }
}
