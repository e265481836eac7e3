/** A thread of a campaign: runs the seeds it is given, one after the other. */
import { parentPort } from 'node:worker_threads'
import { assert } from '../assert.js'
import { runSeed, survivingFailedChecks } from './campaign.js'

const port = parentPort
assert(port !== null, 'this file runs as a worker thread')
survivingFailedChecks()
port.on('message', async (seed: number) => port.postMessage(await runSeed(seed)))
