// Hunts: a message skipped, shown twice or shown as it was; a message posted twice because its answer was lost; a client
// that gives up, or hammers the server.
import fc from 'fast-check'
import t from 'tap'
import { ChannelState, type ChatMessage } from '../gateway/client/channel-state.js'
import { ChatClient } from '../gateway/client/chat-client.js'
import { ChatError, connectionLost } from '../gateway/client/errors.js'
import { OwnReactions } from '../gateway/client/own-reactions.js'
import { changes, HandTimers, ScriptedWire } from './support/chat-wire.js'

function messageOf(number: number): ChatMessage {
  return {
    ...{ id: `message ${number}`, channel: 'quiet', number, user: null, text: 'hm', original_language: null },
    ...{ media_type: 'none', media_url: null, emote_code: null, is_system_message: true, reply_to: null },
    ...{ mentions: [], client_id: null, created_at: '', edited_at: null, deleted_at: null },
    ...{ moderation_status: 'approved', reactions: {}, pinned: false },
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

function start(token = () => 'token') {
  const timers = new HandTimers()
  const scripted = new ScriptedWire()
  let ids = 0
  const client = new ChatClient({ url: '', token, timers, wire: scripted.wire, newId: () => `mine ${++ids}` })
  return { timers, scripted, client }
}
type Started = ReturnType<typeof start>

/** Everything arrives in order, and time passes, until nothing is left to happen. */
async function heal({ timers, scripted }: Started): Promise<void> {
  for (let quiet = 0; quiet < 3; quiet++) {
    await turn()
    for (let next = scripted.parcels.shift(); next !== undefined; next = scripted.parcels.shift()) {
      next.arrive()
      await turn()
      quiet = 0
    }
    timers.advance(60_000)
  }
}

const action = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('change'), what: fc.constantFrom(...changes), at: fc.nat(9) }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constantFrom('deliver', 'duplicate', 'lose'), at: fc.nat(3) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('deliver'), at: fc.constant(0) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('send', 'cut', 'forget') }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('time'), ms: fc.constantFrom(500, 2_000, 40_000) }) },
)
type Action = Partial<{ what: (typeof changes)[number]; at: number; ms: number }> & { do: string }

function act({ scripted, timers }: Started, { do: what, what: change = 'post', at = 0, ms = 0 }: Action): void {
  const { parcels, channel } = scripted
  const parcel = parcels[at]
  switch (what) {
    case 'change':
      channel.change(change, at)
      break
    case 'duplicate':
      parcel?.arrive()
      break
    case 'deliver':
      parcels.splice(at, 1)
      parcel?.arrive()
      break
    case 'lose':
      parcels.splice(at, 1)
      parcel?.lose()
      break
    case 'cut':
      scripted.cut()
      break
    case 'forget':
      channel.knownAfter = channel.offset
      break
    case 'time':
      timers.advance(ms)
      break
  }
}

t.test('X1 whatever is lost, late, doubled or out of order, the client ends with what the server has', async (t) => {
  const script = fc.array(action, { minLength: 10, maxLength: 80 })
  const property = fc.asyncProperty(script, async (actions) => {
    const started = start()
    const { client, scripted } = started
    for (let n = 0; n < 3; n++) scripted.channel.change('post', 0)
    const channel = client.join('general')
    const sent: Promise<unknown>[] = []
    let wrong = ''
    channel.on('changed', () => {
      const numbers = channel.messages.map(({ number }) => number)
      if (numbers.some((number, at) => number <= (numbers[at - 1] ?? 0))) wrong = numbers.join()
    })
    for (const each of actions) {
      if (each.do === 'send') sent.push(channel.send({ text: `mine ${sent.length}` }))
      else act(started, each)
      await turn()
    }
    await heal(started)
    scripted.channel.change('post', 0) // what was lost last shows with what comes next
    await heal(started)

    if (wrong !== '') throw new Error(`not in order, or twice: ${wrong}`)
    const { living, number, pins, offset } = scripted.channel
    const from = channel.messages[0]?.number ?? 0
    const state = JSON.stringify([channel.position?.offset, channel.unread, channel.messages])
    const wanted = JSON.stringify([offset, number, living.filter((each) => each.number >= from)])
    if (state !== wanted) throw new Error(`${state}\nis not\n${wanted}`)
    const pinned = channel.pinned.map(({ id }) => id)
    const known = pins.filter((id) => channel.pinned.some((each) => each.id === id))
    if (channel.pinCount !== pins.length || pinned.join() !== known.join())
      throw new Error(`pinned: ${pinned}, ${pins}`)
    await Promise.all(sent)
    const mine = [...scripted.channel.messages.values()].filter(({ message }) => message.client_id !== null)
    if (mine.length !== sent.length || channel.pending.length > 0) throw new Error('posted twice, or not at all')
  })
  await fc.assert(property, { numRuns: 300 })
  t.pass()
})

t.test('X1 a long absence replaces the state, and tells how much was missed', async (t) => {
  const started = start()
  const { client, scripted } = started
  for (let n = 0; n < 5; n++) scripted.channel.change('post', 0)
  const channel = client.join('general')
  const back: number[] = []
  channel.on('back', (missed) => back.push(missed))
  await heal(started)
  t.equal(channel.messages.length, 5)
  scripted.cut()
  for (let n = 0; n < 80; n++) scripted.channel.change('post', 0)
  await heal(started)
  t.same(
    channel.messages.map(({ number }) => number),
    Array.from({ length: 85 }, (_, n) => n + 1),
    'caught up with',
  )
  scripted.cut()
  for (let n = 0; n < 120; n++) scripted.channel.change('post', 0)
  scripted.channel.knownAfter = scripted.channel.offset
  await heal(started)
  t.same(
    channel.messages.map(({ number }) => number),
    Array.from({ length: 50 }, (_, n) => n + 156),
    'replaced, without a hole',
  )
  t.same(back, [80, 120])
})

t.test('X1 the first messages of a channel come in the order they changed, and none is left out', async (t) => {
  const state = new ChannelState(100)
  const answer = { channel: 'quiet', epoch: 'one', pins: [], unread: 0 }
  state.begin({ ...answer, offset: 0, messages: [] })
  const said = (number: number, offset: number) => ({ ...messageOf(number), offset })
  state.catchUp({ ...answer, offset: 3, messages: [said(2, 2), said(1, 3)] })
  t.same(
    state.messages.map(({ number }) => number),
    [1, 2],
  )
})

t.test('X1 what is said while a join is under way is there right after it, without waiting for more', async (t) => {
  const started = start()
  const { client, scripted } = started
  const channel = client.join('general')
  await turn()
  scripted.parcels.shift()?.arrive()
  scripted.channel.change('post', 0)
  scripted.channel.change('post', 0)
  const [answer, first, second] = scripted.parcels.splice(0)
  second?.arrive()
  first?.arrive()
  answer?.arrive()
  await turn()
  t.same([channel.messages.length, channel.status, scripted.parcels.length], [2, 'live', 0])

  scripted.channel.change('post', 0)
  scripted.channel.change('post', 0)
  scripted.parcels.splice(0).at(-1)?.arrive()
  t.equal(channel.status, 'joining', 'there is a gap')
  await turn()
  scripted.parcels.shift()?.arrive()
  scripted.channel.change('post', 0)
  scripted.channel.change('post', 0)
  const [next, lost, last] = scripted.parcels.splice(0)
  lost?.lose()
  last?.arrive()
  next?.arrive()
  await heal(started)
  t.same([channel.messages.length, channel.status], [6, 'live'], 'another gap behind the first')
})

t.test('X1 a message of ours that is gone before we hear of it is not pending for ever', async (t) => {
  const started = start()
  const { client, scripted } = started
  const channel = client.join('general')
  await heal(started)
  const sent = channel.send({ text: 'soon gone' })
  await turn()
  scripted.parcels.shift()?.arrive()
  scripted.channel.change('delete', 0)
  const [, answer] = scripted.parcels.splice(0)
  answer?.arrive()
  await sent
  t.equal(channel.pending.length, 1)
  scripted.cut()
  scripted.channel.knownAfter = scripted.channel.offset
  await heal(started)
  t.same([channel.pending, channel.messages, scripted.received.length], [[], [], 1])
})

t.test('X1 an answer that is lost does not post a message twice, nor does the one who asks again', async (t) => {
  const started = start()
  const { client, scripted } = started
  const channel = client.join('general')
  await heal(started)
  const sent = channel.send({ text: 'once' })
  t.match(channel.pending, [{ client_id: 'mine 1', state: 'sending' }])
  await turn()
  scripted.parcels.shift()?.arrive()
  scripted.cut()
  await turn()
  t.match(channel.pending, [{ client_id: 'mine 1', state: 'waiting' }], 'it is not known to be posted')
  t.equal(scripted.channel.number, 1)
  await heal(started)
  t.match(await sent, { id: 'm1', number: 1 })
  t.same([channel.pending, channel.messages.length, scripted.channel.number], [[], 1, 1])
})

t.test('a refusal is told with its code and wait; what was written offline waits as long as it is told', async (t) => {
  const started = start()
  const { client, scripted } = started
  const channel = client.join('general')
  await heal(started)
  scripted.refusals.push(new ChatError('cooldown', 'Not so fast.', 2_000))
  const refused = channel.send({ text: 'too fast' })
  const told = refused.catch((error: unknown) => error)
  await heal(started)
  t.match(await told, { code: 'cooldown', retryAfterMs: 2_000 })
  t.match(channel.pending, [{ state: 'failed', error: { code: 'cooldown' } }])
  channel.retry('mine 1')
  await heal(started)
  t.same([channel.pending, scripted.channel.number], [[], 1])

  scripted.cut()
  const late = [channel.send({ text: 'offline 1' }), channel.send({ text: 'offline 2' })]
  scripted.refusals.push(new ChatError('cooldown', 'Not so fast.', 2_000))
  await heal(started)
  await Promise.all(late)
  t.same(scripted.received, ['mine 1', 'mine 2', 'mine 3', 'mine 5', 'mine 4'], 'a refused id is not used again')
  t.same(
    channel.messages.map(({ text }) => text),
    ['too fast', 'offline 1', 'offline 2'],
  )
})

t.test('X2 an expired token is replaced at once; a session that ended stays ended', async (t) => {
  let tokens = 0
  const started = start(() => `token ${++tokens}`)
  const { client, scripted, timers } = started
  const channel = client.join('general')
  await heal(started)
  scripted.say('session:ended', { code: 'token_expired' })
  scripted.cut()
  timers.advance(0)
  await heal(started)
  t.same([scripted.tokens, channel.status], [['token 1', 'token 2'], 'live'])
  scripted.say('session:ended', { code: 'logout' })
  scripted.cut()
  await heal(started)
  t.same(client.state, { is: 'ended', code: 'logout' })
  t.same([scripted.tokens.length, channel.status], [2, 'away'])
  client.connect()
  await heal(started)
  t.equal(channel.status, 'live', 'until somebody has logged in again')
  scripted.cut(new ChatError('session_ended', 'Over.'))
  await heal(started)
  t.same(client.state, { is: 'ended', code: 'session_ended' })
})

t.test('X2 who loses the connection again and again comes back later each time', async (t) => {
  const started = start()
  const { client, scripted, timers } = started
  client.join('general')
  const waits: number[] = []
  client.on('state', (state) => {
    if (state.is === 'waiting') waits.push(state.untilMs - timers.now())
  })
  for (let n = 0; n < 7; n++) {
    await turn()
    scripted.cut()
    timers.advance(waits.at(-1) ?? 0)
  }
  t.same(
    waits,
    [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000].map((ms) => ms * 0.625),
  )
  await turn()
  timers.advance(20_000)
  scripted.cut()
  t.equal(waits.at(-1), 625, 'a connection that lasted makes up for it')
})

t.test('a channel that is closed to us says why, and is joined anew when asked', async (t) => {
  const started = start()
  const { client, scripted } = started
  const channel = client.join('general')
  await heal(started)
  scripted.say('channel:closed', { channel: 'general', code: 'not_readable' })
  t.match([channel.status, channel.closedBecause], ['closed', { code: 'not_readable' }])
  await t.rejects(channel.send({ text: 'x' }), { code: 'not_readable' })
  scripted.channel.change('post', 0)
  await heal(started)
  t.equal(channel.messages.length, 0, 'it hears nothing any more')
  const again = client.join('general')
  await heal(started)
  t.same([again.status, again.messages.length], ['live', 1])
})

t.test('B1 which reactions are ours is what the server has, whatever happens while it is asked', async (t) => {
  const ids = ['a', 'b', 'c', 'd']
  const emojis = ['👍', '🎉']
  const step = fc.oneof(
    fc.record({ do: fc.constant('act' as const), id: fc.constantFrom(...ids), emoji: fc.constantFrom(...emojis) }),
    fc.record({ do: fc.constantFrom('load', 'answer', 'fail', 'meet', 'hear') }),
  )
  let asked = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const server = new Map(ids.map((id) => [id, new Set(['👍'])]))
      const answers: { arrive: () => void; fail: () => void }[] = []
      const acks: (() => void)[] = []
      const own = new OwnReactions(100, (some) => {
        asked += 1
        const reactions = some.map((id) => ({ id, emojis: [...(server.get(id) ?? [])] }))
        return new Promise((resolve, reject) => {
          answers.push({ arrive: () => resolve({ reactions }), fail: () => reject(connectionLost()) })
        })
      })
      const act = (id: string, emoji: string) => {
        const theirs = server.get(id)
        const on = theirs?.delete(emoji) !== true
        if (on) theirs?.add(emoji)
        acks.push(() => own.set({ id, emoji, on }))
      }
      const load = () => void own.load().catch(() => {})
      const meet = () => own.meet(ids.map((id, at) => ({ ...messageOf(at), id, reactions: { '👍': 2 } })))
      const does = {
        ...{ load, meet, hear: () => acks.shift()?.() },
        ...{ answer: () => answers.shift()?.arrive(), fail: () => answers.shift()?.fail() },
      }
      meet()
      for (const each of steps) {
        if (each.do === 'act') act(each.id, each.emoji)
        else does[each.do]()
        await turn()
      }
      for (const hear of acks) hear()
      load()
      for (let at = 0; at < 3; at++) {
        for (const { arrive } of answers.splice(0)) arrive()
        await turn()
      }
      for (const [id, theirs] of server) t.same(new Set(own.of(id)), theirs)
    }),
    { numRuns: 100 },
  )
  t.ok(asked > 100)
  const own = new OwnReactions(150, async (some) => ({ reactions: some.map((id) => ({ id, emojis: ['👍'] })) }))
  own.meet(Array.from({ length: 300 }, (_, at) => ({ ...messageOf(at), reactions: at % 3 === 0 ? {} : { '👍': 1 } })))
  t.equal(await own.load(), true)
  t.equal(await own.load(), false, 'nothing is asked twice')
  const known = Array.from({ length: 300 }, (_, at) => own.of(`message ${at}`).size)
  t.equal(known.filter((size) => size === 1).length, 150)
  t.same([known[0], known[297], known[299]], [0, 0, 1])
})

t.test('X3 hints: typing is told now and then, and who types stops by themselves', async (t) => {
  const started = start()
  const { client, scripted, timers } = started
  const channel = client.join('general')
  await heal(started)
  for (let n = 0; n < 10; n++) channel.tellTyping()
  t.equal(scripted.parcels.length, 1)
  scripted.say('typing', { channel: 'general', user_id: 'b', username: 'ben' })
  scripted.say('presence', { channel: 'general', count: 2, sample: ['ann', 'ben'] })
  t.match(channel, { typing: [{ username: 'ben' }], presence: { count: 2 } })
  timers.advance(5_000)
  t.same(channel.typing, [])
})
