// Reads a long stretch of a journal by a worker thread, so that a recovery need not wait for the disk, nor for the hash
// chain to be verified (J2): the worker reads and verifies, this thread gets the records in chunks.
//
// - B1 CHUNKS_AHEAD_MAX chunks of about CHUNK_BYTES are on their way at most.
// - What the worker cannot read, this thread tries itself, so that damage is reported the same either way.
import { on } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { JournalEntry } from '../../engine/journal.js'
import { JournalReader } from './reader.js'

export const CHUNK_BYTES = 1024 * 1024
export const CHUNKS_AHEAD_MAX = 4

/** What the worker is asked for: records that are durable. */
export interface Stretch {
  readonly directory: string
  readonly fromSeq: number
  readonly throughSeq: number
}

/** The records that follow, each behind its length in four bytes. */
export interface Chunk {
  readonly bytes: Uint8Array
}

const LENGTH_BYTES = 4

/** Called by the worker. The bytes are in a buffer of their own, which can be handed over. */
export function packChunk(entries: readonly JournalEntry[]): Uint8Array<ArrayBuffer> {
  const length = entries.reduce((sum, { body }) => sum + LENGTH_BYTES + body.length, 0)
  const bytes = Buffer.from(new ArrayBuffer(length))
  let at = 0
  for (const { body } of entries) {
    bytes.writeUInt32LE(body.length, at)
    bytes.set(body, at + LENGTH_BYTES)
    at += LENGTH_BYTES + body.length
  }
  return bytes
}

function unpackChunk({ bytes: { buffer, byteOffset, length } }: Chunk, firstSeq: number): JournalEntry[] {
  const bytes = Buffer.from(buffer, byteOffset, length)
  const entries: JournalEntry[] = []
  for (let at = 0; at < length; ) {
    const start = at + LENGTH_BYTES
    at = start + bytes.readUInt32LE(at)
    entries.push({ seq: firstSeq + entries.length, body: bytes.subarray(start, at) })
  }
  return entries
}

export async function* readAhead(stretch: Stretch): AsyncGenerator<readonly JournalEntry[]> {
  const { directory, throughSeq } = stretch
  let nextSeq = stretch.fromSeq
  const worker = new Worker(new URL('./read-ahead-worker.js', import.meta.url), { workerData: stretch })
  try {
    for await (const [chunk] of on(worker, 'message', { close: ['exit'] }) as AsyncIterable<[Chunk]>) {
      worker.postMessage('next')
      const entries = unpackChunk(chunk, nextSeq)
      nextSeq += entries.length
      yield entries
    }
  } catch {
    // What is wrong, the reader below finds too.
  } finally {
    await worker.terminate()
  }
  const reader = new JournalReader({ directory, fromSeq: nextSeq })
  try {
    while (reader.nextSeq <= throughSeq) yield await reader.next(throughSeq)
  } finally {
    await reader.close()
  }
}
