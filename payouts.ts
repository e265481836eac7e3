/** Payouts as part of the server: the signer, the chain, and for each pool its wallet, pipeline and oversight. */
import { join } from 'node:path'
import type { Logger } from 'pino'
import { type Pool, pools } from './actors/treasury/facts.js'
import { openBatchContracts } from './batch-contracts.js'
import type { BatchPayer } from './chain/batch-payer.js'
import type { ChainWallet } from './chain/chain.js'
import type { LocalChain } from './chain/dev/local-chain.js'
import { startLocalEvm } from './chain/dev/local-evm.js'
import { startLocalSolana } from './chain/dev/local-solana.js'
import { topUp } from './chain/dev/top-up.js'
import { EvmBatchPayer } from './chain/evm/batch.js'
import { Endpoints } from './chain/evm/endpoints.js'
import { openEvmWallet } from './chain/evm/wallet.js'
import { oversightCoreOf, payoutCoreOf } from './chain/payouts/core-port.js'
import { DevelopmentWallets } from './chain/payouts/development-wallets.js'
import { Oversight } from './chain/payouts/oversight.js'
import { Pipeline } from './chain/payouts/pipeline.js'
import { Schedule } from './chain/payouts/schedule.js'
import { Worker } from './chain/payouts/worker.js'
import { localPolicy } from './chain/signer/local-policy.js'
import { type OpenSigner, openKeyRing, openSignerClient, openSignerService, signerPlaces } from './chain/signer/open.js'
import { readPolicy } from './chain/signer/policy.js'
import { tokenAsset } from './chain/solana/asset.js'
import { SolanaWallet } from './chain/solana/wallet.js'
import type { Core } from './core.js'
import { assert } from './engine/assert.js'
import { type MemberPayouts, openMemberPayouts } from './member-payouts.js'
import { walletOf } from './payouts-port.js'
import type { Settings } from './settings.js'
import { lockSigner } from './signer-lock.js'

/** A pool with everything that pays from it. */
export interface PoolWallet {
  readonly pool: Pool
  readonly chain: ChainWallet
  readonly pipeline: Pipeline
  readonly oversight: Oversight
  readonly paying: Worker
  readonly watching: Worker
}

export interface Payouts {
  readonly wallets: ReadonlyMap<Pool, PoolWallet>
  readonly members: MemberPayouts
  readonly signer: OpenSigner
  /** Finishes what is under way for the moment, and stops what it started. */
  stop(): Promise<void>
}

/** What everything here is opened with; `closing` is what to close, in the order it was opened. */
interface Opening {
  readonly settings: Settings
  readonly core: Core
  readonly log: Logger
  readonly closing: (() => Promise<unknown>)[]
}

type Network = { readonly urls: readonly string[]; readonly local: LocalChain | null }

/** What a pool pays through. */
interface Opened {
  readonly chain: ChainWallet
  readonly payer: BatchPayer | null
}

export async function openPayouts(settings: Settings, core: Core, log: Logger): Promise<Payouts> {
  const closing: (() => Promise<unknown>)[] = []
  try {
    return await open({ settings, core, log, closing })
  } catch (error) {
    await closeAll(closing)
    throw error
  }
}

async function closeAll(closing: (() => Promise<unknown>)[]): Promise<void> {
  for (let close = closing.pop(); close !== undefined; close = closing.pop()) await close()
}

async function open(opening: Opening): Promise<Payouts> {
  const { settings, core, log, closing } = opening
  const network = await openNetwork(settings)
  const { local } = network
  if (local !== null) closing.push(() => local.stop())
  const { signer, contracts } = await openSigner(settings, network, log)
  closing.push(() => signer.close())
  const openWallet = walletOpener(settings, network, signer, contracts, log)
  const wallets = new Map<Pool, PoolWallet>()
  for (const pool of pools) {
    const opened = await openWallet(pool)
    await local?.giveGas(opened.chain.address)
    wallets.set(pool, openPool(opening, pool, opened, local))
  }
  const members = openMemberPayouts({
    core,
    chain: walletOf(wallets, 'member').chain,
    ours: new Set([...wallets.values()].map(({ chain }) => chain.address)),
    pollIntervalMs: settings.CHAIN_POLL_INTERVAL_MS,
    log,
  })
  closing.push(() => members.stop())
  if (local !== null) {
    const development = new DevelopmentWallets(core.shard, core.program, settings.PAYOUTS === 'local-solana', log)
    closing.push(() => development.stop())
    await development.start()
  }
  return { wallets, members, signer, stop: () => closeAll(closing) }
}

async function openNetwork(settings: Settings): Promise<Network> {
  const { PAYOUTS, CHAIN_RPC_URLS: urls, DATA_DIR } = settings
  if (PAYOUTS === 'evm' || PAYOUTS === 'solana') return { urls, local: null }
  const start = PAYOUTS === 'local-evm' ? startLocalEvm : startLocalSolana
  const local = await start(join(DATA_DIR, 'chain', `${PAYOUTS}.json`))
  return { urls: [local.url], local }
}

/** The signer, and the batch contracts that it may know of. */
async function openSigner(
  settings: Settings,
  { local }: Network,
  log: Logger,
): Promise<{ signer: OpenSigner; contracts: ReadonlyMap<Pool, string> }> {
  const { CHAIN_BATCH_CONTRACTS: asked } = settings
  if (settings.SIGNER_SOCKET !== undefined) {
    const signer = openSignerClient(settings.SIGNER_SOCKET)
    return { signer, contracts: await openBatchContracts(asked, local, (pool) => signer.address(pool)) }
  }
  const places = signerPlaces(settings)
  if (local === null) {
    assert(settings.SIGNER_POLICY !== undefined, 'settings were checked: a real chain needs a policy')
    const signer = await openSignerService(places, await readPolicy(settings.SIGNER_POLICY), log, lockSigner)
    return { signer, contracts: await openBatchContracts(asked, local, (pool) => signer.address(pool)) }
  }
  const keys = openKeyRing(places, true)
  const keystore = await keys.keystore()
  const kind = settings.PAYOUTS === 'local-solana' ? 'solana' : 'evm'
  for (const pool of pools) await keystore.ensure(pool, kind)
  const contracts = await openBatchContracts(asked, local, async (pool) => (await keystore.ensure(pool, kind)).address)
  const signer = await openSignerService(places, localPolicy(pools, local, contracts), log, lockSigner, keys)
  return { signer, contracts }
}

function walletOpener(
  settings: Settings,
  { urls, local }: Network,
  signer: OpenSigner,
  contracts: ReadonlyMap<Pool, string>,
  log: Logger,
) {
  const onDisagreement = tellOnce(log)
  const isLocal = local !== null
  const token = local?.asset ?? { symbol: 'USDT', decimals: 6, address: settings.CHAIN_TOKEN ?? '' }
  if (settings.PAYOUTS === 'solana' || settings.PAYOUTS === 'local-solana') {
    const chain = local?.chain ?? `solana:${settings.CHAIN_ID}`
    const options = { signer, chain, urls, asset: tokenAsset(token), isDevelopmentKey: isLocal, onDisagreement }
    return async (pool: Pool): Promise<Opened> => {
      return { chain: await SolanaWallet.connect({ wallet: pool, ...options }), payer: null }
    }
  }
  const chainId = Number(local?.chain.split(':')[1] ?? settings.CHAIN_ID)
  const endpoints = new Endpoints({ urls, chainId, confirmations: settings.CHAIN_CONFIRMATIONS, onDisagreement })
  return async (pool: Pool): Promise<Opened> => {
    const chain = await openEvmWallet({ endpoints, signer, name: pool, token })
    const contract = contracts.get(pool)
    if (contract === undefined) return { chain, payer: null }
    const { address } = chain
    const options = { endpoints, signer, name: pool, address, token: token.address, contract }
    return { chain, payer: new EvmBatchPayer(options) }
  }
}

/** The nodes are asked again and again, and would say the same each time. */
function tellOnce(log: Logger) {
  let told = ''
  return (disagreement: { readonly message: string }) => {
    if (disagreement.message !== told) log.error(disagreement, 'nodes of the chain disagree')
    told = disagreement.message
  }
}

function openPool(
  { settings, core, log, closing }: Opening,
  pool: Pool,
  { chain, payer }: Opened,
  local: LocalChain | null,
) {
  const { shard, program, environment } = core
  const rules = program.rules.payouts
  const payoutCore = payoutCoreOf(shard, program)
  const pollIntervalMs = settings.CHAIN_POLL_INTERVAL_MS
  const pipeline = new Pipeline({
    core: payoutCore,
    chain,
    wallet: pool,
    limits: {
      stuckAfterMs: settings.CHAIN_STUCK_AFTER_MS,
      signaturesMax: rules.signaturesMax,
      inFlightMax: rules.inFlightMax,
    },
    ...(payer === null ? {} : { batches: { payer, atLeast: rules.batchAtLeast } }),
    nowMs: () => environment.now(),
    log,
  })
  const oversight = new Oversight({ core: oversightCoreOf(shard, program), chain, wallet: pool })
  const schedule = new Schedule(oversight, () => environment.now())
  const mint = local === null ? null : mintFor(core, pool, chain, local)
  let isBound = false
  const paying = new Worker({
    name: `pay ${pool}`,
    work: async () => {
      if (!isBound) await pipeline.bind()
      isBound = true
      return (await pipeline.round()) > 0
    },
    busyIntervalMs: pollIntervalMs,
    idleIntervalMs: 10 * pollIntervalMs,
    log,
  })
  const watching = new Worker({
    name: `watch ${pool}`,
    work: async () => {
      if (!isBound) return true
      await mint?.()
      return schedule.work()
    },
    busyIntervalMs: pollIntervalMs,
    idleIntervalMs: 4 * pollIntervalMs,
    log,
  })
  payoutCore.onQueued(() => paying.wake())
  closing.push(
    () => paying.stop(),
    () => watching.stop(),
  )
  paying.start()
  watching.start()
  return { pool, chain, pipeline, oversight, paying, watching }
}

/** On a local chain what was recorded as paid in is minted. */
function mintFor({ shard, program }: Core, pool: Pool, chain: ChainWallet, local: LocalChain): () => Promise<void> {
  const ledger = async () => {
    const state = (await shard.query(program.queries.walletStates, {})).find(({ wallet }) => wallet === pool)
    assert(state !== undefined, 'every pool has its wallet')
    return state
  }
  return topUp(ledger, (amount) => local.give(chain.address, amount))
}
