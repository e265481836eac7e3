/** The projector's thread: reading, decoding and encoding stay off the thread that decides. */
import { parentPort, workerData } from 'node:worker_threads'
import { assert } from '../../engine/assert.js'
import type { FromWorker, ToWorker, WorkerSetup } from './protocol.js'
import { Tail } from './tail.js'

const port = parentPort
assert(port !== null, 'this file runs as a worker thread')
const tail = new Tail(workerData as WorkerSetup, (message: FromWorker) => port.postMessage(message))

port.on('message', (message: ToWorker) => {
  if (message.kind === 'announce') tail.announce(message.durableSeq)
  else tail.drain()
})
await tail.run()
port.close()
