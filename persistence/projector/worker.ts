/** The projector's thread: reading, decoding and encoding stay off the thread that decides. */
import { setPriority } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import { assert } from '../../engine/assert.js'
import type { FromWorker, ToWorker, WorkerSetup } from './protocol.js'
import { tailEnvironment } from './surroundings.js'
import { Tail } from './tail.js'

/** Where cores are short, members who wait for a decision come first. */
const WRITE_BEHIND_NICENESS = 10
// Only on Linux does it hold for this thread alone.
if (process.platform === 'linux') setPriority(WRITE_BEHIND_NICENESS)

const port = parentPort
assert(port !== null, 'this file runs as a worker thread')
const setup = workerData as WorkerSetup
const report = (message: FromWorker) => port.postMessage(message)
const tail = new Tail(setup.shard, setup.limits, tailEnvironment(setup), report)

port.on('message', (message: ToWorker) => {
  if (message.kind === 'announce') tail.announce(message.durableSeq)
  else if (message.kind === 'pause') tail.pause(message.isPaused)
  else tail.drain()
})
await tail.run()
port.close()
