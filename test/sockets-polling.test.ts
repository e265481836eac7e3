// Hunts an event that a client misses, or is told twice, because of how it is connected: by polling, by WebSocket, or on
// its way from one to the other while events are told.
import t from 'tap'
import { client, comp, nextEvent, scan, startSockets, until } from './support/sockets.js'

const ways = [['polling'], ['websocket'], ['polling', 'websocket']]

t.test('X1 every client of a room is told every event once and in order, also while it is upgraded', async (t) => {
  const { url, publish } = await startSockets(t)
  const sockets = ways.map((transports) => client(t, url, 'ann/s1', { transports }))
  await Promise.all(sockets.map((socket) => nextEvent(socket, 'connect')))
  const upgrading = sockets[2]?.io.engine
  let upgraded = false
  upgrading?.once('upgrade', () => {
    upgraded = true
  })
  let told = 0
  await until(() => {
    publish(comp('ann', `c${++told}`))
    return upgraded
  })
  for (let more = 0; more < 20; more++) publish(comp('ann', `c${++told}`))
  const offsets = sockets.map(
    (socket) => () => socket.told.filter(({ event }) => event === 'comp:awarded').map(({ data }) => data.offset),
  )
  await until(() => offsets.every((of) => of().at(-1) === told))
  for (const of of offsets) {
    const [first = 0] = of()
    t.same(
      of(),
      Array.from({ length: told - first + 1 }, (_, index) => first + index),
    )
  }
  t.equal(upgrading?.transport.name, 'websocket')
})

t.test('who leaves a namespace while polling is told nothing more of it', async (t) => {
  const { url, publish, sockets } = await startSockets(t)
  const [leaver, stayer] = [0, 1].map(() => client(t, url, 'ann/s1', { transports: ['polling'] }))
  const live = client(t, `${url}/insights/live`, undefined, { transports: ['polling'] })
  await Promise.all([leaver, stayer, live].map((socket) => socket && nextEvent(socket, 'connect')))
  leaver?.disconnect()
  await until(() => sockets.gauges().connections === 2)
  publish(comp('ann', 'c1'), scan('ben', 1_001))
  await until(() => stayer?.told.some(({ event }) => event === 'comp:awarded') === true)
  await until(() => live.told.some(({ event }) => event === 'feed'))
  t.notOk(leaver?.told.some(({ event }) => event === 'comp:awarded'))
})
