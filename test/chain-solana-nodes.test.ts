// Payouts on Solana through nodes that are down, late, forgetful or lying: nobody is told what is not proven.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Connection } from '@solana/web3.js'
import t from 'tap'
import { startSolanaDev } from '../chain/dev/solana-dev.js'
import { sol, tokenAsset } from '../chain/solana/asset.js'
import { assertNotDevKey, MAINNET_GENESIS_HASH } from '../chain/solana/dev-keys.js'
import { SolanaWallet } from '../chain/solana/wallet.js'
import {
  answerWith,
  expire,
  type Fault,
  type FaultyNode,
  faultyNode,
  finalise,
  hangUp,
  lastFinal,
  lieAbout,
  loseAnswer,
  newest,
  newPayer,
  OneKeySigner,
  SOL,
  seen,
  send,
  sent,
  signed,
  someone,
  tokensOf,
} from './support/solana.js'

const chain = await startSolanaDev({ slotMs: 0 })
t.teardown(() => chain.stop())
const mint = await chain.createMint('USDT')
const connection = new Connection(chain.url, 'confirmed')
const tokensIn = (owner: string) => tokensOf(chain, mint, owner)

/** A node in front of the chain, for one test. */
async function newNode(t: { teardown(close: () => Promise<void>): void }): Promise<FaultyNode> {
  const node = await faultyNode(chain.url)
  t.teardown(() => node.close())
  return node
}

t.test('an answer that is lost after the node took the transaction is unknown, and it is found', async (t) => {
  const node = await newNode(t)
  const { wallet } = await newPayer(chain, { mint, urls: [node.url] })
  const payee = someone()
  const transfer = await signed(wallet, payee, 7n)
  node.faults.set('sendTransaction', loseAnswer)
  t.match(await send(wallet, transfer), { kind: 'unknown' })
  t.match(await seen(wallet, transfer), { kind: 'mined', ok: true })
  node.faults.clear()
  t.same(await send(wallet, transfer), { kind: 'accepted' })
  t.equal(await tokensIn(payee), 7n)
})

t.test('of two nodes that differ about what is final nothing is settled, and somebody is told', async (t) => {
  const [honest, liar] = [await newNode(t), await newNode(t)]
  const { wallet, disagreements } = await newPayer(chain, { mint, urls: [honest.url, liar.url] })
  const transfer = await sent(wallet, someone(), 1n)
  await finalise(chain)
  const nothing = lieAbout((result) => ({ ...(result as object), value: [null] }))
  liar.faults.set('getSignatureStatuses', nothing)
  t.match(await seen(wallet, transfer), { kind: 'unknown', message: /disagree/ }, 'it denies what is final')
  t.match(disagreements, [{ about: 'transaction', message: /Find out which is right/ }])
  await expire(chain)
  t.match(await seen(wallet, transfer), { kind: 'unknown' })
  await t.rejects(wallet.replace(transfer), { code: 'not_lost' })
  liar.faults.clear()
  t.match(await seen(wallet, transfer), { kind: 'final' })

  await chain.dropNext(1)
  const dropped = await sent(wallet, someone(), 1n)
  await finalise(chain)
  const slot = await connection.getSlot('finalized')
  const status = { slot: slot - 5, confirmations: null, err: null, confirmationStatus: 'finalized' }
  liar.faults.set(
    'getSignatureStatuses',
    lieAbout((result) => ({ ...(result as object), value: [status] })),
  )
  t.match(await seen(wallet, dropped), { kind: 'unknown', message: /disagree/ }, 'it invents what is final')
  liar.faults.set(
    'getSignatureStatuses',
    lieAbout((result) => ({ ...(result as object), value: [{ ...status, slot: slot + 1 }] })),
  )
  t.match(await seen(wallet, dropped), { kind: 'mined' }, 'what the other cannot know yet is not final yet')
})

t.test('nothing is lost while one node cannot be asked, does not remember, or still takes it', async (t) => {
  const [one, other] = [await newNode(t), await newNode(t)]
  const { wallet, disagreements } = await newPayer(chain, { mint, urls: [one.url, other.url] })
  const transfer = await signed(wallet, someone(), 1n)
  await expire(chain)
  const hazards: readonly (readonly [RegExp, FaultyNode, string, Fault])[] = [
    [/"missing"/, one, 'getEpochInfo', lieAbout((info) => ({ ...(info as object), blockHeight: 1 }))],
    [
      /machine that is behind/,
      other,
      'getSignatureStatuses',
      lieAbout((result) => ({ ...(result as object), context: { slot: 5 } })),
    ],
    [/history of .* begins/, other, 'getFirstAvailableBlock', answerWith(await connection.getSlot('finalized'))],
    [/valid beyond the height/, one, 'isBlockhashValid', answerWith({ context: { slot: 1 }, value: true })],
    [/not available/, one, 'getSignatureStatuses', async ({ id, jsonrpc }) => ({ jsonrpc, id, error: noHistory })],
    [/did not answer/, other, 'isBlockhashValid', hangUp],
    [/did not answer/, other, '*', hangUp],
  ]
  for (const [says, node, method, fault] of hazards) {
    node.faults.set(method, fault)
    t.match(JSON.stringify(await seen(wallet, transfer)), says)
    await t.rejects(wallet.replace(transfer), { code: 'not_lost' })
    node.faults.clear()
    await recovered(wallet)
  }
  t.match(disagreements, [{ about: 'blockhash' }])
  t.same(await seen(wallet, transfer), { kind: 'lost', because: 'expired' }, 'with all of them well')
})

const noHistory = { code: -32011, message: 'Transaction history is not available from this node' }

/** Until no node is left alone any more for having failed. */
async function recovered(wallet: SolanaWallet): Promise<void> {
  const transfer = await signed(wallet, someone(), 1n)
  while (wallet.health.some(({ usable }) => !usable)) await seen(wallet, transfer)
}

t.test('history that a node forgot proves nothing', async (t) => {
  const own = await startSolanaDev({ slotMs: 0 })
  t.teardown(() => own.stop())
  const { wallet } = await newPayer(own, { mint: null })
  const paid = await sent(wallet, someone(), SOL)
  await expire(own)
  await own.forgetHistory()
  const observation = await seen(wallet, paid)
  t.match(observation, { kind: 'unknown', message: /history of .* begins at/ })
  await t.rejects(wallet.replace(paid), { code: 'not_lost' })
  await t.rejects(wallet.movements([wallet.address], 1, await lastFinal(wallet)), { code: 'chain_unreachable' })
})

t.test('a node that is down is passed over, and one of another chain is never believed', async (t) => {
  const [down, up] = [await newNode(t), await newNode(t)]
  const stranger = await newNode(t)
  stranger.faults.set('getGenesisHash', answerWith(someone()))
  stranger.faults.set(
    'getSignatureStatuses',
    lieAbout((result) => ({ ...(result as object), value: [null] })),
  )
  const { wallet } = await newPayer(chain, { mint, urls: [down.url, up.url, stranger.url], timeoutMs: 300 })
  down.faults.set('*', hangUp)
  const payee = someone()
  const transfer = await sent(wallet, payee, 3n)
  await finalise(chain)
  t.match(await seen(wallet, transfer), { kind: 'final' })
  t.match(wallet.health, [
    { usable: false, lastError: /fetch failed|socket/ },
    { usable: true, syncing: false },
    { usable: false, lastError: /another chain/, height: null },
  ])
  t.notOk(stranger.asked.includes('sendTransaction'))
  t.match(await wallet.holdings(), { asset: 1_000_000_000n - 3n })

  up.faults.set('*', () => new Promise(() => {}))
  t.match(await send(wallet, transfer), { kind: 'unknown' }, 'silence ends with the time limit')
  t.match(await seen(wallet, transfer), { kind: 'unknown', message: /No node answered/ })
  await t.rejects(wallet.holdings(), { code: 'chain_unreachable' })
})

t.test('a node that stands still holds up what is final for a while only, and what is lost for ever', async (t) => {
  const [moving, stuck] = [await newNode(t), await newNode(t)]
  const { wallet } = await newPayer(chain, { mint, urls: [moving.url, stuck.url], stuckAfterMs: 100 })
  const transfer = await sent(wallet, someone(), 1n)
  const unsent = await signed(wallet, someone(), 1n)
  stuck.faults.set('getEpochInfo', answerWith(await connection.getEpochInfo('finalized')))
  stuck.faults.set(
    'getSignatureStatuses',
    lieAbout((result) => ({ ...(result as object), value: [null] })),
  )
  await finalise(chain)
  t.match(await seen(wallet, transfer), { kind: 'mined' })
  let observation = await seen(wallet, transfer)
  while (observation.kind === 'mined') observation = await seen(wallet, transfer)
  t.match(observation, { kind: 'final', ok: true })
  await expire(chain)
  t.same(await seen(wallet, unsent), { kind: 'missing' })
  t.match(wallet.health, [{ syncing: false }, { syncing: true, usable: false }])
})

t.test('movements are not asked of a node that does not have them all yet', async (t) => {
  const node = await newNode(t)
  const { wallet } = await newPayer(chain, { mint, urls: [node.url] })
  const final = await lastFinal(wallet)
  node.faults.set('getSlot', answerWith(final - 1))
  await t.rejects(wallet.movements([wallet.address], final, final), {
    code: 'chain_unreachable',
    message: /final slot/,
  })
  t.notOk(node.asked.includes('getSignaturesForAddress'))
})

t.test(
  'a wallet is opened while no node answers; before it signs, the chain is asked what it should have been',
  async (t) => {
    const node = await newNode(t)
    const { signer } = await newPayer(chain, { mint })
    const open = (decimals: number) => {
      const asset = tokenAsset({ symbol: 'USDT', decimals, address: mint })
      const options = { chain: 'solana:local', urls: [node.url], isDevelopmentKey: true, restMaxMs: 20 }
      return SolanaWallet.connect({ ...options, wallet: 'member', signer, asset })
    }
    node.faults.set('*', hangUp)
    const [right, wrong] = [await open(6), await open(9)]
    await t.rejects(signed(right, someone(), 7n), { code: 'chain_unreachable' })
    node.faults.clear()
    await t.rejects(signed(wrong, someone(), 7n), { code: 'wrong_decimals' }, 'it would pay a thousandth')
    await t.rejects(open(9), { code: 'wrong_decimals' }, 'and a node that answers is believed at once')
    const payee = someone()
    t.match(await send(right, await signed(right, payee, 7n)), { kind: 'accepted' })
    t.equal(await tokensIn(payee), 7n)
  },
)

t.test('a development key never meets mainnet', async (t) => {
  const node = await newNode(t)
  node.faults.set('getGenesisHash', answerWith(MAINNET_GENESIS_HASH))
  const options = { wallet: 'member', chain: 'solana:mainnet', urls: [node.url], asset: sol }
  const signer = new OneKeySigner()
  await t.rejects(SolanaWallet.connect({ ...options, signer, isDevelopmentKey: true }), { code: 'dev_key' })
  t.same(node.asked, ['getGenesisHash'], 'it is asked nothing else')
  t.ok(await SolanaWallet.connect({ ...options, signer, isDevelopmentKey: false }))
  t.throws(() => assertNotDevKey(MAINNET_GENESIS_HASH, someone(), true), { code: 'dev_key' })
})

t.test('a local chain goes on where it was stopped, and after a crash where its last slot ended', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'solana-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const options = { slotMs: 10, stateFile: join(folder, 'chain') }
  let own = await startSolanaDev(options)
  t.teardown(() => own.stop())
  const token = await own.createMint('USDT')
  const { wallet, signer } = await newPayer(own, { mint: token })
  const payee = someone()
  const paid = await sent(wallet, payee, 5n)
  const port = Number(new URL(own.url).port)
  const { genesisHash } = own

  let newestSlot = 0
  for (const end of ['stop', 'kill'] as const) {
    await finalise(own)
    const { final } = await wallet.heights()
    t.ok(final > newestSlot, 'slots never go back')
    newestSlot = final
    await own[end]()
    own = await startSolanaDev({ ...options, port })
    t.equal(own.genesisHash, genesisHash)
    t.equal(await own.createMint('USDT'), token)
    t.match(await seen(wallet, paid), { kind: 'final', hash: newest(paid).hash })
    t.match(await send(wallet, paid), { kind: /accepted|refused/ }, 'its bytes pay no second time')
    t.match(await wallet.holdings(), { asset: 1_000_000_000n - 5n })
  }
  t.equal(signer.requests.length, 1)
})
