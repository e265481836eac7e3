/** Live events as routes and sockets see them. Refusals are DomainErrors. */
import type { LiveEventRow } from '../actors/live-event/facts.js'
import type { LoyaltyProgram } from '../actors/programs/loyalty.js'
import { type TierName, tierNames } from '../actors/user/facts.js'
import { system } from '../engine/command.js'
import type { EnginePort } from './engine-port.js'
import { adminLiveEventJson, type LiveEventJson, liveEventJson } from './live-event-json.js'

/** Stands for the key of a stream in the address where it is played. */
export const STREAM_KEY = '{stream_key}'

export interface ArchivePage {
  /** The page begins before this event; without it with the one that ended last. */
  readonly before?: { readonly endedAt: number; readonly eventId: string }
  readonly limit: number
}

export interface LiveEventsOptions {
  readonly engine: EnginePort
  readonly program: LoyaltyProgram
  /** Where a stream is played, with {@link STREAM_KEY} in it. */
  readonly playbackTemplate: string
  /** From Postgres, the last first. */
  readonly ended: (page: ArchivePage & { readonly tiers: readonly TierName[] }) => Promise<readonly LiveEventRow[]>
}

export class LiveEvents {
  constructor(private readonly options: LiveEventsOptions) {}

  /** What is scheduled or live and may be seen by a member whom the chat knows. */
  async currentFor(userId: string): Promise<readonly LiveEventRow[]> {
    const { engine } = this.options
    return engine.query(this.#queries.eventsFor, { userId, eventIds: await engine.query(this.#queries.programme, {}) })
  }

  /** All that is scheduled or live. */
  async current(): Promise<readonly LiveEventRow[]> {
    const { engine } = this.options
    return engine.query(this.#queries.events, { eventIds: await engine.query(this.#queries.programme, {}) })
  }

  /** One that is scheduled or live; null when there is none. */
  async find(eventId: string): Promise<LiveEventRow | null> {
    const [row = null] = await this.options.engine.query(this.#queries.events, { eventIds: [eventId] })
    return row
  }

  /** Throws `event_unknown`, `event_over`, `tier_too_low`. */
  watchable(userId: string, eventId: string): Promise<LiveEventRow> {
    return this.options.engine.query(this.#queries.watchable, { userId, eventId })
  }

  /** Ids of those of these events that a member may see. */
  async seenBy(userId: string, eventIds: readonly string[]): Promise<ReadonlySet<string>> {
    const rows = await this.options.engine.query(this.#queries.eventsFor, { userId, eventIds })
    return new Set(rows.map(({ eventId }) => eventId))
  }

  /** Those of these members who may see an event of this tier. */
  audience(minimumTier: TierName, userIds: readonly string[]): Promise<readonly string[]> {
    return this.options.engine.query(this.#queries.audience, { minimumTier, userIds })
  }

  /** Events that have ended, and that the member may see, the last first. It may lag behind by some milliseconds. */
  async archive(userId: string, page: ArchivePage): Promise<readonly LiveEventRow[]> {
    const { engine, program, ended } = this.options
    const { tier, isAdmin } = await engine.query(program.chat.queries.standing, { userId })
    const tiers = isAdmin ? tierNames : tierNames.slice(0, tierNames.indexOf(tier) + 1)
    return ended({ ...page, tiers })
  }

  async countViewers(eventId: string, viewers: number, peak: number): Promise<void> {
    const { engine, program } = this.options
    await engine.execute(program.live.commands.countViewers, { args: { eventId, viewers, peak }, who: system })
  }

  json(row: LiveEventRow): LiveEventJson {
    return liveEventJson(row, (key) => this.#playbackUrl(key))
  }

  adminJson(row: LiveEventRow) {
    return adminLiveEventJson(row, (key) => this.#playbackUrl(key))
  }

  get #queries() {
    return this.options.program.live.queries
  }

  // BJ-LIVE-01
  #playbackUrl(streamKey: string): string {
    return this.options.playbackTemplate.replaceAll(STREAM_KEY, encodeURIComponent(streamKey))
  }
}
