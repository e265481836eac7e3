import t from 'tap'
import { servePages } from '../gateway/pages/index.js'
import { Follower, type Position } from '../gateway/pages/live/follower.js'
import type { PoolBalance } from '../gateway/sockets/treasury-ticker.js'
import { client, comp, nextEvent, RawWebSocket, scan, startSockets, type Told, tier, until } from './support/sockets.js'

const of = (told: readonly { event: string; data: Told }[], event: string) =>
  told.filter((one) => one.event === event).map(({ data }) => data)

t.test('X3: the counter is told at once, then at most every 100 ms, and never ends behind', async (t) => {
  const { url, publish, time } = await startSockets(t)
  const socket = client(t, `${url}/insights/live`)
  await nextEvent(socket, 'counter')
  const values = () => of(socket.told, 'counter').map(({ value }) => value)
  for (let ordinal = 1_001; ordinal <= 1_245; ordinal += 1) {
    publish(scan('ann', ordinal))
    time.pass(2)
  }
  await until(() => values().at(-1) === 1_200)
  t.same(values(), [1_000, 1_001, 1_050, 1_100, 1_150, 1_200])
  time.pass(1_000)
  await until(() => values().at(-1) === 1_245)
  time.pass(10_000)
  publish(scan('ann', 1_251))
  await until(() => values().at(-1) === 1_251)
  t.same(
    of(socket.told, 'counter').map(({ offset }) => offset),
    [0, 1, 2, 3, 4, 5, 6, 7],
    'silent while nothing moves',
  )
})

t.test('scans are sampled into the feed without losing count, prizes and rises are each an item', async (t) => {
  const { url, publish, time } = await startSockets(t)
  const socket = client(t, `${url}/insights/live`)
  await nextEvent(socket, 'snapshot')
  for (let ordinal = 1_001; ordinal <= 1_200; ordinal += 1) {
    publish(scan('ann', ordinal))
    if (ordinal % 50 === 0) publish(comp('ann', `c${ordinal}`), tier('ann', 'standard', 'vip'))
    time.pass(10)
  }
  publish(tier('ann', 'vip', 'standard'))
  time.pass(1_000)
  await until(() => of(socket.told, 'feed').reduce((sum, { count = 0 }) => sum + count, 0) === 200)
  const items = of(socket.told, 'feed')
  t.equal(items.filter(({ kind }) => kind === 'comp').length, 4)
  t.equal(items.filter(({ kind }) => kind === 'tier').length, 4, 'a fall in tier is not announced')
  t.equal(items.filter(({ kind }) => kind === 'scan').length, 11, 'five a second for two seconds, and the rest')
  t.same(
    items.map(({ offset }) => offset),
    Array.from({ length: items.length }, (_, index) => index + 1),
  )
  t.match(
    items.find(({ kind }) => kind === 'comp'),
    { text: 'Someone won $100!', amount: 100 },
  )
  t.match(
    items.find(({ kind }) => kind === 'tier'),
    { text: 'Someone reached VIP!' },
  )
})

t.test('nothing said in public tells who it was', async (t) => {
  const { url, port, publish, time } = await startSockets(t)
  const publicly = await RawWebSocket.connect(t, port, '/insights/live')
  const member = client(t, `${url}/insights/live`, 'bob/s2')
  await nextEvent(member, 'snapshot')
  publish(scan('user-ann', 1_001), comp('user-ann', 'comp-of-ann'), tier('user-ann', 'standard', 'vip'))
  time.pass(5_000)
  await until(() => publicly.said('feed').length === 3 && of(member.told, 'feed').length === 3)
  const later = await RawWebSocket.connect(t, port, '/insights/live')
  await until(() => later.said('snapshot').length === 1)
  const said = [...publicly.messages, ...later.messages, JSON.stringify(member.told)].join('\n')
  t.notMatch(said, /user-|comp-of|scan-\d|203\.0\.113|device|40\.7|MINT/i)
})

t.test('members get the velocity each second, the public does not', async (t) => {
  const { url, publish, time } = await startSockets(t)
  const everybody = client(t, `${url}/insights/live`)
  const member = client(t, `${url}/insights/live`, 'ann/s1')
  await Promise.all([nextEvent(everybody, 'snapshot'), nextEvent(member, 'snapshot')])
  for (let second = 0; second < 90; second += 1) {
    publish(scan('ann', 1_001 + second * 2), scan('bob', 1_002 + second * 2))
    time.pass(1_000)
  }
  await until(() => of(member.told, 'velocity').length === 90)
  t.match(of(member.told, 'velocity')[29], { scans_per_minute: 60 })
  t.match(of(member.told, 'velocity').at(-1), { scans_per_minute: 118, peak_today: 120 })
  time.pass(60_000)
  await until(() => of(member.told, 'velocity').length === 150)
  t.match(of(member.told, 'velocity').at(-1), { scans_per_minute: 0, peak_today: 120 })
  t.same(of(everybody.told, 'velocity'), [])
  const late = client(t, `${url}/insights/live`)
  const snapshot = await nextEvent(late, 'snapshot')
  t.match(snapshot, { counter: { value: 1_180 }, peak_today: 120, recent: { step_seconds: 5 } })
  t.equal(snapshot.feed.length, 20)
  t.equal(snapshot.feed.at(-1).offset, snapshot.offset)
  member.disconnect()
  await until(() => time.timers === 0)
})

t.test(
  'BJ-T37: the treasury is asked every 5 s at most, one question at a time, only while members watch',
  async (t) => {
    const answers: ((onChain: bigint | null) => void)[] = []
    const treasury = () =>
      new Promise<PoolBalance[]>((resolve) => {
        const rest = { pool: 'member', ledger: 1_000_000n, available: 600_000n, held: 400_000n }
        answers.push((onChain) => resolve([{ ...rest, onChain }]))
      })
    const { url, time } = await startSockets(t, { treasury })
    const live = `${url}/insights/live`
    const everybody = client(t, live)
    await nextEvent(everybody, 'snapshot')
    time.pass(20_000)
    t.equal(answers.length, 0, 'nobody listens')

    const member = client(t, live, 'ann/s1')
    await nextEvent(member, 'snapshot')
    time.pass(60_000)
    t.equal(answers.length, 1, 'a chain that hangs is not asked again and again')
    answers[0]?.(null)
    const unknown = { pool: 'member', balance: null, ledger_balance: 1, available: 0.6, held: 0.4, offset: 1 }
    t.match(await nextEvent(member, 'treasury'), unknown)
    time.pass(0)
    answers[1]?.(1_500_000n)
    t.match(await nextEvent(member, 'treasury'), { balance: 1.5, offset: 2 })

    const late = client(t, live, 'bob/s2')
    t.match(await nextEvent(late, 'treasury'), { balance: 1.5, offset: 2 }, 'at once, without a question')
    time.pass(4_999)
    t.equal(answers.length, 2)
    time.pass(1)
    t.equal(answers.length, 3)

    member.disconnect()
    late.disconnect()
    await until(() => time.timers === 0)
    const again = client(t, live, 'ann/s1')
    await nextEvent(again, 'snapshot')
    time.pass(4_999)
    t.equal(answers.length, 3, 'whoever comes and goes')
    answers[2]?.(1_600_000n)
    t.match(await nextEvent(again, 'treasury'), { balance: 1.6, offset: 3 })
    time.pass(1)
    t.equal(answers.length, 4)
    again.disconnect()
    await until(() => time.timers === 0)
    answers[3]?.(1_700_000n)
    await new Promise((resolve) => setImmediate(resolve))
    t.equal(time.timers, 0, 'nobody listens')
    t.same(of(everybody.told, 'treasury'), [])
  },
)

t.test('what is said to many is the same bytes for each', async (t) => {
  const { port, publish, time } = await startSockets(t)
  const watchers = await Promise.all(Array.from({ length: 30 }, () => RawWebSocket.connect(t, port, '/insights/live')))
  for (let ordinal = 1_001; ordinal <= 1_020; ordinal += 1) {
    publish(scan('ann', ordinal), comp('ann', `c${ordinal}`))
    time.pass(50)
  }
  const live = ({ messages }: RawWebSocket) => messages.filter((message) => /"(feed|counter)"/.test(message)).slice(1)
  await until(() => watchers.every((watcher) => watcher.said('feed').length === 26))
  const [first, ...others] = watchers.map((watcher) => live(watcher).join('\n'))
  for (const other of others) t.equal(other, first)
})

t.test('a follower of the feed shows every item once through reconnections, or starts afresh', async (t) => {
  const { url, publish, time } = await startSockets(t, { limits: { feedItemsKept: 50 } })
  const socket = client(t, `${url}/insights/live`, undefined, { transports: ['websocket'] })
  const shown: number[] = []
  let starts = 0
  let asked = 0
  const follower = new Follower<Told & Position>({
    show: (items, instead) => {
      if (instead) shown.length = 0
      if (instead) starts += 1
      shown.push(...items.map(({ offset }) => offset))
    },
    resume: (from) => {
      asked += 1
      return socket.emitWithAck('resume', from)
    },
  })
  socket.on('snapshot', (snapshot) => follower.connected({ ...snapshot, items: snapshot.feed }))
  socket.on('feed', (item) => follower.receive(item))
  await nextEvent(socket, 'snapshot')
  let won = 0
  const win = (comps: number) => {
    for (let n = 0; n < comps; n += 1) publish(comp('ann', `c${++won}`))
  }
  const reconnect = async (missed: number, meanwhile: number) => {
    const gone = nextEvent(socket, 'disconnect')
    socket.io.engine.close()
    await gone
    win(missed)
    socket.connect()
    await nextEvent(socket, 'snapshot')
    win(meanwhile)
    await until(() => shown.at(-1) === won)
  }
  win(3)
  await until(() => shown.length === 3)
  await reconnect(10, 2)
  t.equal(asked, 0, 'the snapshot held all that was missed')
  await reconnect(30, 5)
  t.equal(asked, 1)
  t.same([starts, shown], [1, Array.from({ length: 50 }, (_, index) => index + 1)])
  await reconnect(60, 5)
  t.same([starts, shown], [2, Array.from({ length: 25 }, (_, index) => 91 + index)], 'too much was missed')
  time.pass(1)
})

t.test('nothing is lost or doubled while clients change from polling to websocket', async (t) => {
  const { url, publish } = await startSockets(t)
  const clients = Array.from({ length: 5 }, () => client(t, `${url}/insights/live`))
  let won = 0
  const onWebSocket = () => clients.every(({ io, told }) => told.length > 0 && io.engine.transport.name === 'websocket')
  await until(() => {
    publish(comp('ann', `c${++won}`))
    return onWebSocket()
  })
  for (let n = 0; n < 50; n += 1) publish(comp('ann', `c${++won}`))
  for (const { told } of clients) {
    await until(() => of(told, 'feed').at(-1)?.offset === won)
    const from = of(told, 'snapshot')[0]?.offset
    t.same(
      of(told, 'feed').map(({ offset }) => offset),
      Array.from({ length: won - from }, (_, n) => from + 1 + n),
    )
  }
})

t.test('only pages of the origins named may read what a poll says', async (t) => {
  const { url } = await startSockets(t, { allowedOrigins: ['https://shop.example'] })
  const poll = async (origin: string) => {
    const { headers } = await fetch(`${url}/socket.io/?EIO=4&transport=polling`, { headers: { origin } })
    return headers.get('access-control-allow-origin')
  }
  t.same([await poll('https://shop.example'), await poll('https://elsewhere.example')], ['https://shop.example', null])
})

t.test('the page at / and all it needs come from this server', async (t) => {
  const { app, url } = await startSockets(t)
  servePages(app)
  const page = await fetch(`${url}/`)
  t.match(page.headers.get('content-type'), 'text/html')
  t.match(page.headers.get('content-security-policy'), "default-src 'none'")
  const html = await page.text()
  const links = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link = '']) => link)
  t.same(
    links.filter((link) => !/^(\/[^/]|data:)/.test(link)),
    [],
  )
  const types = { '/live.css': 'text/css', '/live.js': 'text/javascript' }
  for (const [path, type] of Object.entries(types)) {
    t.ok(links.includes(path))
    const file = await fetch(url + path)
    t.equal(file.status, 200, path)
    t.match(file.headers.get('content-type'), type)
  }
})
