/**
 * What the core tells itself: messages and due alarms, each of which becomes an input of its own.
 *
 * Those not yet consumed are part of the shard's state, so none is lost: one that cannot be taken now comes again a
 * little later, or after the next start.
 */
import { alarmId } from './alarms.js'
import type { Message, TurnRecord } from './record.js'
import type { ShardState } from './shard-state.js'
import type { Environment } from './store.js'

const REDELIVERY_MS = 1_000

export class Inbox {
  #told: Message[] = []
  #postponed: Message[] = []
  #delivering = false
  #running = false
  #alarmsHeld = false
  #cancelAlarm = () => {}
  #cancelRedelivery = () => {}

  constructor(
    readonly state: ShardState,
    readonly environment: Environment,
    /** Takes a message, or an alarm by its {@link alarmId}. */
    readonly admit: (message: Message) => void,
  ) {}

  get postponed(): number {
    return this.#postponed.length
  }

  /** Delivers what the last run left, and from now on alarms. */
  start(): void {
    this.#running = true
    this.#told = [...this.state.messages.values()]
    this.deliver()
    this.#scheduleAlarm()
  }

  /** Alarms and postponed messages wait for the next start. */
  stop(): void {
    this.#running = false
    this.#cancelAlarm()
    this.#cancelRedelivery()
  }

  /** While they are held, alarms that come due stay set: many can come due at once, and late is not lost. */
  holdAlarms(held: boolean): void {
    this.#alarmsHeld = held
    this.#scheduleAlarm()
  }

  /** Takes note of what a committed turn told and set. */
  follow({ messages, alarms }: TurnRecord): void {
    for (const message of messages) this.#told.push(message)
    if (alarms.length > 0) this.#scheduleAlarm()
  }

  /** Messages told by a turn run right after it, before anything else from outside. */
  deliver(): void {
    if (this.#delivering) return
    this.#delivering = true
    try {
      while (this.#told.length > 0) {
        const told = this.#told
        this.#told = []
        for (const message of told) this.admit(message)
      }
    } finally {
      this.#delivering = false
    }
  }

  postpone(message: Message): void {
    if (!this.#running) return
    this.#postponed.push(message)
    if (this.#postponed.length > 1) return
    this.#cancelRedelivery = this.environment.wakeAt(this.environment.now() + REDELIVERY_MS, () => {
      const postponed = this.#postponed
      this.#postponed = []
      for (const message of postponed) this.admit(message)
    })
  }

  #scheduleAlarm(): void {
    this.#cancelAlarm()
    const at = this.state.alarms.nextAt()
    if (at === undefined || !this.#running || this.#alarmsHeld) return
    this.#cancelAlarm = this.environment.wakeAt(at, () => {
      for (const alarm of this.state.alarms.takeDue(this.environment.now())) {
        this.admit({ id: alarmId(alarm), command: alarm.command, args: alarm.args })
      }
      this.#scheduleAlarm()
    })
  }
}
