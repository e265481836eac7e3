import t from 'tap'
import { DomainError } from '../engine/errors.js'
import { client, comp, loggedOut, nextEvent, refusalOf, scan, startSockets, tier, until } from './support/sockets.js'

t.test('a scan is answered with what the REST route would say, by polling and by websocket', async (t) => {
  const { url } = await startSockets(t)
  for (const transports of [['polling'], ['websocket'], ['polling', 'websocket']]) {
    const socket = client(t, url, 'ann/s1', { transports })
    await nextEvent(socket, 'connect')
    const answer = await socket.emitWithAck('scan:submit', { code: 'ABCD-1' })
    t.same(answer, { success: true, code: 'ABCD-1', userId: 'ann', ip: '127.0.0.1' })
  }
})

t.test('a refused scan says why in the ack, and a fault tells the client nothing', async (t) => {
  const { url, failures, metric } = await startSockets(t, {
    submitScan: async (_principal, { code }) => {
      if (code === 'fault') throw new Error('a secret')
      throw new DomainError('too_many', 'velocity', 'Slow down.', { retryAfterMs: 1_200, field: 'code' })
    },
  })
  const socket = client(t, url, 'ann/s1')
  await nextEvent(socket, 'connect')
  t.same(await socket.emitWithAck('scan:submit', { code: 'ABCD' }), {
    error: { code: 'velocity', message: 'Slow down.', field: 'code', retry_after: 2 },
  })
  for (const [payload, field] of [
    [{ code: 7 }, 'code'],
    [{}, 'code'],
    [null, undefined],
    ['x', undefined],
  ] as const) {
    const { error } = await socket.emitWithAck('scan:submit', payload)
    t.match(error, { code: 'invalid_input', ...(field && { field }) })
  }
  const { error } = await socket.emitWithAck('scan:submit', { code: 'fault' })
  t.match(error, { code: 'internal' })
  t.notMatch(JSON.stringify(error), /secret/)
  t.match(failures, [{ err: { message: 'a secret' } }])
  t.equal(await metric('events_received_total', 'invalid_input'), 4)
})

t.test('nobody enters the personal namespace without a token of a living session', async (t) => {
  const { url } = await startSockets(t)
  const refusals = [undefined, '', 'nonsense', 'expired', 'ann/gone', 'x'.repeat(5_000)].map(async (token) => {
    const { code } = await refusalOf(client(t, url, token))
    return code
  })
  t.same(await Promise.all(refusals), [
    'unauthorized',
    'unauthorized',
    'unauthorized',
    'token_expired',
    'session_ended',
    'invalid_input',
  ])
  const wrong = client(t, `${url}/insights/live`, 'nonsense')
  t.match(await refusalOf(wrong), { code: 'unauthorized' }, 'a wrong token is refused where none is needed, too')
  const numbers = client(t, url, undefined, { auth: { token: 7 } })
  t.match(await refusalOf(numbers), { code: 'invalid_input', field: 'token' })
})

t.test('what a member missed while away is told once, in order, and nothing twice', async (t) => {
  const { url, publish, sockets } = await startSockets(t)
  const first = client(t, url, 'ann/s1')
  const start = await nextEvent(first, 'position')
  t.match(start, { stream: 'personal', offset: 0 })
  publish(scan('ann', 1_001), scan('bob', 1_002))
  publish(comp('ann', 'c1'))
  await until(() => first.told.length === 3)
  t.match(first.told.slice(1), [
    { event: 'scan:accepted', data: { ordinal: 1_001, comp_amount: 0, offset: 1 } },
    { event: 'comp:awarded', data: { comp_id: 'c1', amount: 100, offset: 2 } },
  ])
  first.disconnect()
  await until(() => sockets.gauges().members === 0)
  publish(tier('ann', 'standard', 'vip'), comp('ann', 'c2', 1_500_001n))

  const second = client(t, url, 'ann/s1', { transports: ['polling'] })
  const position = await nextEvent(second, 'position')
  t.same(position, { ...start, offset: 4 })
  publish(scan('ann', 1_003)) // lives on while the client asks for what it missed
  const missed = await second.emitWithAck('resume', { epoch: start.epoch, offset: 2 })
  t.match(missed.events, [
    { event: 'tier:changed', data: { to: 'vip', offset: 3 } },
    { event: 'comp:awarded', data: { comp_id: 'c2', amount: 1.500001, offset: 4 } },
    { event: 'scan:accepted', data: { ordinal: 1_003, offset: 5 } },
  ])
  t.equal(missed.offset, 5)
  t.same(await second.emitWithAck('resume', { stream: 'personal', ...start, offset: 5 }), {
    events: [],
    epoch: start.epoch,
    offset: 5,
  })
})

t.test('a client that was away too long, or through a restart, is told to resync', async (t) => {
  const { url, publish, sockets } = await startSockets(t, { limits: { personalEventsKept: 4, absentMembersMax: 1 } })
  const ann = client(t, url, 'ann/s1')
  const before = await nextEvent(ann, 'position')
  for (let ordinal = 1; ordinal <= 5; ordinal += 1) publish(scan('ann', ordinal))
  const resume = (offset: number, epoch = before.epoch) => ann.emitWithAck('resume', { epoch, offset })
  t.same(await resume(0), { resync: true, epoch: before.epoch, offset: 5 }, 'the first of the five is forgotten')
  t.equal((await resume(1)).events.length, 4)
  t.match(await resume(6), { resync: true }, 'an offset from the future')
  t.match(await resume(5, 'another-boot'), { resync: true })

  ann.disconnect()
  const bob = client(t, url, 'bob/s2')
  await nextEvent(bob, 'position')
  bob.disconnect() // takes the one place for members who left
  await until(() => sockets.gauges().members === 0)
  publish(scan('ann', 6))
  const again = client(t, url, 'ann/s1')
  const after = await nextEvent(again, 'position')
  for (let ordinal = 7; ordinal <= 12; ordinal += 1) publish(scan('ann', ordinal))
  t.not(after.epoch, before.epoch, 'a stream begun anew is not mistaken for the one before')
  t.match(await again.emitWithAck('resume', { epoch: before.epoch, offset: 5 }), { resync: true, offset: 6 })
})

t.test('malformed resumes and unknown events get an error ack, or silence when none was asked for', async (t) => {
  const { url } = await startSockets(t)
  const socket = client(t, url, 'ann/s1')
  await nextEvent(socket, 'position')
  const ask = async (event: string, ...args: unknown[]) => (await socket.emitWithAck(event, ...args)).error
  t.match(await ask('resume', { epoch: 1, offset: 0 }), { code: 'invalid_input', field: 'epoch' })
  t.match(await ask('resume', { epoch: 'x', offset: -1 }), { code: 'invalid_input', field: 'offset' })
  t.match(await ask('resume', { epoch: 'x', offset: 0, stream: 'feed' }), { code: 'unknown_stream' })
  t.match(await ask('resume'), { code: 'invalid_input' })
  for (const event of ['__proto__', 'constructor', 'error', 'no such']) {
    t.match(await ask(event, { a: 1 }), { code: 'unknown_event' }, event)
  }
  socket.emit('no such')
  socket.emit('scan:submit')
  socket.emit('scan:submit', 'a', 'b', new Uint8Array(3))
  t.match(await socket.emitWithAck('scan:submit', { code: 'STILL-HERE' }), { success: true })
})

t.test('a socket that sends too much is told when to go on', async (t) => {
  const { url, time } = await startSockets(t, { limits: { eventBurst: 3, eventsPerSecond: 2 } })
  const socket = client(t, url, 'ann/s1')
  await nextEvent(socket, 'connect')
  const submit = () => socket.emitWithAck('scan:submit', { code: 'ABCD' })
  const answers = await Promise.all([submit(), submit(), submit(), submit()])
  t.same(
    answers.map(({ success }) => success === true),
    [true, true, true, false],
  )
  t.match(answers[3], { error: { code: 'rate_limited', retry_after: 1 } })
  time.pass(500)
  t.match(await submit(), { success: true })
  t.match(await submit(), { error: { code: 'rate_limited' } })
})

t.test('commands waiting for their outcome are bounded', async (t) => {
  const release: (() => void)[] = []
  const { url } = await startSockets(t, {
    limits: { commandsInFlightMax: 2 },
    submitScan: () => new Promise((resolve) => release.push(() => resolve({ success: true }))),
  })
  const socket = client(t, url, 'ann/s1')
  await nextEvent(socket, 'connect')
  const submit = () => socket.emitWithAck('scan:submit', { code: 'ABCD' })
  const waiting = [submit(), submit()]
  t.match(await submit(), { error: { code: 'too_many_in_flight' } })
  await until(() => release.length === 2)
  for (const answer of release) answer()
  await Promise.all(waiting)
  const last = submit()
  await until(() => release.length === 3)
  release[2]?.()
  t.match(await last, { success: true })
})

t.test('a session that ends takes its sockets with it, in both namespaces, and no other', async (t) => {
  const { url, publish, sockets } = await startSockets(t)
  const gone = [client(t, url, 'ann/s1'), client(t, `${url}/insights/live`, 'ann/s1')]
  const stay = [client(t, url, 'ann/s2'), client(t, `${url}/insights/live`)]
  await Promise.all([...gone, ...stay].map((socket) => nextEvent(socket, 'connect')))
  const ends = gone.map((socket) => nextEvent(socket, 'disconnect'))
  publish(loggedOut('ann', 's1'))
  t.same(await Promise.all(ends), ['io server disconnect', 'io server disconnect'])
  for (const { told } of gone) t.match(told.at(-1), { event: 'session:ended', data: { code: 'other_device' } })
  t.ok(stay.every(({ connected }) => connected))
  t.equal(sockets.gauges().members, 1)
})

t.test('a session that ends while its handshake is checked does not get in', async (t) => {
  const checks: (() => void)[] = []
  const { url, publish, sockets } = await startSockets(t, {
    checkSession: () => new Promise((resolve) => checks.push(resolve)),
  })
  const socket = client(t, url, 'ann/s1')
  const refusal = refusalOf(socket)
  await until(() => checks.length === 1)
  publish(loggedOut('ann', 's1'))
  checks[0]?.()
  t.match(await refusal, { code: 'session_ended' })

  const late = client(t, url, 'ann/s3')
  await until(() => checks.length === 2)
  late.disconnect()
  await until(() => sockets.gauges().connections === 0)
  checks[1]?.()
  t.equal(sockets.gauges().members, 0, 'one that left before it was let in is forgotten')
})

t.test('a token that expires ends its sockets', async (t) => {
  const { url, time, sockets } = await startSockets(t)
  const socket = client(t, url, 'ann/s1')
  await nextEvent(socket, 'connect')
  const ended = nextEvent(socket, 'session:ended')
  time.pass(600_000)
  t.same(await ended, { code: 'token_expired' })
  await until(() => sockets.gauges().members === 0)
  t.equal(time.timers, 0)
})

t.test('who takes over a connection does not hear what is meant for the member before', async (t) => {
  const { url, publish } = await startSockets(t)
  const live = client(t, `${url}/insights/live`, undefined, { transports: ['websocket'] })
  await nextEvent(live, 'snapshot')
  const annElsewhere = client(t, url, 'ann/s9')
  await nextEvent(annElsewhere, 'position')
  const heard: string[] = []
  live.io.engine.on('data', (data) => heard.push(String(data)))
  const personal = live.io.socket('/', { auth: { token: 'ann/s1' } })
  await nextEvent(personal, 'position')
  personal.disconnect()
  personal.auth = { token: 'bob/s2' }
  personal.connect()
  await nextEvent(personal, 'position')
  publish(comp('ann', 'secret-of-ann'), comp('bob', 'of-bob'))
  await until(() => heard.some((message) => message.includes('of-bob')))
  await until(() => annElsewhere.told.length === 2)
  t.notOk(heard.some((message) => message.includes('secret-of-ann')))
  personal.disconnect()
})
