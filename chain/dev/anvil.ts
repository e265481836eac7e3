/**
 * A local EVM chain: the real anvil, as a process of ours.
 *
 * A1 It does not outlive this process, however this process ends: it is killed on exit, and where there is a shell a
 *    small watch ends it when our end of a pipe closes, which a kill -9 does too.
 * A2 Two never write the same state file: one that is left over from before is ended first.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createTestClient, defineChain, http, publicActions, walletActions } from 'viem'
import { DomainError } from '../../engine/errors.js'
import { type Miner, mineWhenNeeded } from './evm-miner.js'

export const LOCAL_CHAIN_ID = 31_337
const READY_WITHIN_MS = 15_000
const STOP_WITHIN_MS = 10_000
const POLL_INTERVAL_MS = 10
const STATE_INTERVAL_S = 5
const OUTPUT_KEPT_CHARS = 4_000
/** A restored chain has no state of its older blocks; after this many more it can be asked about all that matter. */
const BLOCKS_AFTER_RESTORE = 32

export interface AnvilOptions {
  /** 0, the default: any free one. */
  readonly port?: number
  readonly chainId?: number
  /**
   * When blocks are made: `each` transaction its own (the default), only on `demand` of the client, every `seconds`, or
   * every `intervalMs` while there is something to confirm, so that an idle chain does not grow.
   */
  readonly blocks?: 'each' | 'demand' | { readonly seconds: number } | { readonly whileBusyEveryMs: number }
  /** Where the chain is kept, so that it survives a restart. Without one it begins anew each time. */
  readonly stateFile?: string
}

export interface Anvil {
  readonly url: string
  readonly chainId: number
  readonly pid: number
  readonly client: AnvilClient
  /** Settles when it has ended, with what it said last: of its own accord when nobody called `stop`. */
  readonly exited: Promise<string>
  /** Writes the state file and ends it. */
  stop(): Promise<void>
}

export type AnvilClient = ReturnType<typeof anvilClient>

/** A viem client for the local chain: `anvil_*` methods, reading, and sending with local accounts. */
export function anvilClient(url: string, chainId: number) {
  const chain = defineChain({
    id: chainId,
    name: 'local',
    nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
    rpcUrls: { default: { http: [url] } },
  })
  return createTestClient({ mode: 'anvil', chain, transport: http(url), cacheTime: 0, pollingInterval: 20 })
    .extend(publicActions)
    .extend(walletActions)
}

/** Starts anvil; rejects with what it said when it does not become ready. */
export async function startAnvil(options: AnvilOptions = {}): Promise<Anvil> {
  const { chainId = LOCAL_CHAIN_ID, stateFile, blocks = 'each' } = options
  const restored = stateFile !== undefined && existsSync(stateFile)
  if (stateFile !== undefined) {
    await mkdir(dirname(stateFile), { recursive: true })
    await endLeftover(stateFile) // A2
  }
  // In a group of its own: an interrupt from the keyboard is for the server, which needs its chain while it stops.
  const child = spawn(anvilBinary(), anvilArguments(options, chainId), {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: process.platform !== 'win32',
  })
  const exited = watchOver(child) // A1
  let miner: Miner | undefined
  const stop = async () => {
    await miner?.stop()
    child.kill('SIGTERM')
    await Promise.race([exited, sleep(STOP_WITHIN_MS, undefined, { ref: false })])
    child.kill('SIGKILL')
    await exited
    if (stateFile !== undefined) await rm(pidFile(stateFile), { force: true })
  }
  try {
    const url = await ready(child, exited, stateFile)
    const pid = child.pid ?? 0
    if (stateFile !== undefined) await writeFile(pidFile(stateFile), String(pid))
    const client = anvilClient(url, chainId)
    if (restored) await client.mine({ blocks: BLOCKS_AFTER_RESTORE })
    if (typeof blocks === 'object' && 'whileBusyEveryMs' in blocks) miner = mineWhenNeeded(url, blocks.whileBusyEveryMs)
    return { url, chainId, pid, client, exited, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

const pidFile = (stateFile: string) => `${stateFile}.pid`

function anvilArguments({ port = 0, blocks = 'each', stateFile }: AnvilOptions, chainId: number): string[] {
  const given = ['--port', String(port), '--chain-id', String(chainId), '--no-cors']
  if (blocks === 'demand' || (typeof blocks === 'object' && 'whileBusyEveryMs' in blocks)) given.push('--no-mining')
  if (typeof blocks === 'object' && 'seconds' in blocks) given.push('--block-time', String(blocks.seconds))
  if (stateFile !== undefined) given.push('--state', stateFile, '--state-interval', String(STATE_INTERVAL_S))
  return given
}

/** The binary itself: the wrapper of the package would stand between us and its signals. */
function anvilBinary(): string {
  const wrapper = createRequire(import.meta.url).resolve('@foundry-rs/anvil/package.json')
  const machine = `${process.platform}-${process.arch === 'x64' ? 'amd64' : process.arch}`
  const name = process.platform === 'win32' ? 'anvil.exe' : 'anvil'
  try {
    return createRequire(wrapper).resolve(`@foundry-rs/anvil-${machine}/bin/${name}`)
  } catch {
    const message = `there is no anvil for ${machine}: set CHAIN_EVM_URL to a chain, or run npm ci without --omit=optional`
    throw new DomainError('unavailable', 'anvil_missing', message)
  }
}

/** Sees to it that the child ends with us. Resolves, when it has ended, with what it said last. */
function watchOver(child: ChildProcess): Promise<string> {
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  const watch =
    process.platform === 'win32' || child.pid === undefined
      ? undefined
      : spawn('sh', ['-c', 'read _; kill "$0"', String(child.pid)], {
          stdio: ['pipe', 'ignore', 'ignore'],
          detached: true,
        })
  watch?.on('error', () => {})
  watch?.stdin?.on('error', () => {})
  watch?.unref()
  let said = ''
  const keep = (chunk: Buffer) => {
    said = (said + chunk).slice(-OUTPUT_KEPT_CHARS)
  }
  child.stdout?.on('data', keep)
  child.stderr?.on('data', keep)
  return new Promise((resolve) => {
    const ended = (last: string) => {
      process.removeListener('exit', kill)
      watch?.kill('SIGKILL')
      resolve(last.trim())
    }
    child.once('error', (error) => ended(error.message))
    child.once('close', (code, signal) => ended(`${said}\n(ended by ${signal ?? `exit code ${code}`})`))
  })
}

async function ready(child: ChildProcess, exited: Promise<string>, stateFile: string | undefined): Promise<string> {
  let said = ''
  const listening = new Promise<string>((resolve) => {
    const look = (chunk: Buffer) => {
      said += chunk
      const found = /Listening on (\S+)/.exec(said)?.[1]
      if (found === undefined) return
      child.stdout?.removeListener('data', look)
      resolve(`http://${found}`)
    }
    child.stdout?.on('data', look)
  })
  const failed = async (): Promise<never> => {
    const last = await Promise.race([exited, sleep(READY_WITHIN_MS, 'it did not get ready in time', { ref: false })])
    const hint = /json file/.test(last) ? ` Its state is damaged: move ${stateFile} away to begin a new chain.` : ''
    throw new DomainError('unavailable', 'anvil_failed', `anvil did not start: ${last}${hint}`)
  }
  return Promise.race([listening, failed()])
}

/** Ends an anvil that still writes this state file: one whose server was killed and whose watch has not come round. */
async function endLeftover(stateFile: string): Promise<void> {
  const pid = Number(await readFile(pidFile(stateFile), 'utf8').catch(() => ''))
  const command = () => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  const isOurs = async () => Number.isInteger(pid) && pid > 0 && (await command()).includes(stateFile)
  const deadline = performance.now() + STOP_WITHIN_MS
  for (let signal: NodeJS.Signals = 'SIGTERM'; await isOurs(); ) {
    if (performance.now() > deadline) signal = 'SIGKILL'
    process.kill(pid, signal)
    await sleep(POLL_INTERVAL_MS)
  }
  await rm(pidFile(stateFile), { force: true })
}
