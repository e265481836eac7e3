/** The test token on a local chain, and money for wallets there. */
import { type Address, concat, encodeDeployData, encodeFunctionData, getContractAddress, type Hex } from 'viem'
import { DomainError } from '../../engine/errors.js'
import { compiledContracts, testTokenAbi } from '../evm/contracts.js'
import type { AnvilClient } from './anvil.js'

/** The first account of anvil. It deploys and mints; anvil signs for it. */
const DEPLOYER: Address = '0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266'
/** Anvil brings it along; it makes a contract at an address that follows from salt and code. */
const CREATE2_DEPLOYER: Address = '0x4e59b44847b379578588920cA78FbF26c0B4956C'
const SALT: Hex = `0x${'0'.repeat(64)}`
/** Made by the first transaction of the deployer, so it is the same on every local chain. */
export const TEST_TOKEN: Address = getContractAddress({ from: DEPLOYER, nonce: 0n })
export const TEST_TOKEN_DECIMALS = 6

/** Deploys the test token unless it is there. Call it before anything else is sent from the first account. */
export async function ensureTestToken(client: AnvilClient): Promise<Address> {
  if ((await client.getCode({ address: TEST_TOKEN })) !== undefined) return TEST_TOKEN
  const { abi, bytecode } = compiledContracts().contracts.TestUSDT
  await sendAndMine(client, { from: DEPLOYER, data: encodeDeployData({ abi, bytecode, args: [] }) })
  if ((await client.getCode({ address: TEST_TOKEN })) !== undefined) return TEST_TOKEN
  const message = `the first account of this chain was used before, so the token is not at ${TEST_TOKEN}: begin a new chain`
  throw new DomainError('unavailable', 'test_token_missing', message)
}

/** Deploys a batch contract that pays the test token out of a wallet, unless it is there: each wallet's has its place. */
export async function deployBatchPayout(client: AnvilClient, owner: Address): Promise<Address> {
  const { abi, bytecode: code } = compiledContracts().contracts.BatchPayout
  const bytecode = encodeDeployData({ abi, bytecode: code, args: [TEST_TOKEN, owner] })
  const address = getContractAddress({ opcode: 'CREATE2', from: CREATE2_DEPLOYER, salt: SALT, bytecode })
  if ((await client.getCode({ address })) !== undefined) return address
  await sendAndMine(client, { from: DEPLOYER, to: CREATE2_DEPLOYER, data: concat([SALT, bytecode]) })
  return address
}

/** Mints test tokens, in minor units. */
export const mintTestToken = (client: AnvilClient, to: Address, amount: bigint): Promise<void> =>
  callToken(client, encodeFunctionData({ abi: testTokenAbi, functionName: 'mint', args: [to, amount] }))

/** Makes transfers to (and from) an address revert, or work again. */
export const barOnTestToken = (client: AnvilClient, user: Address, barred: boolean): Promise<void> => {
  const functionName = barred ? 'addBlackList' : 'removeBlackList'
  return callToken(client, encodeFunctionData({ abi: testTokenAbi, functionName, args: [user] }))
}

const callToken = (client: AnvilClient, data: Hex) => sendAndMine(client, { from: DEPLOYER, to: TEST_TOKEN, data })

/** Sends from an account that anvil signs for, and makes a block unless anvil has made it. */
export async function sendAndMine(
  client: AnvilClient,
  transaction: { readonly from: Address; readonly to?: Address; readonly data: Hex },
): Promise<void> {
  const { from: account, to, data } = transaction
  const hash = await client.sendTransaction({ account, data, ...(to === undefined ? {} : { to }) })
  const receipt = await client.getTransactionReceipt({ hash }).catch(() => undefined)
  if (receipt === undefined) await client.mine({ blocks: 1 })
  const { status } = await client.getTransactionReceipt({ hash })
  if (status === 'success') return
  throw new DomainError('unavailable', 'test_transaction_failed', `transaction ${hash} of the local chain was reverted`)
}
