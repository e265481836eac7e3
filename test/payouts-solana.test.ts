// Hunts, on the real Solana VM: a payout that is paid twice or never, a hold nobody releases, money nobody explains.
import t from 'tap'
import { type ChainWallet, SignerRefused } from '../chain/chain.js'
import { solanaBench } from './support/payout-solana.js'
import { instead, mustAddUp, open, oversightHazards, signerHazards } from './support/payout-suite.js'
import { lieAbout } from './support/solana.js'

t.setTimeout(600_000)
const { bench, faults, chain, proxies, mint } = await solanaBench(t)
/** Past the life of every blockhash, for good. */
const expire = () => chain.advance(150 + 32 + 20)

signerHazards(t, bench, faults)
oversightHazards(t, bench, 50)

t.test('S2 dropped until its blockhash has expired: signed again, paid once', async (t) => {
  const world = await open(t, bench)
  await chain.dropNext(2)
  const payouts = [await world.owe(3n), await world.owe(5n), await world.owe(7n)]
  await world.round()
  await expire()
  world.loyalty.clock.advance(90_000)
  await world.settle()
  t.equal(await world.states(...payouts), 'settled settled settled')
  const signatures = await Promise.all(
    payouts.map(async ({ payoutId }) => (await world.detail(payoutId)).signed.length),
  )
  t.same(
    signatures.toSorted((a, b) => a - b),
    [1, 2, 2],
  )
  await mustAddUp(t, world)
})

t.test(
  'S2 what was mined is dropped by a fork and expires before anybody looks: signed again, paid once',
  async (t) => {
    const world = await open(t, bench)
    const payouts = [await world.owe(3n), await world.owe(5n)]
    await world.round()
    await chain.advance(2)
    await world.round()
    t.equal(await world.states(...payouts), 'mined mined')
    await chain.rollback(3)
    await expire()
    world.loyalty.clock.advance(90_000)
    await world.settle()
    t.equal(await world.states(...payouts), 'settled settled')
    await mustAddUp(t, world)
  },
)

t.test('one that is expired and that the signer never signs again holds up nobody else', async (t) => {
  let refused = ''
  const disguise = (wallet: ChainWallet) =>
    instead(wallet, 'replace', async (transfer) => {
      if (transfer.payoutId !== refused) return wallet.replace(transfer)
      throw new SignerRefused('payee_unusable', 'it is a token account by now', refused)
    })
  const world = await open(t, bench, { disguise })
  await chain.dropNext(1)
  const lost = await world.owe(3n)
  refused = lost.payoutId
  await world.round()
  await expire()
  world.loyalty.clock.advance(90_000)
  const next = await world.owe(5n)
  await world.settle()
  t.equal(await world.states(lost, next), 'review settled')
  await mustAddUp(t, world, 1)
  await world.approve(lost.payoutId)
  await world.settle()
  t.match(await world.detail(lost.payoutId), { state: 'settled', attempt: 2 })
  await mustAddUp(t, world)
})

t.test('one that was signed too often without being heard is held for a person, and the rest flows', async (t) => {
  let unheard = ''
  const disguise = (wallet: ChainWallet) =>
    instead(wallet, 'sign', async (transfers) => {
      if (!transfers.some(({ payoutId }) => payoutId === unheard)) return wallet.sign(transfers)
      throw new SignerRefused('too_many_signatures', 'signed as often as the policy allows', unheard, [unheard])
    })
  const world = await open(t, bench, { disguise })
  const held = await world.owe(3n)
  unheard = held.payoutId
  const next = await world.owe(5n)
  await world.settle()
  t.equal(await world.states(held, next), 'review settled')
  await mustAddUp(t, world, 1)
})

t.test('S2 a payee that becomes a mint: refused, held, and the rest flows', async (t) => {
  const world = await open(t, bench)
  const payouts = [await world.owe(3n), await world.owe(5n, mint), await world.owe(7n)]
  await world.settle()
  t.equal(await world.states(...payouts), 'settled review settled')
  await mustAddUp(t, world, 1)
})

t.test('S3 forks that drop 1 to 31 blocks: sent again, paid once', async (t) => {
  const world = await open(t, bench)
  for (const depth of [1, 2, 3, 4, 5, 6, 7, 8, 9, 20, 31]) {
    const payout = await world.owe(BigInt(depth))
    await world.round()
    await chain.advance(Math.min(depth - 1, 24))
    await world.round()
    await chain.rollback(Math.min(depth, 31))
    await world.round()
    await world.settle()
    t.equal(await world.states(payout), 'settled', `${depth} blocks`)
  }
  await mustAddUp(t, world)
})

t.test('S3 one of two nodes lies: nothing is settled on its word, and all once it tells the truth', async (t) => {
  const two = await solanaBench(t, 2)
  const liar = two.proxies[1]
  const deny = (result: unknown) => {
    const { context, value } = result as { context: unknown; value: unknown[] }
    return { context, value: value.map(() => null) }
  }
  const world = await open(t, two.bench)
  const payout = await world.owe(3n)
  await world.round()
  liar?.faults.set('getSignatureStatuses', lieAbout(deny))
  for (let round = 0; round < 25; round++) {
    await world.pass()
    await world.round()
  }
  t.match(await world.states(payout), /signed|mined/)
  t.equal((await world.detail(payout.payoutId)).signed.length, 1, 'never signed again')
  liar?.faults.clear()
  await world.settle()
  t.equal(await world.states(payout), 'settled')
  await mustAddUp(t, world)
})

t.test('no node remembers: nothing is said to be lost, and nothing is signed again', async (t) => {
  const world = await open(t, bench)
  const payout = await world.owe(3n)
  await world.round()
  await chain.advance(40)
  for (const { faults } of proxies) {
    faults.set(
      'getSignatureStatuses',
      lieAbout((result) => ({ ...(result as object), value: [null] })),
    )
  }
  await chain.forgetHistory()
  await expire()
  await chain.forgetHistory()
  world.loyalty.clock.advance(90_000)
  for (let round = 0; round < 4; round++) await world.round()
  t.match(await world.detail(payout.payoutId), { signed: { length: 1 } })
  t.equal(await bench.balanceOf(payout.to), 3n)
})
