import type { HttpResponse } from 'uWebSockets.js'

const STREAM_CHUNK_BYTES = 16 * 1024

/**
 * Ends an answer whose head is written with a body of any size, handing uWS only what the client takes.
 * `done` is called when all of it left; the caller watches for abort.
 */
export function endInStep(res: HttpResponse, body: Uint8Array, done: () => void): void {
  const start = res.getWriteOffset()
  const [, ended] = res.tryEnd(body, body.byteLength)
  if (ended) {
    done()
    return
  }
  res.onWritable((offset) => {
    const [ok, endedNow] = res.tryEnd(body.subarray(offset - start), body.byteLength)
    if (endedNow) done()
    return ok
  })
}

/** Ends the answer to a HEAD request, whose head is written; uWS's own parameter for the length drops the connection. */
export function endHead(res: HttpResponse, bytes: number): void {
  res.writeHeader('content-length', String(bytes)).endWithoutBody()
}

/** Ends an answer without a body, saying so where the status alone does not. */
export function endEmpty(res: HttpResponse, status: number, headOnly: boolean): void {
  if (status === 204 || status === 304 || headOnly) res.endWithoutBody()
  else res.endWithoutBody(0)
}

/** Gathers the pieces of a stream into chunks worth a write each. */
export async function* gathered(source: AsyncIterable<string | Uint8Array>): AsyncGenerator<Uint8Array> {
  let pieces: Buffer[] = []
  let size = 0
  for await (const piece of source) {
    const bytes =
      typeof piece === 'string' ? Buffer.from(piece) : Buffer.from(piece.buffer, piece.byteOffset, piece.length)
    pieces.push(bytes)
    size += bytes.length
    if (size < STREAM_CHUNK_BYTES) continue
    yield pieces.length === 1 ? bytes : Buffer.concat(pieces, size)
    pieces = []
    size = 0
  }
  if (size > 0) yield Buffer.concat(pieces, size)
}
