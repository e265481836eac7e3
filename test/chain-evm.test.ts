// Payouts on a real EVM node: every transfer is paid once, or not at all, and what is said of it is true.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import {
  encodeFunctionData,
  type Hex,
  keccak256,
  parseTransaction,
  serializeTransaction,
  type TransactionSerializableEIP1559,
  type TransactionSerializedEIP1559,
  zeroAddress,
} from 'viem'
import type { OpenTransfer } from '../chain/chain.js'
import { startAnvil } from '../chain/dev/anvil.js'
import { barOnTestToken, ensureTestToken, mintTestToken } from '../chain/dev/evm-token.js'
import { compiledContracts, contractsFolder, tokenAbi } from '../chain/evm/contracts.js'
import { assertNotDevKey } from '../chain/evm/dev-keys.js'
import { Endpoints } from '../chain/evm/endpoints.js'
import { transferData } from '../chain/evm/transactions.js'
import { openEvmWallet } from '../chain/evm/wallet.js'
import type { Signer } from '../chain/signer/signer.js'
import { goneWithin, isAlive } from '../persistence/postgres/postmaster.js'
import {
  DOLLAR,
  type EvmWorld,
  evmWorld,
  localSigner,
  newAccount,
  newAddress,
  payment,
  signed,
  transactionsOf,
  USDT,
  WALLET,
} from './support/evm.js'
import { firstLine } from './support/postgres.js'

t.test('the compiled contracts are made of the sources beside them', async (t) => {
  const digest = createHash('sha256')
  for (const name of readdirSync(contractsFolder)
    .filter((name) => name.endsWith('.sol'))
    .sort()) {
    digest.update(`${name}\n${readFileSync(join(contractsFolder, name), 'utf8')}\n`)
  }
  t.equal(compiledContracts().sources, digest.digest('hex'), 'else run node scripts/compile-contracts.mjs')
})

t.test('a transfer of a token that returns nothing is mined, then final after ten blocks, with its fee', async (t) => {
  const { wallet, mine, balanceOf, anvil } = await evmWorld(t)
  const transfers = await signed(wallet, [payment(0), payment(1, { amount: 5n * DOLLAR })])
  t.same(await wallet.observe(transfers), [{ kind: 'missing' }, { kind: 'missing' }], 'nobody has it before it is sent')
  t.same(await wallet.broadcast(transactionsOf(transfers)), [{ kind: 'accepted' }, { kind: 'accepted' }])
  t.same(await wallet.observe(transfers), [{ kind: 'pending' }, { kind: 'pending' }])
  await mine(1)
  const hash = transfers[0]?.signed[0]?.hash
  t.match((await wallet.observe(transfers))[0], { kind: 'mined', hash, ok: true, block: { height: 3 } })
  await mine(8)
  t.match((await wallet.observe(transfers))[0], { kind: 'mined' }, 'nine confirmations are not ten')
  await mine(1)
  const { gasUsed, effectiveGasPrice } = await anvil.client.getTransactionReceipt({ hash: hash as `0x${string}` })
  const [first, second] = await wallet.observe(transfers)
  t.match(first, { kind: 'final', hash, ok: true, fee: gasUsed * effectiveGasPrice })
  t.match(second, { kind: 'final', ok: true })
  t.equal(await balanceOf(transfers[1]?.to ?? ''), 5n * DOLLAR)
  t.same(await wallet.nonces(), { mined: 2, final: 2 })
})

t.test('a payee whose transfer reverts is final and not paid, and does not hold up the others', async (t) => {
  const { wallet, mine, balanceOf, anvil } = await evmWorld(t)
  const barred = newAddress()
  await barOnTestToken(anvil.client, barred, true)
  const payments = [payment(0, { to: barred }), payment(1), payment(2, { amount: 10_000n * DOLLAR })]
  t.match(await wallet.preflight(payments), [{ kind: 'refused' }, { kind: 'payable' }, { kind: 'unfunded' }])
  const transfers = await signed(wallet, payments)
  await wallet.broadcast(transactionsOf(transfers))
  await mine(10)
  t.match(await wallet.observe(transfers), [
    { kind: 'final', ok: false },
    { kind: 'final', ok: true },
    { kind: 'final', ok: false },
  ])
  t.equal(await balanceOf(barred), 0n)
  t.equal(await balanceOf(payments[1]?.to ?? ''), DOLLAR)
})

t.test('holdings, heights and movements are told for one block', async (t) => {
  const { wallet, mine, account } = await evmWorld(t)
  const transfers = await signed(wallet, [payment(0), payment(1, { amount: 3n * DOLLAR })])
  await wallet.broadcast(transactionsOf(transfers))
  await mine(12)
  const heights = await wallet.heights()
  t.same(heights, { final: 5, newest: 14 })
  const before = await wallet.holdings(2)
  t.match(before, { block: { height: 2 }, asset: 1_000n * DOLLAR, gas: 10n ** 18n })
  const now = await wallet.holdings()
  t.match(now, { block: { height: 14 }, asset: 996n * DOLLAR })
  t.ok(now.gas < before.gas)

  const movements = await wallet.movements([wallet.address], 0, heights.newest)
  t.match(movements, [
    { from: zeroAddress, to: account.address, amount: 1_000n * DOLLAR, block: { height: 2 }, index: 0 },
    { from: account.address, to: transfers[0]?.to, amount: DOLLAR, hash: transfers[0]?.signed[0]?.hash, index: 0 },
    { from: account.address, to: transfers[1]?.to, amount: 3n * DOLLAR, hash: transfers[1]?.signed[0]?.hash, index: 1 },
  ])
  const payee = transfers[1]?.to ?? ''
  t.match(await wallet.movements([payee, newAddress()], 0, heights.newest), [{ to: payee, amount: 3n * DOLLAR }])
  t.same(await wallet.movements([payee], 0, 2), [])
  await t.rejects(wallet.movements([payee], 0, 15), /has no block 15/, 'what is not there yet is not empty')
})

t.test('long ranges of movements are asked in pieces, and halved when a node refuses', async (t) => {
  const { wallet, mine, nodes, endpoints } = await evmWorld(t)
  const transfers = await signed(wallet, [payment(0)])
  await wallet.broadcast(transactionsOf(transfers))
  await mine(1_200)
  const all = await wallet.movements([wallet.address], 0, 1_200)
  t.equal(all.length, 2)
  nodes[0].judge('eth_getLogs', ([filter]) => {
    const { fromBlock, toBlock } = filter as { fromBlock: string; toBlock: string }
    return Number(toBlock) - Number(fromBlock) < 100 ? undefined : 'query returned more than 10000 results'
  })
  t.same(await wallet.movements([wallet.address], 0, 1_200), all)
  t.same(endpoints.health()[0]?.lastError, null)
})

t.test('addresses: lower case or the right checksum; never nobody, the token or the wallet itself', async (t) => {
  const { wallet } = await evmWorld(t)
  const address = '0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045'
  t.equal(wallet.parseAddress(address), address)
  t.equal(wallet.parseAddress(address.toLowerCase()), address)
  t.equal(wallet.parseAddress(address.replace('d8dA', 'd8da')), null, 'a wrong checksum is a slip of the pen')
  for (const text of ['', '0x', 'vitalik.eth', address.slice(2), `${address}0`, address.replace('0x', '0X')]) {
    t.equal(wallet.parseAddress(text), null, text)
  }
  t.equal(wallet.parseAddress(zeroAddress), null)
  t.equal(wallet.parseAddress(wallet.address), null)
  t.equal(wallet.parseAddress(USDT.address), null)
  t.equal(wallet.parseAddress(USDT.address.toLowerCase()), null)
})

t.test('a member signs what we prepare; it is sent once however often, and nothing else is sent', async (t) => {
  const { wallet, mine, anvil, balanceOf } = await evmWorld(t)
  const member = newAccount()
  const to = newAddress()
  await t.rejects(wallet.unsigned(member.address, to, DOLLAR), { code: 'insufficient_balance' })
  await mintTestToken(anvil.client, member.address, 5n * DOLLAR)
  await anvil.client.setBalance({ address: member.address, value: 10n ** 18n })
  const { transaction } = await wallet.unsigned(member.address, to, DOLLAR)
  t.match(transaction, { chainId: 31_337, to: USDT.address, value: '0x0', gas: /^0x/, data: /^0xa9059cbb/ })

  const fees = { type: 'eip1559', nonce: 0, maxFeePerGas: 10n ** 10n, maxPriorityFeePerGas: 10n ** 9n } as const
  const gas = BigInt(transaction.gas ?? 0)
  const asked = { ...fees, gas, chainId: 31_337, to: USDT.address, data: transaction.data as Hex }
  const raw = await member.signTransaction(asked)
  const read = await wallet.readSigned(raw)
  t.match(read, { raw, from: member.address, to, amount: DOLLAR, validity: { kind: 'nonce', nonce: 0 } })
  t.equal(await wallet.findSigned(read.hash), null, 'no node has it yet')
  t.match(await wallet.broadcast([read]), [{ kind: 'accepted' }])
  t.match(await wallet.broadcast([read]), [{ kind: 'accepted' }], 'already imported')
  t.same(await wallet.findSigned(read.hash), read, 'its bytes are put together from what a node shows')
  await mine(1)
  t.same(await wallet.findSigned(read.hash), read)
  t.match(await wallet.trace([read]), [{ kind: 'mined', hash: read.hash, ok: true }])
  t.equal(await balanceOf(to), DOLLAR)
  const { chainId, to: token, data } = asked
  const legacy = await member.signTransaction({
    type: 'legacy',
    chainId,
    to: token,
    data,
    gas,
    nonce: 1,
    gasPrice: 10n ** 10n,
  })
  t.match(await wallet.broadcast([await wallet.readSigned(legacy)]), [{ kind: 'accepted' }])
  t.equal((await wallet.findSigned(keccak256(legacy)))?.raw, legacy)

  const unreadable = { code: 'withdrawal_unreadable' }
  const wrong = [
    { chainId: 1 },
    { to: newAddress() },
    { data: '0x' as Hex },
    { data: transferData(to, 0n) },
    { data: transferData(to, 2n ** 255n) },
    { data: encodeFunctionData({ abi: tokenAbi, functionName: 'approve', args: [to, 1n] }) },
  ]
  for (const change of wrong) {
    const other = await member.signTransaction({ ...asked, ...change })
    await t.rejects(wallet.readSigned(other), unreadable, JSON.stringify(Object.keys(change)))
  }
  for (const other of ['0x1234', 'hello', '', serializeTransaction(asked), `${raw}00`, `0x${'02'.repeat(9_000)}`]) {
    await t.rejects(wallet.readSigned(other), unreadable, other.slice(0, 20))
  }
  t.match(await wallet.broadcast([{ raw: await member.signTransaction({ ...asked, gas: gas + 1n }) }]), [
    { kind: 'refused', code: 'nonce_used' },
  ])

  await barOnTestToken(anvil.client, to, true)
  await t.rejects(wallet.unsigned(member.address, to, DOLLAR), { code: 'transfer_refused' })
})

t.test('a signer that gives back anything else is found out, and nothing of it is sent', async (t) => {
  const { endpoints, account, signer } = await evmWorld(t)
  const tampered = (
    change: (asked: TransactionSerializableEIP1559) => TransactionSerializableEIP1559,
    by = account,
  ) => {
    const sign: Signer['sign'] = (requests) =>
      Promise.all(
        requests.map(({ unsigned }) =>
          by.signTransaction(change(parseTransaction(unsigned as TransactionSerializedEIP1559))),
        ),
      )
    return openEvmWallet({ endpoints, signer: { address: signer.address, sign }, name: WALLET, token: USDT })
  }
  const mismatch = { code: 'signer_mismatch' }
  for (const change of [
    { nonce: 9 },
    { value: 1n },
    { to: newAddress() },
    { gas: 1n },
    { chainId: 1 },
    { data: '0x' },
  ]) {
    const wallet = await tampered((asked) => ({ ...asked, ...change }) as TransactionSerializableEIP1559)
    await t.rejects(wallet.sign([payment(0)]), mismatch, Object.keys(change)[0] ?? '')
  }
  await t.rejects((await tampered((asked) => asked, newAccount())).sign([payment(0)]), mismatch, 'another key')
  const nothing = { address: signer.address, sign: async () => ['0x02'] }
  const wallet = await openEvmWallet({ endpoints, signer: nothing, name: WALLET, token: USDT })
  await t.rejects(wallet.sign([payment(0)]), mismatch, 'no transaction')
})

t.test('a published key is refused on any chain but a local one; so is a token with other decimals', async (t) => {
  const published = '0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266'
  for (const chainId of [1, 137, 80_002]) t.throws(() => assertNotDevKey(chainId, published), { code: 'dev_key' })
  assertNotDevKey(31_337, published)
  assertNotDevKey(137, newAddress())
  const endpoints = new Endpoints({ urls: ['http://127.0.0.1:9'], chainId: 137 })
  const signer = { address: async () => published, sign: async () => [] }
  await t.rejects(openEvmWallet({ endpoints, signer, name: WALLET, token: USDT }), { code: 'dev_key' })

  const world = await evmWorld(t)
  const wrong = { endpoints: world.endpoints, signer: world.signer, name: WALLET }
  const eighteen = await openEvmWallet({ ...wrong, token: { ...USDT, decimals: 18 } })
  await t.rejects(eighteen.sign([payment(0)]), { code: 'wrong_decimals' })
  const nobody = await openEvmWallet({ ...wrong, token: { ...USDT, address: newAddress() } })
  await t.rejects(nobody.sign([payment(0)]), { code: 'wrong_decimals' })
})

t.test('a local chain is the same after a restart, and its payments can still be judged', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'comptroller-anvil-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const stateFile = join(folder, 'chain', 'state.json')
  const account = newAccount()
  const begin = async () => {
    const anvil = await startAnvil({ stateFile, blocks: 'demand' })
    const endpoints = new Endpoints({ urls: [anvil.url], chainId: anvil.chainId })
    await ensureTestToken(anvil.client)
    const wallet = await openEvmWallet({
      endpoints,
      signer: localSigner({ [WALLET]: account }),
      name: WALLET,
      token: USDT,
    })
    return { anvil, wallet }
  }
  const before = await begin()
  await mintTestToken(before.anvil.client, account.address, DOLLAR)
  await before.anvil.client.setBalance({ address: account.address, value: 10n ** 18n })
  const transfers = await signed(before.wallet, [payment(0)])
  await before.wallet.broadcast(transactionsOf(transfers))
  await before.anvil.client.mine({ blocks: 1 })
  await before.anvil.stop()

  const after = await begin()
  t.teardown(() => after.anvil.stop())
  t.match(await after.wallet.observe(transfers), [{ kind: 'final', ok: true }])
  t.same(await after.wallet.nonces(), { mined: 1, final: 1 })
  const another = await startAnvil({ stateFile })
  t.teardown(() => another.stop())
  t.match(await after.anvil.exited, /ended/, 'two never write one state file')
})

t.test('a local chain does not outlive a process that is killed', async (t) => {
  const load = JSON.stringify(new URL('../chain/dev/anvil.js', import.meta.url).href)
  const code = `const { startAnvil } = await import(${load}); console.log((await startAnvil()).pid); await new Promise(() => {})`
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
  const pid = Number(await firstLine<number>(child))
  t.ok(isAlive(pid))
  child.kill('SIGKILL')
  t.ok(await goneWithin(pid, 10_000))
})

t.test('a damaged state file is named, and nothing is left running', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'comptroller-anvil-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const stateFile = join(folder, 'state.json')
  await writeFile(stateFile, '{"torn')
  await t.rejects(startAnvil({ stateFile }), { code: 'anvil_failed', message: /move .*state\.json away/ })
})

t.test('a local chain makes blocks while a payment waits to be final, and rests then', async (t) => {
  const world = await evmWorld(t, { blocks: { whileBusyEveryMs: 5 } })
  const transfers = await signed(world.wallet, [payment(0)])
  await world.wallet.broadcast(transactionsOf(transfers))
  for (let final = false; !final; ) final = (await world.wallet.observe(transfers))[0]?.kind === 'final'
  const { number } = await world.anvil.client.getBlock({ blockHash: (await minedIn(world, transfers)) as Hex })
  for (let height = 0n; height < number + 16n; ) height = await world.anvil.client.getBlockNumber()
  t.equal(await world.anvil.client.getBlockNumber(), number + 16n)
})

async function minedIn({ wallet }: EvmWorld, transfers: readonly OpenTransfer[]): Promise<string> {
  const [observation] = await wallet.observe(transfers)
  return observation?.kind === 'final' ? observation.block.hash : ''
}
