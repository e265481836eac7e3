/**
 * A local Solana chain for development and tests: the real VM (litesvm) behind JSON-RPC, in a process of its own. Its
 * work would otherwise hold up the engine's thread, and a crash of native code would take the engine with it. Slots
 * advance every 400 ms, the last 150 blockhashes are valid, and a transaction is final after 32 blocks.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import type { ProcessOptions } from './solana-main.js'

const START_PATIENCE_MS = 30_000
const STOP_PATIENCE_MS = 5_000
const ERROR_TEXT_MAX = 4_000

export interface SolanaDevOptions {
  /** 0, the default, takes a free one. */
  readonly port?: number
  /** Where the chain is kept between starts; without it, it ends with its process. A second file is kept beside it. */
  readonly stateFile?: string
  /** 400 by default; with 0 the chain moves by `advance` only. */
  readonly slotMs?: number
}

export interface SolanaDev {
  readonly url: string
  readonly genesisHash: string
  readonly pid: number
  /** Saves and ends. */
  stop(): Promise<void>
  /** Ends at once, as by a crash: what landed in the slot that is open is lost. */
  kill(): Promise<void>
  /** The mint of that name, made when it is missing; returns its address. */
  createMint(name: string, decimals?: number): Promise<string>
  /** New tokens for an owner. */
  mintTo(mint: string, owner: string, amount: bigint): Promise<string>
  airdrop(owner: string, lamports: bigint): Promise<string>
  /** Ends slots; returns the one that is open then. */
  advance(slots?: number): Promise<number>
  /** Drops the newest blocks, 31 at most, and goes on along another fork. */
  rollback(blocks: number): Promise<number>
  /** Loses the next transactions after having accepted them. */
  dropNext(transactions: number): Promise<void>
  /** Whether no transaction is found any more. */
  hideHistory(isHidden: boolean): Promise<void>
  /** Forgets all that is final, as a node that keeps little history. */
  forgetHistory(): Promise<void>
  /** In micro-lamports for a compute unit. */
  setPrioritizationFee(microLamports: number): Promise<void>
}

/** Starts a chain, or continues the one in `stateFile`. Throws with what the process said when it does not start. */
export async function startSolanaDev(options: SolanaDevOptions = {}): Promise<SolanaDev> {
  const settings: ProcessOptions = {
    port: options.port ?? 0,
    stateFile: options.stateFile ?? null,
    slotMs: options.slotMs ?? 400,
  }
  const child = fork(new URL('./solana-main.js', import.meta.url), [JSON.stringify(settings)], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    execArgv: ['--enable-source-maps'],
  })
  const { url, genesisHash } = await ready(child)
  const call = <Result>(method: string, ...params: unknown[]) => callRpc<Result>(url, method, params)
  const exited = once(child, 'exit')
  const isRunning = () => child.exitCode === null && child.signalCode === null
  return {
    url,
    genesisHash,
    pid: child.pid ?? 0,
    async stop() {
      if (!isRunning()) return
      const late = setTimeout(() => child.kill('SIGKILL'), STOP_PATIENCE_MS)
      child.send('stop')
      await exited
      clearTimeout(late)
    },
    async kill() {
      child.kill('SIGKILL')
      await exited
    },
    createMint: (name, decimals = 6) => call('dev_createMint', name, decimals),
    mintTo: (mint, owner, amount) => call('dev_mintTo', mint, owner, amount.toString()),
    airdrop: (owner, lamports) => call('requestAirdrop', owner, Number(lamports)),
    advance: (slots = 1) => call('dev_advance', slots),
    rollback: (blocks) => call('dev_rollback', blocks),
    dropNext: (transactions) => call('dev_dropNext', transactions),
    hideHistory: (isHidden) => call('dev_hideHistory', isHidden),
    forgetHistory: () => call('dev_forgetHistory'),
    setPrioritizationFee: (microLamports) => call('dev_setPrioritizationFee', microLamports),
  }
}

function ready(child: ChildProcess): Promise<{ readonly url: string; readonly genesisHash: string }> {
  let said = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-ERROR_TEXT_MAX)
  })
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error(`The local Solana chain did not start within ${START_PATIENCE_MS} ms. ${said}`))
    }, START_PATIENCE_MS)
    child.once('message', (message) => {
      clearTimeout(late)
      resolve(message as { url: string; genesisHash: string })
    })
    child.once('exit', (code) => {
      clearTimeout(late)
      reject(new Error(`The local Solana chain did not start (exit ${code}). ${said}`))
    })
  })
}

async function callRpc<Result>(url: string, method: string, params: readonly unknown[]): Promise<Result> {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
  const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
  const reply = (await response.json()) as { result: Result; error?: { message: string } }
  if (reply.error) throw new Error(`The local Solana chain refused ${method}: ${reply.error.message}`)
  return reply.result
}
