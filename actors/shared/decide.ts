import { enqueueActions } from 'xstate'
import type { Fact } from '../../engine/fact.js'

export interface Decision<Context> {
  readonly context: Partial<Context>
  readonly facts?: readonly Fact[]
}

/**
 * The one kind of action our machines use: a pure function of (context, event) to what changes in the context and the
 * facts that follow. Call once per machine for its context and event types.
 */
export function deciderFor<Context extends object, Event extends { type: string }>() {
  return <This extends Event>(decision: (context: Context, event: This) => Decision<Context>) =>
    enqueueActions<Context, This, undefined, Event, never, never, never, never, Fact>(({ context, event, enqueue }) => {
      const { context: next, facts } = decision(context, event)
      enqueue.assign(next)
      if (facts !== undefined) for (const fact of facts) enqueue.emit(fact)
    })
}
