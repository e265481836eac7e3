// What clients may say to the sockets, and what they may not: Engine.IO packets and the WebSocket frames around them.
import fc from 'fast-check'
import { type FrameOptions, wireFrame } from './wire.js'

export interface Frame extends FrameOptions {
  readonly payload: string | Uint8Array
}

export const bytesOfFrames = (frames: readonly Frame[]): Buffer =>
  Buffer.concat(frames.map(({ payload, ...options }) => wireFrame(Buffer.from(payload), options)))

/** A command that asks for an ack under its place in the list; the payload is JSON text. */
export interface Ask {
  readonly event: string
  readonly payload: string
}

export const events = ['scan:submit', 'resume', 'snapshot', '__proto__', 'toString', '', 'message', 'x'.repeat(500)]

/** Commands in legal packets, whatever is in them. */
export function asks(scan: fc.Arbitrary<string>, hostile: fc.Arbitrary<string>): fc.Arbitrary<Ask[]> {
  const resume = fc
    .tuple(
      fc.constantFrom('"x"', '"boot"', '""'),
      fc.constantFrom('0', '1', '-1', '1e999', '9007199254740993', '0.5'),
      hostile,
    )
    .chain(([epoch, offset, odd]) =>
      fc.constantFrom(
        `{"epoch":${epoch},"offset":${offset}}`,
        `{"epoch":${odd},"offset":${offset}}`,
        `{"epoch":${epoch},"offset":${odd}}`,
        `{"epoch":${epoch},"offset":0,"stream":${odd}}`,
        `{"__proto__":{"epoch":"x"},"offset":0}`,
      ),
    )
  const ask = fc.oneof(
    { weight: 4, arbitrary: scan.map((payload) => ({ event: 'scan:submit', payload })) },
    { weight: 2, arbitrary: resume.map((payload) => ({ event: 'resume', payload })) },
    { weight: 2, arbitrary: fc.record({ event: fc.constantFrom(...events), payload: hostile }) },
  )
  const short = ask.filter(({ payload }) => payload.length < 12_000)
  return fc.array(short, { minLength: 1, maxLength: 6 })
}

const namespaces = [
  '',
  '/,',
  '/insights/live,',
  '/no,',
  '/__proto__,',
  '/insights/live',
  '/?token=x,',
  `/${'a'.repeat(500)},`,
]
const ids = ['', '0', '1', '7', '99999999999999999999', '-1', 'x']

/** Frames of every kind, in any order. */
export function frames(hostile: fc.Arbitrary<string>): fc.Arbitrary<Frame[]> {
  const packet = fc.oneof(
    fc
      .tuple(fc.constantFrom('2', '2', '2', '0', '1', '3', '4', '5', '6', '7'), fc.constantFrom(...namespaces))
      .chain(([type, namespace]) =>
        fc
          .tuple(fc.constantFrom(...ids), fc.constantFrom(...events, 'disconnect', 'connect_error'), hostile)
          .map(([id, event, value]) => `4${type}${namespace}${id}[${JSON.stringify(event)},${value}]`),
      ),
    fc.tuple(fc.constantFrom(...namespaces), hostile).map(([namespace, value]) => `40${namespace}{"token":${value}}`),
    hostile.map((value) => `42${value}`),
    hostile.map((value) => `42[${value}]`),
    fc.constantFrom('', '0', '1', '2', '2probe', '3', '3probe', '5', '6', '7', '4', '40', '41', '42', '43', '45', '46'),
    fc.constantFrom('451-["scan:submit",{"_placeholder":true,"num":0}]', '451-["x",{"_placeholder":true,"num":9}]'),
    fc.constantFrom(
      '451-["x",{"_placeholder":true,"num":-1}]',
      '4599999999-["x"]',
      '451-',
      '45-1-["x"]',
      '45NaN-["x"]',
    ),
    fc.constantFrom('461-/insights/live,1[{"_placeholder":true,"num":"__proto__"}]', '450-["x",{"_placeholder":true}]'),
    fc.constantFrom(
      'bAAAA',
      'b',
      '\x1e',
      '42["a"]\x1e42["b"]',
      '4'.repeat(16_385),
      '\ufeff42["a"]',
      '42["resume"',
      '42[]',
    ),
  )
  const frame = fc.oneof(
    { weight: 10, arbitrary: packet.map((payload): Frame => ({ payload })) },
    { weight: 2, arbitrary: fc.uint8Array({ maxLength: 64 }).map((payload): Frame => ({ payload, opcode: 2 })) },
    {
      weight: 2,
      arbitrary: fc.record({
        payload: fc.uint8Array({ maxLength: 130 }),
        opcode: fc.integer({ min: 0, max: 15 }),
        last: fc.boolean(),
        masked: fc.boolean(),
        reservedBits: fc.constantFrom(0, 0, 0, 4, 7),
      }),
    },
  )
  return fc.array(frame, { minLength: 1, maxLength: 6 })
}

/** Query strings of Engine.IO; SID stands for that of a session that is open. */
export const engineQueries = fc
  .array(
    fc.tuple(
      fc.constantFrom('EIO', 'transport', 'sid', 'sid', 'b64', 'j', 't', '__proto__', 'token'),
      fc.constantFrom(
        '4',
        '3',
        '',
        'polling',
        'websocket',
        'webtransport',
        '__proto__',
        'SID',
        'x'.repeat(500),
        '%ff',
        '%00',
        '0',
      ),
    ),
    { maxLength: 6 },
  )
  .map((pairs) => ['EIO=4', 'transport=polling', ...pairs.map((pair) => pair.join('='))].join('&'))
