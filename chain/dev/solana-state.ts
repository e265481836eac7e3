/**
 * Keeps the local Solana chain in two files: its state, replaced as a whole at the end of a slot in which something
 * landed, and its history, a line for each transaction. The state says how much of the history belongs to it; what is
 * beyond that was lost with the process, as a slot that no other node ever saw.
 */
import {
  closeSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { SolanaChain } from './solana-chain.js'
import { type HistoryLine, readHistory, writeLine } from './solana-history.js'
import type { SkippedSlots } from './solana-slots.js'

/** The state is written at least this often, so that slots never go back by more than a restart goes forward. */
const SAVE_EVERY_SLOTS = 32

interface Header {
  readonly version: 1
  readonly genesisHash: string
  readonly slot: number
  readonly skipped: readonly SkippedSlots[]
  readonly firstAvailable: number
  /** Of the history file. */
  readonly historyBytes: number
}

export class SolanaState {
  readonly chain: SolanaChain
  readonly #file: string
  readonly #history: number
  #historyBytes: number
  #unwritten: HistoryLine[] = []
  #savedSlot: number

  /** Continues the chain in `file`, or begins one with that genesis hash. */
  constructor(file: string, newGenesisHash: string) {
    mkdirSync(dirname(file), { recursive: true })
    this.#file = file
    this.#history = openSync(`${file}.history`, existsSync(`${file}.history`) ? 'r+' : 'w+')
    const saved = existsSync(file) ? readState(file) : null
    this.#historyBytes = saved?.header.historyBytes ?? 0
    if (fstatSync(this.#history).size < this.#historyBytes) {
      throw new Error(`${file}.history does not belong to ${file}; remove both to begin a new chain.`)
    }
    ftruncateSync(this.#history, this.#historyBytes)
    this.chain = saved ? continued(file, saved.header, saved.vm) : SolanaChain.create(newGenesisHash)
    this.#savedSlot = this.chain.slots.current
    this.chain.onLanded = (landed) => this.#unwritten.push({ landed })
    this.chain.onDropped = (droppedFrom) => this.#unwritten.push({ droppedFrom })
    this.save()
  }

  /** To be called at the end of every slot. */
  saveWhenDue(): void {
    const isDue = this.#unwritten.length > 0 || this.chain.slots.current - this.#savedSlot >= SAVE_EVERY_SLOTS
    if (isDue) this.save()
  }

  save(): void {
    for (const line of this.#unwritten) {
      const bytes = Buffer.from(writeLine(line))
      this.#historyBytes += writeSync(this.#history, bytes, 0, bytes.length, this.#historyBytes)
    }
    this.#unwritten = []
    const { slots, firstAvailable, vmBytes } = this.chain
    this.#savedSlot = slots.current
    writeState(
      this.#file,
      {
        version: 1,
        genesisHash: slots.genesisHash,
        slot: slots.current,
        skipped: slots.skipped,
        firstAvailable,
        historyBytes: this.#historyBytes,
      },
      vmBytes,
    )
  }

  close(): void {
    this.save()
    closeSync(this.#history)
  }
}

function continued(file: string, header: Header, vm: Uint8Array): SolanaChain {
  const history = readHistory(readFileSync(`${file}.history`, 'utf8'))
  try {
    return SolanaChain.from({ ...header, vm, history })
  } catch (error) {
    const advice = `remove it and ${file}.history to begin a new chain.`
    throw new Error(`${file} cannot be continued by this version of litesvm (${String(error)}): ${advice}`)
  }
}

/** The length of the header (4 bytes, little-endian), the header as JSON, then the bytes of the VM. */
function writeState(file: string, header: Header, vm: Uint8Array): void {
  const json = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(4)
  length.writeUInt32LE(json.length)
  writeFileSync(`${file}.new`, Buffer.concat([length, json, vm]))
  renameSync(`${file}.new`, file)
}

function readState(file: string): { readonly header: Header; readonly vm: Uint8Array } {
  const bytes = readFileSync(file)
  const start = 4 + bytes.readUInt32LE(0)
  const header: Header = JSON.parse(bytes.toString('utf8', 4, start))
  if (header.version !== 1) {
    throw new Error(`${file} is of a version this program does not read; remove it and its .history to begin anew.`)
  }
  return { header, vm: bytes.subarray(start) }
}
