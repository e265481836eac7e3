/** The process of the local Solana chain. It ends, its state saved, when the process that started it is gone. */
import { randomBytes } from 'node:crypto'
import { getBase58Decoder } from '@solana/kit'
import { SolanaChain } from './solana-chain.js'
import { controlMethods, newControls } from './solana-controls.js'
import { rpcMethods } from './solana-rpc.js'
import { serveRpc } from './solana-server.js'
import { SolanaState } from './solana-state.js'

export interface ProcessOptions {
  readonly port: number
  /** Null keeps nothing. */
  readonly stateFile: string | null
  /** 0 when slots advance by `dev_advance` only. */
  readonly slotMs: number
}

const { port, stateFile, slotMs }: ProcessOptions = JSON.parse(process.argv[2] ?? '{}')
const genesisHash = getBase58Decoder().decode(randomBytes(32))
const state = stateFile === null ? null : new SolanaState(stateFile, genesisHash)
const chain = state?.chain ?? SolanaChain.create(genesisHash)
const controls = newControls()
const server = await serveRpc({ ...rpcMethods(chain, controls), ...controlMethods(chain, controls) }, port)
const timer = slotMs > 0 ? setInterval(endSlot, slotMs) : undefined

function endSlot(): void {
  state?.saveWhenDue()
  chain.advance()
}

async function stop(): Promise<void> {
  clearInterval(timer)
  await server.close()
  state?.close()
  process.exit(0)
}

process.once('disconnect', stop)
process.on('message', (message) => {
  if (message === 'stop') void stop()
})
// The terminal sends these to the whole group; the process that started this one decides when to stop.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => void stop())
process.send?.({ url: server.url, genesisHash: chain.slots.genesisHash })
