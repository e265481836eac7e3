/**
 * JSON that is made once and sent to many. Socket.IO would look through all of it for binary data and put it into words
 * again for everybody it is sent to.
 */
import type { SocketServer } from './client-out.js'

/** What is sent in the place of an object. */
export class ReadyJson {
  constructor(readonly text: string) {}

  /** An object that is JSON already, with more fields at its end. */
  static extended(object: string, fields: object): ReadyJson {
    return new ReadyJson(`${object.slice(0, -1)},${JSON.stringify(fields).slice(1)}`)
  }
}

type Packet = Parameters<SocketServer['encoder']['encode']>[0]

/** From now on the server sends what is ready as it is. */
export function passReadyJson({ encoder }: SocketServer): void {
  const encode = encoder.encode.bind(encoder)
  encoder.encode = (packet) => {
    const text = readyTextOf(packet)
    return text === null ? encode(packet) : [text]
  }
}

/** As Socket.IO has it: type, namespace, id, and an array that ends with what is ready; null where nothing is. */
function readyTextOf({ type, nsp, id, data }: Packet): string | null {
  const ready: unknown = Array.isArray(data) ? data.at(-1) : undefined
  if (!(ready instanceof ReadyJson)) return null
  const before = data.slice(0, -1).map((each: unknown) => `${JSON.stringify(each)},`)
  return `${type}${nsp === '/' ? '' : `${nsp},`}${id ?? ''}[${before.join('')}${ready.text}]`
}
