/** The shape of a program's rules for live events. They change nothing in what scans win (BJ-LIVE-10). */
export interface LiveEventRules {
  /** Scheduled or live at one time. */
  readonly eventsMax: number
  /** So long before the start members are reminded (BJ-LIVE-07). */
  readonly reminderBeforeMs: number
}
