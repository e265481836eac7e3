/** The chain as the gateway sees it, and as metrics and readiness do. */
import type { Logger } from 'pino'
import { type Pool, pools } from './actors/treasury/facts.js'
import type { walletPaused, walletResumed } from './actors/wallet/facts.js'
import type { Core } from './core.js'
import type { CoreMetrics } from './core-metrics.js'
import { assert } from './engine/assert.js'
import { DomainError } from './engine/errors.js'
import type { PayoutsPort, PipelineHealth } from './gateway/payouts-port.js'
import type { Payouts, PoolWallet } from './payouts.js'

type WalletPaused = ReturnType<typeof walletPaused.make>
type WalletResumed = ReturnType<typeof walletResumed.make>

/** A node that is being restarted fails a round or two; from here on somebody should look. */
const FAILURES_TO_WARN = 3
/** The signer may be another process: its figures are asked for this often. */
const SIGNER_STATUS_EVERY_MS = 5_000

/** Every pool has its wallet. */
export function walletOf(wallets: ReadonlyMap<Pool, PoolWallet>, pool: Pool): PoolWallet {
  const found = wallets.get(pool)
  assert(found !== undefined, `the pool ${pool} has a wallet`)
  return found
}

export function payoutsPort({ wallets }: Payouts, log: Logger): PayoutsPort {
  const ofPool = (pool: Pool): PoolWallet => walletOf(wallets, pool)
  const all = [...wallets.values()]
  const { chain } = ofPool('member')
  /** Connection errors say nothing to a caller, and much to an operator. */
  const asked = async <T>(answer: Promise<T>): Promise<T> => {
    try {
      return await answer
    } catch (error) {
      if (error instanceof DomainError) throw error
      log.warn({ err: error }, 'the chain could not be asked')
      throw new DomainError('unavailable', 'chain_unavailable', 'No node of the chain answers. Try again later.')
    }
  }
  return {
    chain: chain.chain,
    asset: chain.asset,
    payee: (pool, text) => ofPool(pool).chain.parseAddress(text),
    memberAddress: (text) =>
      all.every((each) => each.chain.parseAddress(text) !== null) ? chain.parseAddress(text) : null,
    isSignedBy: async (address, text, signature) => {
      // What knows chains takes longer to load than all the rest; a server without payouts never does.
      const { isSignedBy } = await import('./chain/payouts/ownership.js')
      return isSignedBy(chain.chain, address, text, signature)
    },
    balanceOf: (address) => asked(chain.balanceOf(address)),
    holdings: async (pool) => {
      const { block, asset, gas } = await asked(ofPool(pool).chain.holdings())
      return { height: block.height, asset, gas }
    },
    unsigned: (from, to, amount) => asked(chain.unsigned(from, to, amount)),
    parseHash: (text) => chain.parseHash(text),
    readSigned: (raw) => asked(chain.readSigned(raw)),
    send: async (raw) => {
      const [outcome] = await asked(chain.broadcast([{ raw }]))
      // A nonce that is used may be used by this very transaction: the tracker finds out.
      return outcome?.kind === 'refused' && outcome.code !== 'nonce_used' ? outcome.message : null
    },
    reconcile: (pool) => asked(ofPool(pool).oversight.reconcile('demand')),
    nodes: () => chain.nodes(),
    pipelines: () => all.map(healthOf),
  }
}

function healthOf({ pool, pipeline, paying, watching }: PoolWallet): PipelineHealth {
  const failuresInARow = Math.max(paying.failuresInARow, watching.failuresInARow)
  return { pool, failuresInARow, lastError: failuresInARow === 0 ? null : pipeline.lastError }
}

/** Why wallets are paused, by pool, kept up to date. */
export async function watchPaused({ shard, program }: Core): Promise<ReadonlyMap<string, string>> {
  const paused = new Map<string, string>()
  shard.subscribe(({ facts }) => {
    for (const fact of facts as readonly (WalletPaused | WalletResumed)[]) {
      if (fact.type === 'wallet.paused') paused.set(fact.wallet, fact.because)
      else if (fact.type === 'wallet.resumed') paused.delete(fact.wallet)
    }
  })
  for (const { wallet, pausedBecause } of await shard.query(program.queries.walletStates, {})) {
    if (pausedBecause !== null) paused.set(wallet, pausedBecause)
  }
  return paused
}

/** What of payouts somebody should look at although requests are served. */
export function payoutWarnings(payouts: Payouts | null, paused: ReadonlyMap<string, string>): string[] {
  const warnings = [...paused].map(([pool, because]) => `The wallet of the pool ${pool} is paused: ${because}.`)
  for (const wallet of payouts?.wallets.values() ?? []) {
    const { pool, failuresInARow, lastError } = healthOf(wallet)
    if (failuresInARow < FAILURES_TO_WARN) continue
    warnings.push(`Payouts of the pool ${pool} failed ${failuresInARow} times in a row: ${lastError ?? 'see the log'}.`)
  }
  const { tracking, watching } = payouts?.members ?? {}
  const failures = Math.max(tracking?.failuresInARow ?? 0, watching?.failuresInARow ?? 0)
  if (failures >= FAILURES_TO_WARN)
    warnings.push(`Members' wallets could not be followed ${failures} times in a row: see the log.`)
  return warnings
}

/** Shows pipelines, members' withdrawals and the signer in `/metrics`; returns how to stop asking the signer. */
export function exposePayouts(metrics: CoreMetrics, { wallets, members, signer }: Payouts, log: Logger): () => void {
  for (const pool of pools) {
    const wallet = wallets.get(pool)
    if (wallet === undefined) continue
    const { pipeline, paying, watching } = wallet
    metrics.gauges(`payouts_${pool}`, `Payouts of the pool ${pool}`, () => ({
      ...pipeline.counts,
      failures_in_a_row: paying.failuresInARow,
      watch_failures_in_a_row: watching.failuresInARow,
    }))
  }
  const { tracker, tracking, watching, open } = members
  metrics.gauges('withdrawals', "Members' withdrawals", () => ({
    open: open.size,
    ...tracker.counts,
    failures_in_a_row: tracking.failuresInARow,
    deposit_failures_in_a_row: watching.failuresInARow,
  }))
  let status = { signed: 0, refused: 0, queue: 0, queue_max: 0, payouts: 0, payouts_max: 0, log_bytes: 0 }
  let flags = { is_stopped: 0, is_reachable: 0 }
  const ask = async () => {
    try {
      const { refused, queueMax, payoutsMax, logBytes, isStopped, signed, queue, payouts } = await signer.status()
      const refusals = Object.values(refused).reduce((sum, count) => sum + count, 0)
      const sizes = { queue, queue_max: queueMax, payouts, payouts_max: payoutsMax, log_bytes: logBytes }
      status = { signed, refused: refusals, ...sizes }
      flags = { is_stopped: isStopped ? 1 : 0, is_reachable: 1 }
    } catch (error) {
      if (flags.is_reachable === 1) log.warn({ err: error }, 'the signer does not answer')
      flags = { ...flags, is_reachable: 0 }
    }
  }
  void ask()
  const timer = setInterval(() => void ask(), SIGNER_STATUS_EVERY_MS)
  timer.unref()
  metrics.gauges('signer', 'The signer', () => ({ ...status, ...flags }))
  return () => clearInterval(timer)
}
