/** The contracts we bring: compiled ones for deploying, and the few functions and events we call and read. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Abi, type Hex, keccak256, parseAbi, stringToBytes } from 'viem'

/** Seen from dist/. */
export const contractsFolder = fileURLToPath(new URL('../../../chain/evm/contracts', import.meta.url))

export interface CompiledContract {
  readonly abi: Abi
  readonly bytecode: Hex
}

interface CompiledFile {
  readonly sources: string
  readonly contracts: Readonly<Record<'TestUSDT' | 'BatchPayout', CompiledContract>>
}

/** What `scripts/compile-contracts.mjs` wrote. */
export function compiledContracts(): CompiledFile {
  return JSON.parse(readFileSync(`${contractsFolder}/contracts.json`, 'utf8'))
}

/** Without return values, because real tokens disagree about them (Tether returns nothing). */
export const tokenAbi = parseAbi([
  'function transfer(address to, uint256 value)',
  'function approve(address spender, uint256 value)',
  'function decimals() view returns (uint8)',
  'function balanceOf(address owner) view returns (uint256)',
  'event Transfer(address indexed from, address indexed to, uint256 value)',
])

/** What only the test token has. */
export const testTokenAbi = parseAbi([
  'function mint(address to, uint256 value)',
  'function addBlackList(address user)',
  'function removeBlackList(address user)',
])

/** How a payout is called in the batch contract. */
export const batchIdOf = (payoutId: string): Hex => keccak256(stringToBytes(payoutId))

export const batchPayoutAbi = parseAbi([
  'struct Payment { bytes32 id; address to; uint256 amount; }',
  'function pay(Payment[] payments)',
  'function owner() view returns (address)',
  'function token() view returns (address)',
  'event Payout(bytes32 indexed id, address indexed to, uint256 amount, uint8 outcome)',
])
