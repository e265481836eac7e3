/** The projector's thread: reading, decoding and encoding stay off the thread that decides. */
import { parentPort, workerData } from 'node:worker_threads'
import { assert } from '../../engine/assert.js'
import { connect } from '../postgres/connection.js'
import type { FromWorker, ToWorker, WorkerSetup } from './protocol.js'
import { Tail } from './tail.js'

const END_TIMEOUT_S = 1

const port = parentPort
assert(port !== null, 'this file runs as a worker thread')
const setup = workerData as WorkerSetup
const sql = connect(setup.url, { max: 1, applicationName: `comptroller projector ${setup.shard}` })
const tail = new Tail(setup, sql, (message: FromWorker) => port.postMessage(message))

port.on('message', (message: ToWorker) => {
  if (message.kind === 'announce') tail.announce(message.durableSeq)
  else tail.drain()
})
await tail.run()
await sql.end({ timeout: END_TIMEOUT_S })
port.close()
