// The chat benchmark reports that nobody missed anything: these tests hunt for what it would not see. A server that lies to
// a subscriber is found out, and no cut of the network hides or doubles a frame.

import type { AddressInfo } from 'node:net'
import { createServer, type Socket } from 'node:net'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { Arrivals, benchText, stampsOf, Times } from '../bench/chat/arrivals.js'
import { FrameReader, opcodes, textFrame } from '../bench/chat/frames.js'
import { noFindings, type Room, Subscriber } from '../bench/chat/subscriber.js'

/** A frame as servers send it. */
function serverFrame(text: string): Buffer {
  const body = Buffer.from(text)
  const head = body.length < 126 ? [0x81, body.length] : [0x81, 126, body.length >> 8, body.length & 255]
  return Buffer.concat([Buffer.from(head), body])
}

t.test('F1 every text is handed on once and whole, wherever it is cut', (t) => {
  const texts = fc.array(
    fc.oneof(
      fc.string({ unit: 'grapheme' }),
      fc.constant('x'.repeat(126)),
      fc.constant('y'.repeat(70_000).slice(0, 65_535)),
    ),
  )
  fc.assert(
    fc.property(texts, fc.array(fc.nat(200), { minLength: 1 }), (said, cuts) => {
      const bytes = Buffer.concat(said.map(serverFrame))
      const heard: string[] = []
      const reader = new FrameReader({
        frame: (opcode, from, start, end) => {
          if (opcode === opcodes.text) heard.push(from.toString('utf8', start, end))
        },
      })
      // All reads share one buffer that still holds what came before.
      const shared = Buffer.alloc(70_000, 0x81)
      for (let at = 0, turn = 0; at < bytes.length; turn++) {
        const length = Math.min(
          bytes.length - at,
          shared.length,
          1 + (cuts[turn % cuts.length] ?? 0) * (turn % 7 === 0 ? 300 : 1),
        )
        bytes.copy(shared, 0, at, at + length)
        if (!reader.push(shared, length)) return false
        at += length
      }
      return JSON.stringify(heard) === JSON.stringify(said)
    }),
    { numRuns: 200 },
  )
  t.pass()
  const deaf = new FrameReader({ frame: () => {} })
  t.notOk(deaf.push(textFrame('masked, as only clients send it'), 2), 'F2')
  t.end()
})

/** Says what a server says, in its own words. */
async function scripted(t: Test, answerJoin: (join: object) => object) {
  const connections: Socket[] = []
  const server = createServer((socket) => {
    connections.push(socket)
    socket.on('error', () => {})
    socket.on('data', (came) => {
      const text = came.toString()
      if (text.startsWith('GET')) {
        socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n')
        socket.write(serverFrame('0{}'))
      } else if (text.includes('40/social/ws,')) socket.write(serverFrame('40/social/ws,{}'))
      const [, id, payload] = /42\/social\/ws,(\d+)\["join",(.*)\]$/.exec(text) ?? []
      if (payload !== undefined)
        socket.write(serverFrame(`43/social/ws,${id}${JSON.stringify([answerJoin(JSON.parse(payload))])}`))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const socket of connections) socket.destroy()
    server.close()
  })
  const tell = (offset: number) => {
    const data = { text: benchText(offset, 1_000), created_at: new Date(1_000).toISOString(), epoch: 'e', offset }
    connections.at(-1)?.write(serverFrame(`42/social/ws,${JSON.stringify(['message:new', data])}`))
  }
  return { port: (server.address() as AddressInfo).port, tell }
}

/** A subscriber and what it found; `told` resolves once it has been told of an offset, or lost. */
function subscriber(port: number) {
  const waiting: (() => void)[] = []
  const complete: number[] = []
  const room: Room = {
    channel: 'c',
    arrivals: new Arrivals((offset) => complete.push(offset)),
    findings: noFindings(),
    settled: () => waiting.shift()?.(),
    lost: () => waiting.shift()?.(),
  }
  room.arrivals.audience = 1
  const one = new Subscriber(room, 'token', 0)
  const pursue = () =>
    new Promise<void>((resolve) => {
      waiting.push(resolve)
      one.pursue(true, { host: '127.0.0.1', port, localAddress: '127.0.0.1' })
    })
  const reached = async (offset: number) => {
    while (one.offset < offset) await new Promise((resolve) => setImmediate(resolve))
  }
  return { one, room, complete, pursue, reached }
}

t.test('S1 S2 gaps, doubles and holes of a server that lies are counted, each once', async (t) => {
  const answers = [
    { epoch: 'e', offset: 5, messages: [] },
    { epoch: 'e', offset: 14, messages: [{ offset: 11 }, { offset: 13 }, { offset: 14 }] },
    { epoch: 'f', offset: 20, messages: [], resync: true },
  ]
  const asked: object[] = []
  const { port, tell } = await scripted(t, (join) => {
    asked.push(join)
    return answers[asked.length - 1] ?? {}
  })
  const { one, room, complete, pursue, reached } = subscriber(port)
  await pursue()
  for (const offset of [6, 7, 7, 10]) tell(offset)
  await reached(10)
  t.match(room.findings, { gaps: 2, twice: 1, holes: 0, resyncs: 0 })
  one.drop()
  await pursue()
  t.match(asked[1], { channel: 'c', epoch: 'e', offset: 10 })
  t.match(room.findings, { gaps: 2, twice: 1, holes: 1, resyncs: 0 }, '12 was left out')
  one.drop()
  await pursue()
  t.match(room.findings, { gaps: 2, twice: 1, holes: 1, resyncs: 1 })
  t.same(
    complete.sort((a, b) => a - b),
    [6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20],
  )
  tell(21)
  await reached(21)
  t.match(room.findings, { gaps: 2, twice: 1, holes: 1, resyncs: 1, ended: {} })
})

t.test('a refused join and a lost connection are told, not waited for', async (t) => {
  const { port } = await scripted(t, () => ({ error: { code: 'tier_too_low' } }))
  const { room, pursue } = subscriber(port)
  await pursue()
  t.same(room.findings.ended, { 'join: tier_too_low': 1 })
})

t.test('times: percentiles are of all parts together, and stamps are those in the message', (t) => {
  const slow = new Times()
  const fast = new Times()
  for (let n = 0; n < 99; n++) fast.record(1)
  slow.record(250)
  const all = new Times(JSON.parse(JSON.stringify(fast)))
  all.add(new Times(JSON.parse(JSON.stringify(slow))))
  t.ok(Math.abs(all.at(50) - 1.1) < 0.01)
  t.ok(Math.abs(all.at(99.5) - 250.1) < 0.01)
  const said = Buffer.from(JSON.stringify({ text: benchText(7, 1_234.5), created_at: '1970-01-01T00:00:02.000Z' }))
  t.same(stampsOf(said, 0, said.length), { dueMs: 1_234.5, takenMs: 2_000 })
  t.end()
})
