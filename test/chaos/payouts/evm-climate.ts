// What can befall a wallet on the real anvil, seen through two nodes of which each may fail and lie.
import { type Hex, parseEther, parseGwei } from 'viem'
import { barOnTestToken } from '../../../chain/dev/evm-token.js'
import { Endpoints } from '../../../chain/evm/endpoints.js'
import { type EvmWorld, evmWorld, newAddress } from '../../support/evm.js'
import { evmBench } from '../../support/payout-evm.js'
import type { Scope } from '../scope.js'
import { type Climate, DEPTH_MAX, type Life } from './life.js'

const TIMEOUT_MS = 1_000
/** At the price that transactions of others are signed with. */
const FEES_OF_FOREIGN = parseEther('1')
const STOLEN_MAX = 1_000_000
const CALM_BASE_FEE = parseGwei('1')
const said = [
  'already known',
  'nonce too low',
  'replacement transaction underpriced',
  'insufficient funds for gas * price + value',
  'internal error',
] as const
const lies: readonly (readonly [method: string, lie: (result: unknown) => unknown])[] = [
  ['eth_getTransactionReceipt', () => null],
  ['eth_getTransactionByHash', () => null],
  ['eth_getTransactionCount', () => '0x0'],
  ['eth_call', () => `0x${'7'.padStart(64, '0')}`],
  ['eth_blockNumber', () => '0x1'],
  ['eth_blockNumber', (result) => `0x${(Number(result) + 1_000).toString(16)}`],
]

export async function evmClimate(scope: Scope): Promise<Climate> {
  const evm = await evmWorld(scope, { nodes: 2, timeoutMs: TIMEOUT_MS })
  const { client, chainId } = evm.anvil
  const { nodes } = evm
  const freshEndpoints = () =>
    new Endpoints({ urls: nodes.map(({ url }) => url), chainId, confirmations: 10, timeoutMs: TIMEOUT_MS })
  /** Now or before. */
  const barred = new Set<string>()
  let { bench, foreign } = evmBench(evm, freshEndpoints())

  const hazards: Climate['hazards'] = {
    'fees spike': async ({ random }) => {
      await client.setNextBlockBaseFeePerGas({ baseFeePerGas: parseGwei(String(random.int(5, 90))) })
      await client.mine({ blocks: 1 })
    },
    'dropped by the node': async (life) => {
      for (const { state, signed } of await life.details()) {
        if (state === 'signed' && life.random.chance(0.7)) await drop(signed)
      }
    },
    'a node lies': async ({ random, later }) => {
      const node = random.pick(nodes)
      const [method, lie] = random.pick(lies)
      node.lie(method, lie)
      later(async () => node.mend())
    },
    'a node is late': async ({ random, later }) => {
      const node = random.pick(nodes)
      node.delay(random.pick([50, 200, TIMEOUT_MS + 200]))
      later(async () => node.mend())
    },
    'a node is down': async ({ random, later }) => {
      const node = random.pick(nodes)
      node.setDown(true)
      later(async () => node.mend())
    },
    'both nodes are down': async ({ later }) => {
      for (const node of nodes) node.setDown(true)
      later(async () => nodes.forEach((node) => void node.mend()))
    },
    'answers to sending are lost': async ({ random, later }) => {
      for (const node of nodes) node.dropAnswers('eth_sendRawTransaction', 'cut', random.int(1, 3))
      later(async () => nodes.forEach((node) => void node.mend()))
    },
    'nodes refuse what they are sent': async ({ random, later }) => {
      let times = random.int(1, 4)
      const message = random.pick(said)
      for (const node of nodes) node.judge('eth_sendRawTransaction', () => (times-- > 0 ? message : undefined))
      later(async () => nodes.forEach((node) => void node.mend()))
    },
    'a payee is barred beforehand': async (life) => {
      const to = newAddress()
      await bar(life, to)
      await life.owe(to)
    },
    'a payee is barred on the way': async (life) => {
      for (const { state, to, signed } of await life.details()) {
        if (state !== 'signed' || to === null || (await areMined(signed))) continue
        // Out of the way of the block that bars the payee.
        await drop(signed)
        await bar(life, to)
      }
    },
    'no gas': async ({ world, later }) => {
      await client.setBalance({ address: world.chain.address as Hex, value: 0n })
      later(() => world.bench.giveGas(world.chain.address))
    },
  }

  async function drop(signed: readonly { readonly hash: string }[]): Promise<void> {
    for (const { hash } of signed) await client.dropTransaction({ hash: hash as Hex })
  }

  async function areMined(signed: readonly { readonly hash: string }[]): Promise<boolean> {
    const receipts = signed.map(({ hash }) => client.getTransactionReceipt({ hash: hash as Hex }).catch(() => null))
    return (await Promise.all(receipts)).some((receipt) => receipt !== null)
  }

  async function bar(life: Life, to: string): Promise<void> {
    barred.add(to)
    await barOnTestToken(client, to as Hex, true)
    life.refused.add(to)
    if (life.random.chance(0.6)) life.later(() => lift(life, to))
  }

  async function lift({ refused }: Life, to: string): Promise<void> {
    await barOnTestToken(client, to as Hex, false)
    refused.delete(to)
  }

  return {
    name: 'evm',
    bench() {
      ;({ bench, foreign } = evmBench(evm, freshEndpoints()))
      return bench
    },
    hazards,
    fill: (depth) => client.mine({ blocks: depth }),
    async reorg(life, wanted, withConflict) {
      const found = withConflict ? await conflictOf(evm, life, wanted, foreign) : null
      const depth = found?.depth ?? wanted
      const blocks = found === null ? [] : [[found.raw, 0]]
      await client.request({ method: 'anvil_reorg', params: [depth, blocks] } as never)
      return { depth, conflict: found?.name ?? null }
    },
    takenBy: evm.balanceOf,
    async mend({ world, owed, refused }) {
      for (const node of nodes) node.mend()
      await client.setNextBlockBaseFeePerGas({ baseFeePerGas: CALM_BASE_FEE })
      await world.bench.giveGas(world.chain.address)
      // A reorganisation may have undone what was said last.
      for (const { to } of owed) {
        if (barred.has(to)) await barOnTestToken(client, to as Hex, refused.has(to))
      }
    },
  }
}

interface Conflict {
  readonly depth: number
  readonly raw: Hex
  readonly name: string
}

/** A transaction for the nonce that comes first in the blocks that are replaced; null when that is never one of ours. */
async function conflictOf(
  { anvil: { client } }: EvmWorld,
  life: Life,
  wanted: number,
  foreign: ReturnType<typeof evmBench>['foreign'],
): Promise<Conflict | null> {
  const { random, world, thieves } = life
  const address = world.chain.address as Hex
  if ((await client.getBalance({ address })) < FEES_OF_FOREIGN) return null
  const newest = Number(await client.getBlockNumber())
  const out = (await life.details()).filter(({ state }) => state === 'signed' || state === 'mined')
  for (const depth of new Set([wanted, ...Array.from({ length: DEPTH_MAX }, (_, index) => index + 1)])) {
    const nonce = await client.getTransactionCount({ address, blockNumber: BigInt(newest - depth) })
    const ours = out.find((each) => each.nonce === nonce)
    if (ours === undefined) continue
    const [oldest, ...later] = ours.signed
    if (oldest !== undefined && later.length > 0) {
      return { depth, raw: oldest.raw as Hex, name: 'bytes of ours that we had replaced' }
    }
    life.isRobbed = true
    if (random.chance(0.5)) {
      return { depth, raw: await foreign(address, nonce, newAddress(), 0n), name: 'another transaction of the wallet' }
    }
    const thief = newAddress()
    thieves.push(thief)
    const raw = await foreign(address, nonce, thief, BigInt(random.int(1, STOLEN_MAX)))
    return { depth, raw, name: 'a theft' }
  }
  return null
}
