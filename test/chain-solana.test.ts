// Payouts on Solana, on the real VM: a payout pays once, whatever becomes of its transactions.
import {
  AuthorityType,
  createSetAuthorityInstruction,
  getAssociatedTokenAddressSync,
  TOKEN_PROGRAM_ID,
} from '@solana/spl-token'
import { ComputeBudgetInstruction, Connection, Keypair, PublicKey, SystemProgram, Transaction } from '@solana/web3.js'
import t from 'tap'
import type { OpenTransfer } from '../chain/chain.js'
import { startSolanaDev } from '../chain/dev/solana-dev.js'
import { parsePolicy } from '../chain/signer/policy.js'
import { readSolanaIntent } from '../chain/signer/solana-intent.js'
import { SolanaWallet } from '../chain/solana/wallet.js'
import {
  expire,
  finalise,
  lastFinal,
  newest,
  newPayer,
  OneKeySigner,
  SOL,
  seen,
  send,
  sent,
  signed,
  signMessage,
  someone,
  tokensOf,
} from './support/solana.js'

const chain = await startSolanaDev({ slotMs: 0 })
t.teardown(() => chain.stop())
const mint = await chain.createMint('USDT')
const connection = new Connection(chain.url, 'confirmed')
const tokensIn = (owner: string) => tokensOf(chain, mint, owner)
const lamportsOf = async (owner: string) => BigInt(await connection.getBalance(new PublicKey(owner), 'processed'))

t.test('a token payout makes the account of the payee, carries its id, and is final after 32 blocks', async (t) => {
  const { wallet } = await newPayer(chain, { mint })
  const payee = someone()
  const transfer = await sent(wallet, payee, 100_000_000n)
  const { hash } = newest(transfer)

  t.match(await seen(wallet, transfer), { kind: 'mined', hash, ok: true })
  t.equal(await tokensIn(payee), 100_000_000n)
  await chain.advance(31)
  t.match(await seen(wallet, transfer), { kind: 'mined' })
  await chain.advance(1)
  const observation = await seen(wallet, transfer)
  t.match(observation, { kind: 'final', hash, ok: true, fee: 5_100n + 2_039_280n }, 'the rent is part of what it cost')
  const found = await connection.getTransaction(hash, { maxSupportedTransactionVersion: 0 })
  t.equal(observation.kind === 'final' && observation.block.height, found?.slot)
  const memo = found?.transaction.message.compiledInstructions[2]
  t.equal(Buffer.from(memo?.data ?? []).toString(), transfer.payoutId)

  const again = await sent(wallet, payee, 1n)
  await finalise(chain)
  t.match(await seen(wallet, again), { kind: 'final', fee: 5_040n }, 'the account is there now')
})

t.test('SOL is paid as it is, and every lamport is accounted for', async (t) => {
  const { wallet } = await newPayer(chain, { mint: null, lamports: 10n * SOL })
  const payee = someone()
  const transfer = await sent(wallet, payee, 3n * SOL)
  await finalise(chain)
  const observation = await seen(wallet, transfer)
  t.match(observation, { kind: 'final', ok: true, fee: 5_040n })
  t.equal(await lamportsOf(payee), 3n * SOL)
  t.match(await wallet.holdings(), { asset: 7n * SOL - 5_040n, gas: 7n * SOL - 5_040n })
})

t.test('many are signed, sent and observed at once', async (t) => {
  const { wallet } = await newPayer(chain, { mint })
  const transfers = Array.from({ length: 120 }, (_, index) => ({
    payoutId: `many-${index}`,
    to: someone(),
    amount: BigInt(index + 1),
    nonce: null,
  }))
  const all = await wallet.sign(transfers)
  const answers = await wallet.broadcast(all)
  t.ok(answers.every(({ kind }) => kind === 'accepted'))
  await finalise(chain)
  const observations = await wallet.observe(
    transfers.map((transfer, index) => ({ ...transfer, signed: all.slice(index, index + 1) })),
  )
  t.ok(
    observations.every((observation, index) => observation.kind === 'final' && observation.hash === all[index]?.hash),
  )
  t.equal(await tokensIn(transfers[119]?.to ?? ''), 120n)
})

t.test('the same bytes sent again and again pay once', async (t) => {
  const { wallet } = await newPayer(chain, { mint })
  const payee = someone()
  const transfer = await sent(wallet, payee, 5n)
  for (const slots of [0, 1, 40]) {
    await chain.advance(slots)
    t.same(await send(wallet, transfer), { kind: 'accepted' }, 'the node has it already')
  }
  t.equal(await tokensIn(payee), 5n)
})

t.test('a transaction the network lost is missing, and the same bytes pay', async (t) => {
  const { wallet, signer } = await newPayer(chain, { mint })
  const payee = someone()
  await chain.dropNext(1)
  const transfer = await sent(wallet, payee, 7n)
  await chain.advance(100)
  t.same(await seen(wallet, transfer), { kind: 'missing' })
  await t.rejects(wallet.replace(transfer), { code: 'not_lost' })
  t.same(await send(wallet, transfer), { kind: 'accepted' })
  t.match(await seen(wallet, transfer), { kind: 'mined', hash: newest(transfer).hash })
  t.equal(await tokensIn(payee), 7n)
  t.equal(signer.requests.length, 1)
})

t.test('an expired transaction is lost only when that is final, and then another one pays, once', async (t) => {
  const { wallet } = await newPayer(chain, { mint })
  const payee = someone()
  await chain.dropNext(1)
  const transfer = await sent(wallet, payee, 9n)
  await chain.advance(151)
  t.match(await send(wallet, transfer), { kind: 'refused', code: 'expired' })
  t.same(await seen(wallet, transfer), { kind: 'missing' }, 'a fork may still bring it')
  await t.rejects(wallet.replace(transfer), { code: 'not_lost' })
  await chain.advance(50)
  t.same(await seen(wallet, transfer), { kind: 'lost', because: 'expired' })

  const replaced: OpenTransfer = { ...transfer, signed: [...transfer.signed, await wallet.replace(transfer)] }
  t.not(newest(replaced).hash, newest(transfer).hash)
  t.same(await seen(wallet, replaced), { kind: 'missing' }, 'the new one may land')
  t.same(await send(wallet, replaced), { kind: 'accepted' })
  t.match(await send(wallet, transfer), { kind: 'refused', code: 'expired' }, 'the old one is dead')
  await finalise(chain)
  t.match(await seen(wallet, replaced), { kind: 'final', hash: newest(replaced).hash, ok: true })
  t.equal(await tokensIn(payee), 9n)
})

t.test('a transaction that lands in the last block it can is found, however late it is looked for', async (t) => {
  const { wallet } = await newPayer(chain, { mint })
  const payee = someone()
  const transfer = await signed(wallet, payee, 11n)
  const { terms, raw } = newest(transfer)
  const last = terms.kind === 'solana' ? terms.lastValidBlockHeight : 0
  await chain.advance(last - (await connection.getBlockHeight('processed')))
  await connection.sendRawTransaction(Buffer.from(raw, 'base64'), { skipPreflight: true })
  await expire(chain)
  t.match(await seen(wallet, transfer), { kind: 'final', ok: true })
  await t.rejects(wallet.replace(transfer), { code: 'not_lost' })
  t.equal(await tokensIn(payee), 11n)
})

t.test('a fork takes a payout back, and the same bytes pay again', async (t) => {
  const { wallet } = await newPayer(chain, { mint })
  for (const depth of [1, 9, 31]) {
    const payee = someone()
    const before = await tokensIn(wallet.address)
    const transfer = await signed(wallet, payee, 13n)
    await chain.advance(1)
    await send(wallet, transfer)
    await chain.advance(depth - 1)
    t.match(await seen(wallet, transfer), { kind: 'mined' })
    await chain.rollback(depth)
    t.same(await seen(wallet, transfer), { kind: 'missing' }, `depth ${depth}`)
    t.equal(await tokensIn(payee), 0n)
    t.equal(await tokensIn(wallet.address), before)
    t.same(await send(wallet, transfer), { kind: 'accepted' })
    await finalise(chain)
    t.match(await seen(wallet, transfer), { kind: 'final', hash: newest(transfer).hash })
    t.equal(await tokensIn(payee), 13n)
  }
})

t.test('a transaction that fails on chain moved nothing, and says so', async (t) => {
  const { wallet } = await newPayer(chain, { mint, tokens: 100n })
  const payee = someone()
  const tooMuch = await signed(wallet, payee, 101n)
  t.match(await send(wallet, tooMuch), { kind: 'refused', code: 'failed_preflight', message: /insufficient funds/ })
  await connection.sendRawTransaction(Buffer.from(newest(tooMuch).raw, 'base64'), { skipPreflight: true })
  t.match(await seen(wallet, tooMuch), { kind: 'mined', ok: false })
  await finalise(chain)
  t.match(await seen(wallet, tooMuch), { kind: 'final', ok: false, fee: 5_100n })
  t.equal(await tokensIn(payee), 0n)
  t.match(await wallet.holdings(), { asset: 100n, gas: 10n * SOL - 5_100n })
})

t.test('a wallet without SOL is told so, and the same bytes pay when it has some', async (t) => {
  const { wallet } = await newPayer(chain, { mint, lamports: 0n })
  const transfer = await signed(wallet, someone(), 1n)
  t.match(await send(wallet, transfer), { kind: 'refused', code: 'no_gas' })
  await chain.airdrop(wallet.address, 1_000_000n)
  t.match(await send(wallet, transfer), { kind: 'refused', code: 'no_gas' }, 'enough for the fee, not for the rent')
  await chain.airdrop(wallet.address, 3_000_000n)
  t.same(await send(wallet, transfer), { kind: 'accepted' })

  const poor = await newPayer(chain, { mint: null, lamports: 2n * SOL })
  const tooMuch = await signed(poor.wallet, someone(), 3n * SOL)
  t.match(await send(poor.wallet, tooMuch), { kind: 'refused', code: 'failed_preflight' })
})

t.test('a payee who could not take the money is held back before anything is signed', async (t) => {
  const { wallet, signer } = await newPayer(chain, { mint })
  const owner = Keypair.generate()
  await chain.airdrop(owner.publicKey.toBase58(), SOL)
  await chain.mintTo(mint, owner.publicKey.toBase58(), 5n)
  const account = getAssociatedTokenAddressSync(new PublicKey(mint), owner.publicKey)
  const givenAway = createSetAuthorityInstruction(
    account,
    owner.publicKey,
    AuthorityType.AccountOwner,
    Keypair.generate().publicKey,
  )
  const { blockhash } = await connection.getLatestBlockhash()
  const transaction = new Transaction({ feePayer: owner.publicKey, recentBlockhash: blockhash }).add(givenAway)
  transaction.sign(owner)
  await connection.sendRawTransaction(transaction.serialize())
  await chain.advance(2)
  const unpayable = [owner.publicKey.toBase58(), account.toBase58(), mint, 'nonsense', wallet.address]
  for (const [index, to] of unpayable.entries()) {
    const payoutId = `unpayable-${index}`
    await t.rejects(wallet.sign([{ payoutId, to, amount: 1n, nonce: null }]), { code: 'payee_unusable', payoutId })
  }
  t.equal(signer.requests.length, 0)
})

t.test('addresses that are nobody’s wallet are refused', async (t) => {
  const { wallet } = await newPayer(chain, { mint })
  const payee = someone()
  t.equal(wallet.parseAddress(` ${payee}\n`), payee)
  const offCurve = PublicKey.findProgramAddressSync([Buffer.from('x')], TOKEN_PROGRAM_ID)[0].toBase58()
  const refused = [
    '',
    payee.slice(4),
    `${payee}111`,
    payee.replace(/.$/, '0'),
    '0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266',
    offCurve,
    mint,
    SystemProgram.programId.toBase58(),
    TOKEN_PROGRAM_ID.toBase58(),
    wallet.address,
  ]
  for (const text of refused) t.equal(wallet.parseAddress(text), null, text)
})

t.test('movements tell every transfer once, and balances of the past are exact', async (t) => {
  const { wallet } = await newPayer(chain, { mint })
  const from = await lastFinal(wallet)
  const [payee, member] = [someone(), someone()]
  const paid = await sent(wallet, payee, 10n)
  await chain.mintTo(mint, wallet.address, 50n)
  await chain.advance(3)
  const middle = await connection.getSlot('processed')
  await chain.advance(1)
  const failed = await signed(wallet, payee, 1n << 60n)
  await connection.sendRawTransaction(Buffer.from(newest(failed).raw, 'base64'), { skipPreflight: true })
  const second = await sent(wallet, member, 20n)
  await finalise(chain)
  const through = await lastFinal(wallet)
  const here = [wallet.address, member]

  const all = await wallet.movements(here, from + 1, through)
  t.match(all, [
    { hash: newest(paid).hash, from: wallet.address, to: payee, amount: 10n },
    { from: mint, to: wallet.address, amount: 50n },
    { hash: newest(second).hash, from: wallet.address, to: member, amount: 20n },
  ])
  t.equal(all.length, 3)
  t.equal(new Set(all.map(({ block, index }) => `${block.height}.${index}`)).size, 3)
  t.same(
    [...(await wallet.movements(here, from + 1, middle)), ...(await wallet.movements(here, middle + 1, through))],
    all,
  )

  const [before, between, now] = [await wallet.holdings(from), await wallet.holdings(middle), await wallet.holdings()]
  t.equal(before.asset, 1_000_000_000n)
  t.equal(between.asset, 1_000_000_000n + 40n)
  t.equal(now.asset, 1_000_000_000n + 20n)
  t.equal(before.gas, 10n * SOL)
  t.equal(between.gas, 10n * SOL - 5_100n - 2_039_280n)
  t.equal(now.gas, await lamportsOf(wallet.address))
  await t.rejects(wallet.holdings(through + 1000), { code: 'chain_unreachable' })
  await t.rejects(wallet.movements(here, from, through + 1000), { code: 'chain_unreachable' })
})

t.test('movements of SOL leave fees out', async (t) => {
  const { wallet } = await newPayer(chain, { mint: null })
  const from = await lastFinal(wallet)
  const payee = someone()
  const { payoutId } = await sent(wallet, payee, SOL)
  await finalise(chain)
  t.ok(payoutId)
  t.match(await wallet.movements([wallet.address], from + 1, await lastFinal(wallet)), [
    { from: wallet.address, to: payee, amount: SOL },
  ])
})

t.test('a member signs what was prepared; anything unsigned or altered is refused', async (t) => {
  const { wallet } = await newPayer(chain, { mint })
  const member = Keypair.generate()
  const owner = member.publicKey.toBase58()
  await chain.airdrop(owner, SOL)
  await chain.mintTo(mint, owner, 40n)
  await finalise(chain)
  const payee = someone()
  const { transaction } = await wallet.unsigned(owner, payee, 15n)
  const unsigned = Transaction.from(Buffer.from(String(transaction.transaction), 'base64'))
  unsigned.sign(member)
  const raw = unsigned.serialize().toString('base64')
  const read = await wallet.readSigned(raw)
  t.match(read, { raw, from: owner, to: payee, amount: 15n, validity: { kind: 'blockhash' } })
  const altered = Buffer.from(raw, 'base64').fill(1, 100, 101).toString('base64')
  for (const wrong of [String(transaction.transaction), 'nonsense', 'A'.repeat(2_000), altered]) {
    await t.rejects(wallet.readSigned(wrong), { code: 'withdrawal_unreadable' })
  }
  t.equal(await wallet.findSigned(read.hash), null)
  t.match(await wallet.broadcast([read, read]), [{ kind: 'accepted' }, { kind: 'accepted' }], 'twice is once')
  t.equal(await tokensIn(payee), 15n)
  t.match(await wallet.trace([read]), [{ kind: 'mined', hash: read.hash, ok: true }])
  await finalise(chain)
  t.match(await wallet.findSigned(read.hash), { ...read, validity: { kind: 'blockhash' } })
  t.match(await wallet.trace([read]), [{ kind: 'final', hash: read.hash, ok: true }])
  await t.rejects(wallet.unsigned(owner, owner, 1n), { code: 'address_invalid' })
  await t.rejects(wallet.unsigned(owner, mint, 1n), { code: 'address_invalid' })
  const tooMuch = await wallet.unsigned(owner, payee, 1_000n)
  const overdraft = Transaction.from(Buffer.from(String(tooMuch.transaction.transaction), 'base64'))
  overdraft.sign(member)
  const refused = await wallet.broadcast([await wallet.readSigned(overdraft.serialize().toString('base64'))])
  t.match(refused, [{ kind: 'refused', code: 'failed_preflight' }])
})

t.test('a signer that signs something else is not believed', async (t) => {
  const { wallet, signer } = await newPayer(chain, { mint })
  const other = newest(await signed(wallet, someone(), 1n)).raw
  const stranger = Keypair.generate()
  const changed = (raw: string, change: (bytes: Buffer) => unknown) => {
    const bytes = Buffer.from(raw, 'base64')
    change(bytes)
    return bytes.toString('base64')
  }
  const wrong: readonly (readonly [string, (unsigned: string) => string])[] = [
    ['nothing', () => ''],
    ['another payout', () => other],
    ['by another key', (unsigned) => signMessage(unsigned, stranger)],
    [
      'a signature that does not fit',
      (unsigned) => changed(signMessage(unsigned, signer.key), (bytes) => bytes.fill(0, 1, 3)),
    ],
    [
      'another message beside it',
      (unsigned) => changed(signMessage(unsigned, signer.key), (bytes) => bytes.writeUInt8(0, bytes.length - 1)),
    ],
    ['two signatures', (unsigned) => changed(signMessage(unsigned, signer.key), (bytes) => bytes.fill(2, 0, 1))],
  ]
  for (const [what, lie] of wrong) {
    signer.sign = async (requests) => requests.map(({ unsigned }) => lie(unsigned))
    await t.rejects(signed(wallet, someone(), 1n), what)
  }
})

t.test('the policy of the signer takes what the wallet asks it to sign', async (t) => {
  const limits = { payout: '5', destination_day: '10', hour: '10', day: '10' }
  for (const asset of ['native', { mint, decimals: 6 }]) {
    const { wallet, signer } = await newPayer(chain, { mint: asset === 'native' ? null : mint })
    const local = { chain: 'solana:local', key: 'keystore:member', limits, fee_max: '50000', asset }
    const policy = parsePolicy({ wallets: { member: local } }, 'policy.json').get('member')
    await signed(wallet, someone(), 5n)
    const [request] = signer.requests
    if (policy?.kind !== 'solana' || !request) return t.fail('a policy and a request')
    const { message } = readSolanaIntent(request, policy, signer.key.publicKey)
    t.equal(Buffer.from(message).toString('base64'), request.unsigned)
  }
})

t.test('the price follows the market up to its limit', async (t) => {
  const { wallet } = await newPayer(chain, { mint, unitPrice: { min: 10n, max: 5_000n } })
  for (const [market, price] of [
    [0, 10n],
    [3_000, 3_000n],
    [1_000_000, 5_000n],
  ] as const) {
    await chain.setPrioritizationFee(market)
    const { raw } = newest(await signed(wallet, someone(), 1n))
    const instruction = Transaction.from(Buffer.from(raw, 'base64')).instructions[1]
    if (!instruction) return t.fail('it sets no price')
    t.equal(BigInt(ComputeBudgetInstruction.decodeSetComputeUnitPrice(instruction).microLamports), price)
  }
  await chain.setPrioritizationFee(0)
})

t.test('only the mint of an SPL token is paid in', async (t) => {
  const where = { wallet: 'member', chain: 'solana:local', urls: [chain.url] }
  for (const mint of [new PublicKey(someone()), TOKEN_PROGRAM_ID]) {
    const options = { ...where, signer: new OneKeySigner(), asset: { symbol: 'USDT', decimals: 6, mint } }
    await t.rejects(SolanaWallet.connect({ ...options, isDevelopmentKey: true }), { code: 'mint_wrong' })
  }
})
