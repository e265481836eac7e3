// Hunts a batch of facts that is published twice, out of order or never, when Redis loses or delays what it is given; and
// an answer that says something was not done when it was.
import fc from 'fast-check'
import t from 'tap'
import { type Command, type Query, system } from '../engine/command.js'
import { FactFeed } from '../gateway/bus/fact-feed.js'
import { FactLog } from '../gateway/bus/fact-log.js'
import { RemoteEngine } from '../gateway/bus/remote-engine.js'
import { channelNames, packReply, unpackRequest } from '../gateway/bus/wire.js'
import { ChatError } from '../gateway/client/errors.js'
import { Outbox } from '../gateway/client/outbox.js'
import { HandTimers } from './support/chat-wire.js'

const standing = { now: () => 0, wakeAt: () => () => {} }
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
      environment: standing,
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

t.test('an answer whose facts do not come: a command may have been done, a query may be asked again', async (t) => {
  const asked = () => {
    const world = new World(100)
    const names = channelNames('test')
    let answer = (_: Buffer) => {}
    const publish = async (_: string, bytes: Buffer) => {
      const reply = { id: unpackRequest(bytes).id, run: 'run', asOf: 1, value: 'done', error: null }
      setImmediate(() => {
        answer(packReply(reply))
        world.feed.take('other run', 0, null)
      })
      return 1
    }
    const subscribe = (_: string, take: (bytes: Buffer) => void) => {
      answer = take
    }
    const reached = (run: string, seq: number) => world.feed.reached(run, seq)
    return new RemoteEngine({ redis: { publish, subscribe }, names, gateway: 'here', environment: standing, reached })
  }
  const command = { name: 'chat.post' } as Command
  const query = { name: 'chat.known' } as Query
  await t.rejects(asked().execute(command, { args: {}, who: system }), { code: 'outcome_unknown' })
  await t.rejects(asked().query(query, {}), { code: 'busy' })
})

t.test(
  'X1 what a gateway knows no outcome of is sent again under the same client_id: it may have been posted',
  async (t) => {
    const timers = new HandTimers()
    const posted: string[] = []
    let ids = 0
    const outbox = new Outbox({
      timers,
      newId: () => `mine ${++ids}`,
      changed: () => {},
      post: async ({ client_id }) => {
        posted.push(client_id)
        if (posted.length < 3) throw new ChatError('outcome_unknown', 'It may have been done.', 1_000)
        return { id: 'm1', offset: 1, number: 1 }
      },
    })
    const sent = outbox.send({ text: 'once' })
    outbox.open()
    for (let time = 0; time < 3; time++) {
      await new Promise(setImmediate)
      timers.advance(1_000)
    }
    t.match(await sent, { id: 'm1' })
    t.same(posted, ['mine 1', 'mine 1', 'mine 1'])
  },
)
