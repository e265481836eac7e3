// Shortcuts around XState's general step: the machine stays the one source of truth, and its own step is the oracle.
import fc from 'fast-check'
import t from 'tap'
import { setup } from 'xstate'
import { scanCounter } from '../actors/counter/machine.js'
import { blakjaksRules } from '../actors/programs/blakjaks/rules.js'
import { quarterOf } from '../actors/programs/tiers.js'
import { tierNames } from '../actors/user/facts.js'
import { createUserActor, type UserEvent } from '../actors/user/machine.js'
import { type ActorState, defineActor, initialState, stepState } from '../engine/actor.js'
import type { Fact } from '../engine/fact.js'

const START = Date.UTC(2026, 10, 21)
const DAY_MS = 86_400_000

const at = fc.nat({ max: 200 * DAY_MS }).map((ms) => START + ms)
const quarter = at.map((time) => quarterOf(time))
const device = fc.constantFrom('mobile' as const, 'desktop' as const)
const because = fc.constantFrom('logout' as const, 'token_reuse' as const, 'password_changed' as const)
const why = { by: fc.constant('admin'), reason: fc.string() }
const place = fc.option(fc.record({ lat: fc.integer({ min: -90, max: 90 }), lng: fc.integer({ min: -180, max: 180 }) }))
const session = fc.record({ id: fc.uuid(), generation: fc.nat(), openedAt: at, expiresAt: at })
const userEvents: fc.Arbitrary<UserEvent> = fc.oneof(
  fc.record({ type: fc.constant('scan.counted' as const), at, quarter, place }),
  fc.record({ type: fc.constant('guess.counted' as const), at }),
  fc.record({ type: fc.constant('comp.credited' as const), amount: fc.bigInt({ min: 0n, max: 10n ** 12n }) }),
  fc.record({ type: fc.constant('chip.credited' as const) }),
  fc.record({ type: fc.constant('tins.credited' as const), tins: fc.nat({ max: 5_000 }), quarter }),
  fc.record({ type: fc.constant('tier.set' as const), tier: fc.option(fc.constantFrom(...tierNames)), quarter }),
  fc.record({ type: fc.constant('session.opened' as const), device, session }),
  fc.record({ type: fc.constant('session.refreshed' as const), device, expiresAt: at }),
  fc.record({ type: fc.constant('session.closed' as const), device, because }),
  fc.record({ type: fc.constant('sessions.closed' as const), because }),
  fc.record({ type: fc.constant('suspended' as const), ...why }),
  fc.record({ type: fc.constant('activated' as const), ...why }),
)

t.test('T5 a member stepped by shortcuts and by XState comes to the same state and facts', async (t) => {
  const quick = createUserActor(blakjaksRules)
  const general = { ...createUserActor(blakjaksRules), isUnconditional: false, startsPlainly: false }
  const input = { userId: 'u', number: 1, isAdmin: false, referrerId: null, quarter: quarterOf(START).key }
  initialState(quick, input, []) // XState is asked the first time only
  fc.assert(
    fc.property(fc.array(userEvents, { maxLength: 60 }), (events) => {
      const facts: [Fact[], Fact[]] = [[], []]
      let one: ActorState = initialState(quick, input, facts[0])
      let other: ActorState = initialState(general, input, facts[1])
      t.strictSame(one, other)
      for (const event of events) {
        const [before, otherBefore] = [one, other]
        one = stepState(quick, one, event, facts[0])
        other = stepState(general, other, event, facts[1])
        t.equal(one === before, other === otherBefore, `${event.type} is taken or ignored by both`)
        t.strictSame(one, other)
      }
      t.strictSame(facts[0], facts[1])
    }),
  )
  t.ok([...quick.shortcuts.values()].some((byEvent) => [...byEvent.values()].some((found) => found !== 'none')))
  t.ok([...general.shortcuts.values()].every((byEvent) => [...byEvent.values()].every((found) => found === 'none')))
})

t.test('T1 a counter steps without touching the state before', async (t) => {
  const facts: Fact[] = []
  const zero = initialState(scanCounter.of, undefined, facts)
  const one = stepState(scanCounter.of, zero, { type: 'advanced' }, facts)
  t.strictSame([zero.context, one.context], [{ value: 0 }, { value: 1 }])
})

t.test('T1 a machine that cannot begin throws, and there is no actor without a state', async (t) => {
  const actor = defineActor({
    type: 'broken',
    residency: 'cached',
    machine: setup({ types: { context: {} as { half: number }, input: {} as { of: number } } }).createMachine({
      context: ({ input }) => {
        if (input.of % 2 !== 0) throw new Error('it has no half')
        return { half: input.of / 2 }
      },
      initial: 'whole',
      states: { whole: {} },
    }),
  })
  t.throws(() => initialState(actor, { of: 3 }, []), /no half/)
  t.strictSame(initialState(actor, { of: 4 }, []), { value: 'whole', context: { half: 2 }, accounts: {} })
  t.throws(() => initialState(actor, { of: 5 }, []), /no half/)
})
