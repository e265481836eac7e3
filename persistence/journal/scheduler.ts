/** When the journal does what it puts off, and how it measures time: a port, so that a simulation decides both. */
export interface Scheduler {
  /** Calls `task` once, after what runs now. */
  soon(task: () => void): void
  /** Monotonic, milliseconds. */
  nowMs(): number
}

export const nodeScheduler: Scheduler = {
  soon: (task) => void setImmediate(task),
  nowMs: () => performance.now(),
}
