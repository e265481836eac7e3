/** A global counter: every accepted scan takes the next ordinal of `counter/scans` (BJ-SCAN-04, BJ-T04). */
import { setup } from 'xstate'
import { defineActor } from '../../engine/actor.js'
import { deciderFor } from '../../engine/decide.js'

interface CounterContext {
  readonly value: number
}
type CounterEvent = { type: 'advanced' }

const decide = deciderFor<CounterContext, CounterEvent>()

const machine = setup({ types: { context: {} as CounterContext, events: {} as CounterEvent } }).createMachine({
  id: 'counter',
  initial: 'counting',
  context: { value: 0 },
  states: { counting: { on: { advanced: { actions: decide(({ value }) => ({ context: { value: value + 1 } })) } } } },
})

export const counter = defineActor({ type: 'counter', machine, residency: 'pinned' })
export const scanCounter = counter.ref('scans')
export const batchCounter = counter.ref('batches')
