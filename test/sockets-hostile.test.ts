import { once } from 'node:events'
import t from 'tap'
import {
  client,
  comp,
  frame,
  nextEvent,
  openPolling,
  RawWebSocket,
  refusalOf,
  startSockets,
  type Told,
  tcp,
  until,
  upgradeRequest,
} from './support/sockets.js'

/** The offsets that break the sequence. */
const gaps = (offsets: readonly number[]) => offsets.filter((offset, index) => offset !== index + 1)

t.test(
  'a slow reader is closed and has missed nothing before the end; it comes back and resumes or resyncs',
  async (t) => {
    const { port, publish, metric, sockets } = await startSockets(t, { limits: { backpressureBytesMax: 64 * 1024 } })
    const steady = await RawWebSocket.connect(t, port, '/insights/live')
    const readers = await Promise.all(Array.from({ length: 5 }, () => RawWebSocket.connect(t, port, '/insights/live')))
    let published = 0
    const lost = () => metric('dropped_total')
    // One after the other stops reading until something was dropped. Nobody is asked to read more than a buffer at once.
    for (const reader of readers) {
      const others = [steady, ...readers].filter((each) => !each.closed && each !== reader)
      const lostBefore = await lost()
      reader.socket.pause()
      while ((await lost()) === lostBefore) {
        for (let n = 0; n < 100; n += 1) publish(comp('ann', `c${++published}`))
        await until(() => others.every((each) => each.lastOffset === published))
      }
      reader.socket.resume()
      await until(() => reader.closed)
    }
    t.equal(sockets.gauges().connections, 1)
    t.same(gaps(steady.offsets('feed')), [], 'who reads gets everything')
    for (const reader of readers) {
      const offsets = reader.offsets('feed')
      t.same(gaps(offsets), [], `unbroken up to ${offsets.length} of ${published}`)
      t.ok(offsets.length < published)
    }
    t.equal(await metric('closed_total', 'slow_client'), readers.length)
    t.ok((await lost()) >= readers.length)

    const back = await RawWebSocket.connect(t, port, '/insights/live')
    const resume = (offset: number) => back.ask('/insights/live', 'resume', { epoch: 'boot1', offset })
    t.same(await resume(5), { resync: true, epoch: 'boot1', offset: published })
    const { events } = await resume(published - 150)
    t.same(
      events.map(({ data }: Told) => data.offset),
      Array.from({ length: 150 }, (_, n) => published - 149 + n),
    )
  },
)

t.test('X2: a client that polls too rarely is closed, is told so by its next poll, and resumes', async (t) => {
  const { url, publish, metric, sockets } = await startSockets(t, { limits: { pollBufferMax: 15_000 } })
  const lazy = await openPolling(url, '/', 'ann/s1')
  t.match(lazy.first, /"position",\{"stream":"personal"/)
  for (let n = 1; n <= 30; n += 1) publish(comp('ann', `c${n}`))
  t.equal(sockets.gauges().connections, 1)
  const some = await (await lazy.poll()).text()
  t.equal(some.split('\x1e').length, 30, 'within the limit everything waits')
  for (let n = 31; n <= 130; n += 1) publish(comp('ann', `c${n}`))
  await until(() => sockets.gauges().connections === 0)
  t.equal(await metric('closed_total', 'slow_client'), 1)
  const refused = await lazy.poll()
  t.equal(refused.status, 400)
  t.match(await refused.json(), { code: 1, message: 'Session ID unknown' })
  const back = client(t, url, 'ann/s1', { transports: ['polling'] })
  const { epoch } = await nextEvent(back, 'position')
  const { events } = await back.emitWithAck('resume', { epoch, offset: 70 })
  t.same(gaps(events.map(({ data }: Told) => data.offset - 70)), [])
  t.equal(events.length, 60)
})

t.test('requests that name another transport than they use are refused before engine.io sees them', async (t) => {
  const { port, url } = await startSockets(t)
  const { sid } = await openPolling(url, '/insights/live')
  const queries = [
    'EIO=4&transport=polling',
    `EIO=4&transport=polling&sid=${sid}`,
    'EIO=4&transport=websocket&transport=polling',
    `EIO=4&transport=websocket&transport=polling&sid=${sid}`,
    'EIO=4',
    'EIO=4&transport=webtransport',
    'EIO=4&transport=__proto__',
  ]
  for (const query of queries) {
    const socket = await tcp(t, port, upgradeRequest(query))
    await until(() => socket.received !== '')
    t.match(socket.received, /^HTTP\/1.1 400 /, query)
    socket.write(frame('2probe'))
    socket.destroy()
  }
  const websocket = await RawWebSocket.connect(t, port, '/insights/live')
  const own = JSON.parse(websocket.messages[0]?.slice(1) ?? '').sid
  const answer = await fetch(`${url}/socket.io/?EIO=4&transport=websocket&sid=${own}`)
  t.equal(answer.status, 400, 'would never be answered')
  t.ok((await openPolling(url, '/insights/live')).first)
})

t.test('clients that leave in the midst of polls, posts and upgrades do no harm', async (t) => {
  const { port, url, sockets, failures } = await startSockets(t)
  const get = (query: string) => `GET /socket.io/?EIO=4&${query} HTTP/1.1\r\nHost: x\r\n\r\n`
  const post = (sid: string, length: number, body: string) =>
    `POST /socket.io/?EIO=4&transport=polling&sid=${sid} HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n\r\n${body}`
  const polling = (sid: string) => `transport=polling&sid=${sid}`
  const websocket = (sid: string) => upgradeRequest(`EIO=4&transport=websocket&sid=${sid}`)

  /** The server has read what was sent before: it has answered something sent after. */
  const served = () => fetch(`${url}/socket.io/?EIO=4&transport=polling&sid=nobody`)
  const leave = (sid: string) => fetch(`${url}/socket.io/?EIO=4&${polling(sid)}`, { method: 'POST', body: '1' })

  const harms: Record<string, (sid: string) => Promise<void>> = {
    'a poll is aborted': async (sid) => {
      const poll = await tcp(t, port, get(polling(sid)))
      await served()
      poll.resetAndDestroy()
    },
    'two polls overlap and are aborted': async (sid) => {
      const polls = [await tcp(t, port, get(polling(sid))), await tcp(t, port, get(polling(sid)))]
      await until(() => polls.some(({ received }) => received !== ''))
      for (const poll of polls) poll.resetAndDestroy()
    },
    'a post is aborted in its body': async (sid) => {
      const poll = await tcp(t, port, get(polling(sid)))
      const say = await tcp(t, port, post(sid, 900, '42/insights/live,["resu'))
      await served()
      say.resetAndDestroy()
      await until(() => poll.received !== '')
    },
    'two posts overlap': async (sid) => {
      const says = [await tcp(t, port, post(sid, 900, '42')), await tcp(t, port, post(sid, 900, '42'))]
      await until(() => says.some(({ received }) => received !== ''))
      for (const say of says) say.end('x'.repeat(898))
    },
    'a post is longer than allowed': async (sid) => {
      const say = await tcp(t, port, post(sid, 20_000, 'x'))
      await until(() => say.received.startsWith('HTTP/1.1 413'))
    },
    'a post closes while a poll waits, which is aborted': async (sid) => {
      const poll = await tcp(t, port, get(polling(sid)))
      const say = await tcp(t, port, post(sid, 1, '1'))
      poll.resetAndDestroy()
      await until(() => say.received !== '')
    },
    'a post is rubbish while a poll waits': async (sid) => {
      const poll = await tcp(t, port, get(polling(sid)))
      await tcp(t, port, post(sid, 4, '4zzz'))
      await until(() => poll.received !== '')
    },
    'the poll is aborted in an upgrade': async (sid) => {
      const poll = await tcp(t, port, get(polling(sid)))
      const upgrade = await tcp(t, port, websocket(sid))
      await until(() => upgrade.received !== '')
      upgrade.write(frame('2probe'))
      poll.resetAndDestroy()
      await served()
      upgrade.write(frame('5'))
      await served()
      upgrade.resetAndDestroy()
    },
    'the upgrade is aborted after its probe': async (sid) => {
      const upgrade = await tcp(t, port, websocket(sid))
      await until(() => upgrade.received !== '')
      upgrade.write(frame('2probe'))
      await until(() => upgrade.received.includes('3probe'))
      upgrade.resetAndDestroy()
    },
    'an upgrade is asked for twice': async (sid) => {
      const upgrades = [await tcp(t, port, websocket(sid)), await tcp(t, port, websocket(sid))]
      await until(() => upgrades.some(({ destroyed, closed }) => destroyed || closed))
      for (const upgrade of upgrades) upgrade.resetAndDestroy()
    },
  }
  for (const [harm, run] of Object.entries(harms)) {
    const session = await openPolling(url, '/insights/live')
    await run(session.sid)
    await leave(session.sid)
    await until(() => sockets.gauges().connections === 0)
    t.pass(harm)
  }
  t.same(failures, [])
})

t.test('malformed packets end their own connection at most', async (t) => {
  const { port, sockets, failures } = await startSockets(t)
  const steady = await RawWebSocket.connect(t, port, '/insights/live')
  const rubbish = [
    '',
    '4',
    '42',
    '42[',
    '42["a"',
    '42{}',
    '42[["resume"]]',
    '42/insights/live,7["resume"]',
    '9',
    '40/no,',
  ]
  rubbish.push(
    '451-["a",{"_placeholder":true,"num":0}]',
    '459-["a"]',
    '43/insights/live,1[]',
    '44{}',
    '1',
    '6',
    '40{"a":1',
  )
  for (const packet of rubbish) {
    const raw = await RawWebSocket.connect(t, port, '/insights/live')
    raw.socket.write(Buffer.concat([frame(packet), frame('42/insights/live,7["resume",{}]')]))
    await until(() => raw.closed || raw.messages.some((message) => message.startsWith('43/insights/live,7')))
    raw.socket.destroy()
    await until(() => sockets.gauges().connections === 1)
  }
  const large = await RawWebSocket.connect(t, port, '/insights/live')
  large.socket.write(Buffer.from([0x81, 0xfe, 0xff, 0xff, 0, 0, 0, 0]))
  await until(() => large.closed)
  t.match(await steady.ask('/insights/live', 'resume', { epoch: 'boot1', offset: 0 }), { events: [] })
  t.same(failures, [])
})

t.test('connections of one address and sockets of one member are bounded, and places become free again', async (t) => {
  let room = true
  const { url, sockets, metric } = await startSockets(t, {
    limitLoopback: true,
    addressBucket: { take: () => (room ? 0 : 1_000) },
    limits: { connectionsPerAddressMax: 3, socketsPerMemberMax: 2 },
  })
  const open = [client(t, url, 'ann/s1'), client(t, `${url}/insights/live`, 'ann/s2')]
  await Promise.all(open.map((socket) => nextEvent(socket, 'connect')))
  const third = client(t, url, 'ann/s3')
  t.match(await refusalOf(third), { code: 'too_many_connections', message: /this member/ })
  await until(() => sockets.gauges().connections === 2)
  await openPolling(url, '/insights/live')
  const refused = await fetch(`${url}/socket.io/?EIO=4&transport=polling`)
  t.equal(refused.status, 403)
  t.match(await refused.json(), { message: /this address/ })
  open[0]?.disconnect()
  await until(() => sockets.gauges().connections === 2)
  const fourth = client(t, url, 'ann/s3')
  await nextEvent(fourth, 'connect')
  fourth.disconnect()
  await until(() => sockets.gauges().connections === 2)
  room = false
  t.equal((await fetch(`${url}/socket.io/?EIO=4&transport=polling`)).status, 403)
  t.equal(await metric('refused_total', 'too_many_connections'), 2)
  t.equal(await metric('refused_total', 'rate_limited'), 1)
  t.equal(sockets.gauges().addresses, 1)
})

t.test('who joins nothing in time is closed, whether it stays or vanishes', async (t) => {
  const { port, url, sockets, failures } = await startSockets(t, { limits: { connectTimeoutMs: 100 } })
  const idle = await tcp(t, port, upgradeRequest('EIO=4&transport=websocket'))
  await once(idle, 'close')
  t.equal((await fetch(`${url}/socket.io/?EIO=4&transport=polling`)).status, 200)
  for (let n = 0; n < 50; n += 1) {
    const poll = 'GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n'
    const socket = await tcp(t, port, n % 2 > 0 ? poll : upgradeRequest('EIO=4&transport=websocket'))
    if (n % 3 > 0) await until(() => socket.received !== '')
    socket.resetAndDestroy()
  }
  await until(() => sockets.gauges().connections === 0)
  t.same(failures, [])
})

t.test('a server that closes sends everybody away to come back, and lets nobody in', async (t) => {
  const { url, sockets } = await startSockets(t)
  const open = [client(t, `${url}/insights/live`), client(t, url, 'ann/s1', { transports: ['polling'] })]
  await Promise.all(open.map((socket) => nextEvent(socket, 'connect')))
  const gone = open.map((socket) => nextEvent(socket, 'disconnect'))
  await sockets.close()
  for (const reason of await Promise.all(gone)) t.match(reason, /^transport/)
  t.equal((await fetch(`${url}/socket.io/?EIO=4&transport=polling`)).status, 403)
  t.equal(sockets.gauges().connections, 0)
  await sockets.close()
})
