// The local Solana chain as the suite of payouts sees it.
import { createPrivateKey, sign } from 'node:crypto'
import { createTransferCheckedInstruction, getAssociatedTokenAddressSync } from '@solana/spl-token'
import { Connection, Keypair, PublicKey, Transaction } from '@solana/web3.js'
import { startSolanaDev } from '../../chain/dev/solana-dev.js'
import { tokenAsset } from '../../chain/solana/asset.js'
import { SolanaWallet } from '../../chain/solana/wallet.js'
import type { ChainFaults } from './payout-suite.js'
import type { ChainBench } from './payouts.js'
import type { TestScope } from './server.js'
import { type FaultyNode, faultyNode, hangUp, loseAnswer, SOL, someone, tokensOf } from './solana.js'

const SLOTS_AT_ONCE = 12
const DECIMALS = 6

/** With no `nodes` before it, the chain itself is asked. */
export async function solanaBench(t: TestScope, nodes = 1) {
  const chain = await startSolanaDev({ slotMs: 0 })
  t.teardown(() => chain.stop())
  const mint = await chain.createMint('usdt', DECIMALS)
  await chain.advance(33)
  const proxies: FaultyNode[] = []
  for (let node = 0; node < nodes; node++) proxies.push(await faultyNode(chain.url))
  t.teardown(async () => void (await Promise.all(proxies.map((proxy) => proxy.close()))))
  const secrets = new Map<string, Keypair>()

  const bench: ChainBench = {
    name: 'solana',
    local: { chain: 'solana:local', asset: { symbol: 'USDT', decimals: DECIMALS, address: mint } },
    newKey() {
      const pair = Keypair.generate()
      const address = pair.publicKey.toBase58()
      secrets.set(address, pair)
      const part = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64url')
      const jwk = {
        kty: 'OKP',
        crv: 'Ed25519',
        d: part(pair.secretKey.slice(0, 32)),
        x: part(pair.publicKey.toBytes()),
      }
      const key = createPrivateKey({ key: jwk, format: 'jwk' })
      return { kind: 'solana', address, signMessage: async (message) => sign(null, message, key) }
    },
    openWallet: (signer) =>
      SolanaWallet.connect({
        ...{
          wallet: 'member',
          signer,
          chain: 'solana:local',
          urls: nodes === 0 ? [chain.url] : proxies.map(({ url }) => url),
        },
        ...{ asset: tokenAsset(bench.local.asset), isDevelopmentKey: true, restMaxMs: 20, timeoutMs: 1_000 },
      }),
    give: async (address, amount) => void (await chain.mintTo(mint, address, amount)),
    giveGas: async (address) => void (await chain.airdrop(address, 10n * SOL)),
    advance: () => chain.advance(SLOTS_AT_ONCE),
    balanceOf: (address) => tokensOf(chain, mint, address),
    newPayee: someone,
  }

  const faults: ChainFaults = {
    loseAnswersToSending(times) {
      let left = times
      for (const { faults } of proxies) {
        faults.set('sendTransaction', (call, forward) => (left-- > 0 ? loseAnswer(call, forward) : forward()))
      }
    },
    setDown: (isDown) => {
      for (const { faults } of proxies) {
        if (isDown) faults.set('*', hangUp)
        else faults.clear()
      }
    },
    async steal(from, to, amount) {
      const pair = secrets.get(from) ?? Keypair.generate()
      const key = new PublicKey(mint)
      await chain.mintTo(mint, to, 1n)
      const accounts = [pair.publicKey, new PublicKey(to)].map((owner) => getAssociatedTokenAddressSync(key, owner))
      const [source = key, target = key] = accounts
      const connection = new Connection(chain.url)
      const transaction = new Transaction().add(
        createTransferCheckedInstruction(source, key, target, pair.publicKey, amount, DECIMALS),
      )
      transaction.feePayer = pair.publicKey
      transaction.recentBlockhash = (await connection.getLatestBlockhash()).blockhash
      transaction.sign(pair)
      await connection.sendRawTransaction(transaction.serialize())
    },
  }
  return { bench, faults, chain, proxies, mint }
}
