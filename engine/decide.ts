import { enqueueActions } from 'xstate'
import type { Fact } from './fact.js'

/** What changes in the context, and the facts that follow. */
export interface Decision<Context> {
  readonly context: Partial<Context>
  readonly facts?: readonly Fact[]
}

export type Decide = (context: object, event: { type: string }) => Decision<object>

const decisions = new WeakMap<object, Decide>()

/**
 * The one kind of action our machines use: a pure function of (context, event). Call once per machine for its context
 * and event types.
 */
export function deciderFor<Context extends object, Event extends { type: string }>() {
  return <This extends Event>(decision: (context: Context, event: This) => Decision<Context>) => {
    const action = enqueueActions<Context, This, undefined, Event, never, never, never, never, Fact>(
      ({ context, event, enqueue }) => {
        const { context: next, facts } = decision(context, event)
        enqueue.assign(next)
        if (facts !== undefined) for (const fact of facts) enqueue.emit(fact)
      },
    )
    decisions.set(action, decision as unknown as Decide)
    return action
  }
}

/** The decision an action was made of; undefined for any other action. */
export function decisionOf(action: unknown): Decide | undefined {
  return typeof action === 'function' ? decisions.get(action) : undefined
}
