// Payouts on Solana while everything goes wrong in any order: each pays exactly once, and nothing said for good is ever
// taken back.
import fc from 'fast-check'
import t from 'tap'
import type { OpenTransfer, SignedTransaction } from '../chain/chain.js'
import { startSolanaDev } from '../chain/dev/solana-dev.js'
import type { SolanaWallet } from '../chain/solana/wallet.js'
import { unreachable } from '../engine/assert.js'
import {
  expire,
  faultyNode,
  finalise,
  hangUp,
  loseAnswer,
  newPayer,
  seen,
  send,
  someone,
  tokensOf,
} from './support/solana.js'

const RUNS = 8
const PAYOUTS = 4
/** Of 33 slots: several lives of a blockhash. */
const ROUNDS_MAX = 50

const chain = await startSolanaDev({ slotMs: 0 })
t.teardown(() => chain.stop())
const mint = await chain.createMint('USDT')
const nodes = [await faultyNode(chain.url), await faultyNode(chain.url)] as const
t.teardown(() => Promise.all(nodes.map((node) => node.close())))

/** One payout and everything that stands in its journal. */
interface Payout {
  transfer: OpenTransfer
  isSettled: boolean
}

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('work' as const), on: fc.nat(PAYOUTS - 1) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('send' as const), on: fc.nat(PAYOUTS - 1) }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('advance' as const), on: fc.constantFrom(1, 2, 20, 60, 119, 210) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('fork' as const), on: fc.integer({ min: 1, max: 31 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('drop' as const), on: fc.constantFrom(1, 2) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('lose answers' as const), on: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('crash while signing' as const), on: fc.nat(PAYOUTS - 1) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('break' as const), on: fc.nat(1) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('mend' as const), on: fc.nat(1) }) },
)

/** What the pipeline does: sign, make durable, send; then whatever the chain says. */
async function work(wallet: SolanaWallet, payout: Payout): Promise<void> {
  const { transfer } = payout
  if (transfer.signed.length === 0) return void (await sign(payout, () => wallet.sign([transfer])))
  const observation = await seen(wallet, transfer)
  const said = `${transfer.payoutId}: ${JSON.stringify(observation, (_key, value) => (typeof value === 'bigint' ? `${value}` : value))}`
  if (payout.isSettled && !['final', 'unknown'].includes(observation.kind)) throw new Error(`was final before: ${said}`)
  switch (observation.kind) {
    case 'final':
      if (!observation.ok) throw new Error(`nothing makes it fail: ${said}`)
      payout.isSettled = true
      return
    case 'lost':
      return void (await sign(payout, async () => [await wallet.replace(transfer)]))
    case 'missing':
      return void (await send(wallet, transfer))
    case 'mined':
    case 'pending':
    case 'unknown':
      return
    default:
      unreachable(observation)
  }
}

/** Keeps what was signed, when anything was: nodes that are down may be in the way. */
async function sign(payout: Payout, signing: () => Promise<readonly SignedTransaction[]>): Promise<void> {
  const signed = await signing().catch(() => [])
  payout.transfer = { ...payout.transfer, signed: [...payout.transfer.signed, ...signed] }
}

type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never

async function play(wallet: SolanaWallet, payouts: readonly Payout[], { do: act, on }: Step): Promise<void> {
  const payout = payouts[on]
  const node = nodes[on === 0 ? 0 : 1]
  switch (act) {
    case 'work':
      return payout && work(wallet, payout)
    case 'send':
      return void (payout && payout.transfer.signed.length > 0 && (await send(wallet, payout.transfer)))
    case 'crash while signing':
      return void (payout && (await wallet.sign([payout.transfer]).catch(() => [])))
    case 'advance':
      return void (await chain.advance(on))
    case 'fork':
      return void (await chain.rollback(on))
    case 'drop':
      return chain.dropNext(on)
    case 'lose answers':
      return void node.faults.set('sendTransaction', loseAnswer)
    case 'break':
      return void node.faults.set('*', hangUp)
    case 'mend':
      return node.faults.clear()
    default:
      unreachable(act)
  }
}

/** With everything well again, until all is settled; then whatever may still lie with a node is sent once more. */
async function finish(wallet: SolanaWallet, payouts: readonly Payout[]): Promise<void> {
  for (const node of nodes) node.faults.clear()
  await chain.dropNext(0)
  for (let round = 0; payouts.some(({ isSettled }) => !isSettled); round += 1) {
    if (round > ROUNDS_MAX) throw new Error('a payout is never settled, though nothing is wrong any more')
    for (const payout of payouts) await work(wallet, payout)
    await finalise(chain)
  }
  for (const { transfer } of payouts) await wallet.broadcast(transfer.signed)
  await expire(chain)
  for (const payout of payouts) {
    await work(wallet, payout)
    const { to, amount, payoutId } = payout.transfer
    const got = await tokensOf(chain, mint, to)
    if (got !== amount) throw new Error(`${payoutId} paid ${got} instead of ${amount}`)
  }
}

t.test(
  `each of ${PAYOUTS} payouts pays once, in ${RUNS} histories of forks, drops and dead nodes`,
  { timeout: 240_000 },
  async (t) => {
    let run = 0
    const replacements: number[] = []
    const history = fc.array(step, { minLength: 20, maxLength: 50, size: 'max' })
    const property = fc.asyncProperty(history, async (steps) => {
      run += 1
      const { wallet } = await newPayer(chain, { mint, urls: nodes.map(({ url }) => url), timeoutMs: 2_000 })
      const payouts: Payout[] = Array.from({ length: PAYOUTS }, (_, index) => ({
        transfer: {
          payoutId: `run-${run}-${index}`,
          to: someone(),
          amount: BigInt(index + 1),
          nonce: null,
          signed: [],
        },
        isSettled: false,
      }))
      for (const step of steps) await play(wallet, payouts, step)
      await finish(wallet, payouts)
      replacements.push(...payouts.map(({ transfer }) => transfer.signed.length - 1))
    })
    await fc.assert(property, { numRuns: RUNS, endOnFailure: true })
    t.comment(`${replacements.filter((count) => count > 0).length} payouts were signed more than once`)
    t.equal(replacements.length, RUNS * PAYOUTS)
  },
)
