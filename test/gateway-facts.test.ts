// Hunts a batch of facts that is published twice, out of order or never, when Redis loses or delays what it is given.
import fc from 'fast-check'
import t from 'tap'
import { FactFeed } from '../gateway/bus/fact-feed.js'
import { FactLog } from '../gateway/bus/fact-log.js'

const quiet = { info: () => {}, warn: () => {}, error: () => {} }

/** An engine that tells batches, each of one byte, a Redis that does what it likes with them, and a gateway. */
class World {
  readonly log: FactLog
  readonly published: number[] = []
  /** What had been told when everybody was told to come back. */
  readonly resyncs: number[] = []
  /** Who waited for a batch and got on before it was published. */
  readonly tooEarly: number[] = []
  #late: number[] = []
  readonly feed: FactFeed

  constructor(keptBytes: number) {
    this.log = new FactLog(keptBytes)
    this.feed = new FactFeed({
      environment: { now: () => 0, wakeAt: () => () => {} },
      missed: async (_, seq) => ({ upTo: this.log.seq, batches: this.log.since(seq, 3) }),
      publish: ([seq = 0]) => this.published.push(seq),
      resync: () => this.resyncs.push(this.log.seq),
      onRun: () => {},
      log: quiet,
    })
    this.beat()
  }

  beat(): void {
    this.feed.take('run', this.log.seq, null)
  }

  tell(fate: 'told' | 'lost' | 'late'): void {
    const bytes = Uint8Array.of(this.log.seq + 1)
    const seq = this.log.append(bytes)
    if (fate === 'told') this.feed.take('run', seq, bytes)
    if (fate === 'late') this.#late.push(seq)
  }

  deliverLate(): void {
    for (const seq of this.#late.splice(0)) this.feed.take('run', seq, Uint8Array.of(seq))
  }

  /** As an answer of the engine does that has seen everything so far. */
  wait(): void {
    const { seq } = this.log
    const gotOn = () => {
      if (this.feed.gauges().facts_seq < seq) this.tooEarly.push(seq)
    }
    const waiting = this.feed.reached('run', seq)
    if (waiting === undefined) gotOn()
    else waiting.then(gotOn, () => {})
  }

  async settle(): Promise<void> {
    do {
      this.beat()
      await new Promise(setImmediate)
    } while (this.feed.gauges().facts_seq < this.log.seq)
    this.deliverLate()
  }
}

const step = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('told', 'lost', 'late') },
  { weight: 1, arbitrary: fc.constantFrom('beat', 'deliverLate', 'wait', 'pause') },
)

t.test('X1 every batch is published once and in order, or everybody is told to come back', async (t) => {
  let resyncs = 0
  const property = fc.asyncProperty(
    fc.array(step, { maxLength: 80 }),
    fc.integer({ min: 1, max: 60 }),
    async (...run) => {
      const [steps, keptBytes] = run
      const world = new World(keptBytes)
      for (const each of steps) {
        if (each === 'told' || each === 'lost' || each === 'late') world.tell(each)
        else if (each === 'pause') await new Promise(setImmediate)
        else world[each]()
      }
      await world.settle()
      const { published, log } = world
      t.ok(
        published.every((seq, index) => index === 0 || seq > (published[index - 1] ?? 0)),
        'in order',
      )
      t.same(world.tooEarly, [])
      const skipped = log.seq - published.length
      t.ok(skipped === 0 || world.resyncs.length > 0, 'nobody is silently skipped')
      resyncs += world.resyncs.length
    },
  )
  await fc.assert(property, { numRuns: 300 })
  t.ok(resyncs > 0, 'it came to that, too')
})

t.test('X1 another run of the engine: everybody is told to come back, and whoever waits is refused', async (t) => {
  const world = new World(100)
  world.tell('told')
  world.tell('lost')
  const waiting = world.feed.reached('run', 2)
  world.feed.take('other', 7, null)
  await t.rejects(waiting ?? Promise.resolve(), { code: 'busy' })
  t.equal(world.resyncs.length, 1)
  await t.rejects(world.feed.reached('other', 6) ?? Promise.resolve(), { code: 'busy' })
  t.equal(world.feed.reached('other', 7), undefined)
  world.feed.take('other', 8, Uint8Array.of(8))
  t.same(world.published, [1, 8])
})
