import type { Shard } from '../engine/shard.js'

/** All that a gateway asks of an engine, in this process or in another. */
export type EnginePort = Pick<Shard, 'execute' | 'query'>
