// The local EVM chain as the suite of payouts sees it.
import { type Address, getAddress, type Hex, parseEther } from 'viem'
import { generatePrivateKey, privateKeyToAccount, sign } from 'viem/accounts'
import { deployBatchPayout, mintTestToken, TEST_TOKEN } from '../../chain/dev/evm-token.js'
import { EvmBatchPayer } from '../../chain/evm/batch.js'
import { transferData } from '../../chain/evm/transactions.js'
import { openEvmWallet } from '../../chain/evm/wallet.js'
import { type EvmWorld, newAddress, USDT } from './evm.js'
import type { ChainFaults } from './payout-suite.js'
import type { ChainBench } from './payouts.js'

const BLOCKS_AT_ONCE = 4

/** `endpoints` are those of the proxies unless others are given. */
export function evmBench(evm: EvmWorld, endpoints = evm.endpoints) {
  const { client, chainId } = evm.anvil
  const secrets = new Map<string, Hex>()

  /** Signs, with the key of a wallet, what its signer never saw. */
  async function foreign(from: string, nonce: number, to: Address, amount: bigint): Promise<Hex> {
    const account = privateKeyToAccount(secrets.get(from) ?? '0x')
    const fees = { maxFeePerGas: parseEther('0.000001'), maxPriorityFeePerGas: parseEther('0.00000001') }
    const call = { to: TEST_TOKEN, data: transferData(to, amount), gas: 100_000n }
    return account.signTransaction({ type: 'eip1559', chainId, nonce, ...call, ...fees })
  }

  const bench: ChainBench = {
    name: 'evm',
    local: { chain: `eip155:${chainId}`, asset: USDT },
    newKey() {
      const privateKey = generatePrivateKey()
      const { address } = privateKeyToAccount(privateKey)
      secrets.set(address, privateKey)
      return {
        kind: 'evm',
        address,
        async signDigest(digest) {
          const { r, s, yParity } = await sign({ hash: `0x${Buffer.from(digest).toString('hex')}`, privateKey })
          return { r: BigInt(r), s: BigInt(s), yParity: yParity === 1 ? 1 : 0 }
        },
      }
    },
    openWallet: (signer) => openEvmWallet({ endpoints, signer, name: 'member', token: USDT }),
    deployBatch: (address) => deployBatchPayout(client, getAddress(address)),
    openPayer: (signer, address, contract) =>
      new EvmBatchPayer({ endpoints, signer, name: 'member', address, token: TEST_TOKEN, contract }),
    give: (address, amount) => mintTestToken(client, getAddress(address), amount),
    giveGas: (address) => client.setBalance({ address: getAddress(address), value: parseEther('10') }),
    advance: () => client.mine({ blocks: BLOCKS_AT_ONCE }),
    balanceOf: evm.balanceOf,
    newPayee: newAddress,
  }

  const faults: ChainFaults = {
    loseAnswersToSending: (times) => {
      for (const node of evm.nodes) node.dropAnswers('eth_sendRawTransaction', 'cut', times)
    },
    setDown: (isDown) => {
      for (const node of evm.nodes) node.setDown(isDown)
    },
    async steal(from, to, amount) {
      const nonce = await client.getTransactionCount({ address: getAddress(from) })
      const serializedTransaction = await foreign(from, nonce, getAddress(to), amount)
      await client.sendRawTransaction({ serializedTransaction })
      await client.mine({ blocks: 1 })
    },
  }
  return { bench, faults, foreign }
}
