// The thread of read-ahead.ts.
import { parentPort, workerData } from 'node:worker_threads'
import { assert } from '../../engine/assert.js'
import { CHUNK_BYTES, CHUNKS_AHEAD_MAX, type Chunk, packChunk, type Stretch } from './read-ahead.js'
import { JournalReader } from './reader.js'

const port = parentPort
assert(port !== null, 'this file runs as a worker thread')
const { directory, fromSeq, throughSeq } = workerData as Stretch

let ahead = 0
let onTaken = () => {}
port.on('message', () => {
  ahead -= 1
  onTaken()
})

const reader = new JournalReader({ directory, fromSeq })
while (reader.nextSeq <= throughSeq) {
  const bytes = packChunk(await reader.next(throughSeq, CHUNK_BYTES))
  while (ahead === CHUNKS_AHEAD_MAX) {
    await new Promise<void>((resolve) => {
      onTaken = resolve
    })
  }
  ahead += 1
  port.postMessage({ bytes } satisfies Chunk, [bytes.buffer])
}
await reader.close()
port.close()
