// Hunts: bytes that are signed although they pay somebody else, something else, more than was asked for, or more than one.
import { createPublicKey, verify } from 'node:crypto'
import {
  createApproveInstruction,
  createAssociatedTokenAccountIdempotentInstruction,
  createTransferCheckedInstruction,
} from '@solana/spl-token'
import {
  AddressLookupTableAccount,
  ComputeBudgetProgram,
  Keypair,
  Message,
  MessageV0,
  PublicKey,
  SystemProgram,
  type TransactionInstruction,
} from '@solana/web3.js'
import fc from 'fast-check'
import t from 'tap'
import { encodeFunctionData, erc20Abi, parseTransaction, recoverTransactionAddress, serializeTransaction } from 'viem'
import { unsignedTransfer } from '../chain/evm/transactions.js'
import type { SigningRequest } from '../chain/signer/signer.js'
import { accountOf } from '../chain/solana/asset.js'
import { compose } from '../chain/solana/message.js'
import {
  alice,
  bob,
  carol,
  dave,
  memo,
  mint,
  SignerBench,
  token,
  tokenAccount,
  tokenTransfer,
  toMessage,
} from './support/signer.js'

const SPKI_ED25519 = '302a300506032b6570032100'

const instructionsOf = (payer: PublicKey): TransactionInstruction[] => [
  ComputeBudgetProgram.setComputeUnitLimit({ units: 60_000 }),
  ComputeBudgetProgram.setComputeUnitPrice({ microLamports: 50_000 }),
  ...tokenTransfer(payer, carol, 100n),
  memo('p'),
]

const isSignedBy = (raw: string, address: string): boolean => {
  const bytes = Buffer.from(raw, 'base64')
  const spki = Buffer.concat([Buffer.from(SPKI_ED25519, 'hex'), new PublicKey(address).toBytes()])
  const key = createPublicKey({ key: spki, format: 'der', type: 'spki' })
  return bytes[0] === 1 && verify(null, bytes.subarray(65), key, bytes.subarray(1, 65))
}

t.test('a plain transfer is signed, on every kind of wallet', async (t) => {
  const bench = await SignerBench.create(t)
  const signer = await bench.open()
  const requests = [
    bench.evm('p1', 0),
    bench.evm('p2', 0, { wallet: 'coin', to: bob }),
    bench.spl('p3'),
    bench.spl('p4', { wallet: 'sol' }),
    bench.spl('p5', { to: dave.toBase58() }, ([, , , transfer, text]) => [transfer, text].filter((one) => !!one)),
  ]
  const [raw1 = '', raw2 = '', raw3 = '', raw4 = '', raw5 = ''] = await signer.sign(requests)
  for (const [raw, wallet] of [
    [raw1, 'member'],
    [raw2, 'coin'],
  ] as const) {
    t.equal(await recoverTransactionAddress({ serializedTransaction: raw as `0x02${string}` }), bench.addresses[wallet])
    t.equal(await signer.address(wallet), bench.addresses[wallet])
  }
  const { to, nonce, chainId } = parseTransaction(raw1 as `0x02${string}`)
  t.match({ to: to?.toLowerCase(), nonce, chainId }, { to: token.toLowerCase(), nonce: 0, chainId: 137 })
  t.ok(isSignedBy(raw3, bench.addresses.spl))
  t.ok(isSignedBy(raw4, bench.addresses.sol))
  t.ok(isSignedBy(raw5, bench.addresses.spl))
  t.match(signer.status(), { signed: 5, refused: {}, queue: 0, payouts: 5, isStopped: false })
  t.strictSame(await signer.sign(requests), [raw1, raw2, raw3, raw4, raw5], 'asked again: the same')
  t.equal(signer.status().payouts, 5)
})

t.test('what the wallets of both chains prepare is what the signer takes', async (t) => {
  const bench = await SignerBench.create(t)
  const signer = await bench.open()
  const terms = { gas: 80_000n, maxFeePerGas: 60_000_000_000n, maxPriorityFeePerGas: 30_000_000_000n }
  const transfer = { payoutId: 'comp-1.1', to: alice, amount: 100n, nonce: 0 }
  const unsigned = serializeTransaction(unsignedTransfer(137, token, transfer, terms))
  t.equal((await signer.sign([{ wallet: 'member', unsigned, ...transfer }])).length, 1)

  for (const [wallet, ofMint] of [
    ['spl', mint],
    ['sol', null],
  ] as const) {
    const asset = { symbol: 'X', decimals: 6, mint: ofMint }
    const from = new PublicKey(bench.addresses[wallet])
    for (const createsTarget of [true, false]) {
      const payoutId = `${wallet}-${createsTarget}`
      const message = compose(asset, {
        from,
        to: carol,
        amount: 100n,
        source: accountOf(asset, from),
        target: accountOf(asset, carol),
        memo: payoutId,
        createsTarget,
        unitPrice: 50_000n,
        blockhash: dave.toBase58(),
      }).serializeMessage()
      const request = { wallet, payoutId, to: carol.toBase58(), amount: 100n, unsigned: message.toString('base64') }
      const [raw = ''] = await signer.sign([request])
      t.ok(isSignedBy(raw, bench.addresses[wallet]), payoutId)
    }
  }
})

t.test('forged EVM bytes are refused, each for its reason, and leave no trace', async (t) => {
  const bench = await SignerBench.create(t)
  const signer = await bench.open()
  const call = (functionName: 'approve' | 'transferFrom', args: readonly unknown[]) =>
    encodeFunctionData({ abi: erc20Abi, functionName, args } as Parameters<typeof encodeFunctionData>[0])
  const honest = bench.evm('p', 0)
  const [fees, feesSwapped] = ['8506fc23ac00850df8475800', '850df84758008506fc23ac00']
  const forged: [string, string, SigningRequest][] = [
    ['another payee', 'payee_wrong', { ...honest, to: bob }],
    ['another amount', 'amount_wrong', { ...honest, amount: 101n }],
    ['no amount', 'amount_wrong', bench.evm('p', 0, { amount: 0n })],
    ['approve', 'no_plain_transfer', bench.evm('p', 0, {}, { data: call('approve', [alice, 100n]) })],
    ['transferFrom', 'no_plain_transfer', bench.evm('p', 0, {}, { data: call('transferFrom', [alice, bob, 100n]) })],
    ['unknown call', 'no_plain_transfer', bench.evm('p', 0, {}, { data: '0xdeadbeef' })],
    ['no call', 'no_plain_transfer', bench.evm('p', 0, {}, { data: '0x' })],
    ['more than the call', 'no_plain_transfer', bench.evm('p', 0, {}, { tail: '00' })],
    ['coin along', 'no_plain_transfer', bench.evm('p', 0, {}, { value: 1n })],
    ['another token', 'asset_wrong', bench.evm('p', 0, {}, { to: bob })],
    ['another chain', 'chain_wrong', bench.evm('p', 0, {}, { chainId: 1 })],
    ['a contract', 'no_plain_transfer', bench.evm('p', 0, {}, { to: undefined })],
    ['a fee above the cap', 'fee_too_high', bench.evm('p', 0, {}, { maxFeePerGas: 125_000_000_001n })],
    ['much gas', 'fee_too_high', bench.evm('p', 0, {}, { gas: 30_000_000n })],
    ['a tip above the fee', 'bytes_unreadable', { ...honest, unsigned: honest.unsigned.replace(fees, feesSwapped) }],
    [
      'an access list',
      'no_plain_transfer',
      bench.evm('p', 0, {}, { accessList: [{ address: token, storageKeys: [] }] }),
    ],
    [
      'legacy',
      'bytes_unreadable',
      bench.evm('p', 0, {}, { type: 'legacy', gasPrice: 1n, maxFeePerGas: undefined, maxPriorityFeePerGas: undefined }),
    ],
    ['upper case', 'bytes_unreadable', { ...honest, unsigned: `0x02${honest.unsigned.slice(4).toUpperCase()}` }],
    ['bytes after it', 'bytes_unreadable', { ...honest, unsigned: `${honest.unsigned}00` }],
    ['no bytes', 'bytes_unreadable', { ...honest, unsigned: '0x' }],
    ['a cancel', 'payee_wrong', bench.evm('p', 0, { wallet: 'coin', to: bench.addresses.coin, amount: 1n })],
    ['a cancel of tokens', 'payee_wrong', bench.evm('p', 0, { to: bench.addresses.member })],
    ['the token as payee', 'payee_wrong', bench.evm('p', 0, { to: token })],
    ['zero as payee', 'payee_wrong', bench.evm('p', 0, { to: `0x${'0'.repeat(40)}` })],
    ['a wrong checksum', 'payee_wrong', { ...honest, to: alice.replace('b', 'B') }],
    ['a call by a wallet of coin', 'no_plain_transfer', bench.evm('p', 0, { wallet: 'coin' }, { data: '0x00' })],
    ['another wallet', 'no_plain_transfer', { ...honest, wallet: 'coin' }],
    ['no such wallet', 'wallet_unknown', { ...honest, wallet: 'treasury' }],
    ['the wallet of another chain', 'payee_wrong', { ...honest, wallet: 'spl' }],
    ['an id of two lines', 'payout_id_wrong', { ...honest, payoutId: 'p\n' }],
    ['a long id', 'payout_id_wrong', { ...honest, payoutId: 'p'.repeat(129) }],
  ]
  for (const [name, code, request] of forged) {
    await t.rejects(signer.sign([bench.evm('before', 7), request]), { name: 'SignerRefused', code }, name)
  }
  const [raw = ''] = await signer.sign([honest])
  await t.rejects(signer.sign([{ ...honest, unsigned: raw }]), { code: 'bytes_unreadable' }, 'signed already')
  t.match(
    signer.status(),
    { payouts: 1, signed: 1, refused: { payee_wrong: 7 } },
    'S8: nothing of a refused batch is kept',
  )
})

t.test('no change of a bit makes EVM bytes that are signed', async (t) => {
  const bench = await SignerBench.create(t)
  const signer = await bench.open()
  const honest = bench.evm('p', 0)
  const bytes = Buffer.from(honest.unsigned.slice(2), 'hex')
  const benign = new Set<number>()
  await fc.assert(
    fc.asyncProperty(fc.nat(bytes.length * 8 - 1), async (bit) => {
      const changed = Buffer.from(bytes)
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      const answer = await signer
        .sign([{ ...honest, unsigned: `0x${changed.toString('hex')}` }])
        .catch(({ code }) => code)
      if (typeof answer === 'string') return
      benign.add(bit)
      const { to, data, value, chainId } = parseTransaction(answer[0] as `0x02${string}`)
      const same = parseTransaction(honest.unsigned as `0x02${string}`)
      t.strictSame(
        { to, data, value, chainId },
        { to: same.to, data: same.data, value: same.value, chainId: same.chainId },
      )
    }),
    { numRuns: 400 },
  )
  t.ok(signer.status().payouts <= 1, 'what may differ is nonce, gas and fee, and only until it was signed once')
})

t.test('forged Solana messages are refused, each for its reason', async (t) => {
  const bench = await SignerBench.create(t)
  const signer = await bench.open()
  const me = new PublicKey(bench.addresses.spl)
  const other = Keypair.generate().publicKey
  const replaced = (index: number, instruction: TransactionInstruction) => (all: TransactionInstruction[]) =>
    all.with(index, instruction)
  const transfer = (from: PublicKey, ofMint: PublicKey, to: PublicKey, amount: bigint, decimals = 6) =>
    createTransferCheckedInstruction(tokenAccount(from, ofMint), ofMint, tokenAccount(to, ofMint), me, amount, decimals)
  const [, , create, pay] = [...instructionsOf(me)]
  const table = new AddressLookupTableAccount({
    key: other,
    state: {
      deactivationSlot: 2n ** 64n - 1n,
      lastExtendedSlot: 0,
      lastExtendedSlotStartIndex: 0,
      addresses: [tokenAccount(carol)],
    },
  })
  const withTable = MessageV0.compile({
    payerKey: me,
    instructions: instructionsOf(me),
    recentBlockhash: other.toBase58(),
    addressLookupTableAccounts: [table],
  })
  const mintOf = (wallet: PublicKey) => transfer(wallet, new PublicKey(new Uint8Array(32).fill(9)), carol, 100n)
  const forged: [string, string, SigningRequest][] = [
    ['another payee', 'payee_wrong', bench.spl('p', {}, replaced(3, transfer(me, mint, dave, 100n)))],
    ['another payee asked for', 'payee_wrong', { ...bench.spl('p'), to: dave.toBase58() }],
    ['another amount', 'amount_wrong', bench.spl('p', {}, replaced(3, transfer(me, mint, carol, 101n)))],
    ['other decimals', 'amount_wrong', bench.spl('p', {}, replaced(3, transfer(me, mint, carol, 100n, 9)))],
    ['no amount', 'amount_wrong', bench.spl('p', { amount: 0n })],
    ['another token', 'asset_wrong', bench.spl('p', {}, replaced(3, mintOf(me)))],
    [
      'approve',
      'no_plain_transfer',
      bench.spl('p', {}, replaced(3, createApproveInstruction(tokenAccount(me), other, me, 100n))),
    ],
    ['a second transfer', 'no_plain_transfer', bench.spl('p', {}, (all) => [...all, ...(pay ? [pay] : [])])],
    ['no transfer', 'no_plain_transfer', bench.spl('p', {}, (all) => all.toSpliced(3, 1))],
    [
      'coin along',
      'no_plain_transfer',
      bench.spl('p', {}, (all) => [...all, SystemProgram.transfer({ fromPubkey: me, toPubkey: other, lamports: 1 })]),
    ],
    [
      'an account of somebody else',
      'payee_wrong',
      bench.spl(
        'p',
        {},
        replaced(2, createAssociatedTokenAccountIdempotentInstruction(me, tokenAccount(dave), dave, mint)),
      ),
    ],
    ['two accounts', 'no_plain_transfer', bench.spl('p', {}, (all) => [...all, ...(create ? [create] : [])])],
    [
      'an unknown program',
      'no_plain_transfer',
      bench.spl('p', {}, (all) => [...all, { ...memo('x'), programId: other } as TransactionInstruction]),
    ],
    [
      'more heap',
      'no_plain_transfer',
      bench.spl('p', {}, replaced(0, ComputeBudgetProgram.requestHeapFrame({ bytes: 65_536 }))),
    ],
    [
      'a fee above the cap',
      'fee_too_high',
      bench.spl('p', {}, replaced(1, ComputeBudgetProgram.setComputeUnitPrice({ microLamports: 166_667 }))),
    ],
    ['a price without a limit', 'fee_too_high', bench.spl('p', {}, (all) => all.slice(1))],
    ['no memo', 'memo_wrong', bench.spl('p', {}, (all) => all.slice(0, 4))],
    ['another memo', 'memo_wrong', bench.spl('p', {}, replaced(4, memo('q')))],
    ['another payout', 'memo_wrong', { ...bench.spl('p'), payoutId: 'q' }],
    [
      'a lookup table',
      'lookup_table',
      { ...bench.spl('p'), unsigned: Buffer.from(withTable.serialize()).toString('base64') },
    ],
    [
      'another fee payer',
      'fee_payer_wrong',
      { ...bench.spl('p'), unsigned: toMessage(other, instructionsOf(me), other.toBase58()) },
    ],
    ['the payee itself', 'payee_wrong', { ...bench.spl('p'), to: bench.addresses.spl }],
    ['no address', 'payee_wrong', { ...bench.spl('p'), to: alice }],
    ['no base64', 'bytes_unreadable', { ...bench.spl('p'), unsigned: '*' }],
    ['cut off', 'bytes_unreadable', { ...bench.spl('p'), unsigned: bench.spl('p').unsigned.slice(0, -8) }],
    [
      'bytes after it',
      'bytes_unreadable',
      {
        ...bench.spl('p'),
        unsigned: `${Buffer.concat([Buffer.from(bench.spl('p').unsigned, 'base64'), Buffer.of(0)]).toString('base64')}`,
      },
    ],
    [
      'tokens by a wallet of SOL',
      'no_plain_transfer',
      { ...bench.spl('p', { wallet: 'sol' }, () => instructionsOf(new PublicKey(bench.addresses.sol))) },
    ],
    ['more SOL', 'amount_wrong', { ...bench.spl('p', { wallet: 'sol' }), amount: 99n }],
  ]
  for (const [name, code, request] of forged) {
    await t.rejects(signer.sign([request]), { name: 'SignerRefused', code, payoutId: request.payoutId }, name)
  }
  t.equal(signer.status().payouts, 0)
  const legacy = Message.compile({ payerKey: me, instructions: instructionsOf(me), recentBlockhash: other.toBase58() })
  const [raw = ''] = await signer.sign([{ ...bench.spl('p'), unsigned: legacy.serialize().toString('base64') }])
  t.ok(isSignedBy(raw, bench.addresses.spl), 'a message of the old form is as good')
})
