// Solana nodes that fail and lie, a signer with one key, and wallets that pay through them on the real VM.
import { createPrivateKey, sign } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { AccountLayout, getAssociatedTokenAddressSync } from '@solana/spl-token'
import { Connection, Keypair, PublicKey } from '@solana/web3.js'
import type { Broadcast, Observation, OpenTransfer, SignedTransaction } from '../../chain/chain.js'
import type { SolanaDev } from '../../chain/dev/solana-dev.js'
import type { Signer, SigningRequest } from '../../chain/signer/signer.js'
import { sol, tokenAsset } from '../../chain/solana/asset.js'
import type { Disagreement } from '../../chain/solana/endpoints.js'
import { SolanaWallet, type SolanaWalletOptions } from '../../chain/solana/wallet.js'
import { assert } from '../../engine/assert.js'

export interface RpcCall {
  readonly jsonrpc: string
  readonly id: unknown
  readonly method: string
  readonly params?: readonly unknown[]
}

export interface RpcReply {
  readonly jsonrpc: string
  readonly id: unknown
  readonly result?: unknown
  readonly error?: { readonly code: number; readonly message: string; readonly data?: unknown }
}

/** What a node does with a call: an answer of its own, the true one, or none at all. */
export type Fault = (call: RpcCall, forward: () => Promise<RpcReply>) => Promise<RpcReply | 'hang_up'>

export const hangUp: Fault = async () => 'hang_up'
/** The call is done and the answer never arrives. */
export const loseAnswer: Fault = async (_call, forward) => {
  await forward()
  return 'hang_up'
}
export const answerWith =
  (result: unknown): Fault =>
  async ({ id, jsonrpc }) => ({ jsonrpc, id, result })
/** The true answer, changed. */
export const lieAbout =
  (change: (result: unknown) => unknown): Fault =>
  async (_call, forward) => {
    const reply = await forward()
    return { ...reply, result: change(reply.result) }
  }

/** A node in front of the real one. */
export interface FaultyNode {
  readonly url: string
  /** By method; `*` is every other one. */
  readonly faults: Map<string, Fault>
  /** Methods that were asked for, in their order. */
  readonly asked: string[]
  close(): Promise<void>
}

export async function faultyNode(upstream: string): Promise<FaultyNode> {
  const faults = new Map<string, Fault>()
  const asked: string[] = []
  const forward = async (call: RpcCall): Promise<RpcReply> => {
    const headers = { 'content-type': 'application/json' }
    const response = await fetch(upstream, { method: 'POST', headers, body: JSON.stringify(call) })
    return (await response.json()) as RpcReply
  }
  const answer = (call: RpcCall) => {
    asked.push(call.method)
    const fault = faults.get(call.method) ?? faults.get('*')
    return fault ? fault(call, () => forward(call)) : forward(call)
  }
  const server = createServer((request, response) => {
    void (async () => {
      const body = JSON.parse(await textOf(request)) as RpcCall | RpcCall[]
      const replies = await Promise.all((Array.isArray(body) ? body : [body]).map(answer))
      if (replies.includes('hang_up')) return request.socket.destroy()
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(JSON.stringify(Array.isArray(body) ? replies : replies[0]))
    })().catch(() => request.socket.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    faults,
    asked,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks).toString('utf8')
}

/** Signs whatever it is asked to, with one key. */
export class OneKeySigner implements Signer {
  readonly requests: SigningRequest[] = []
  constructor(readonly key: Keypair = Keypair.generate()) {}

  async address(): Promise<string> {
    return this.key.publicKey.toBase58()
  }

  async sign(requests: readonly SigningRequest[]): Promise<readonly string[]> {
    this.requests.push(...requests)
    return requests.map(({ unsigned }) => signMessage(unsigned, this.key))
  }
}

/** A message in base64 becomes a transaction in base64. */
export function signMessage(message: string, key: Keypair): string {
  const bytes = Buffer.from(message, 'base64')
  const base64 = (part: Uint8Array) => Buffer.from(part).toString('base64url')
  const jwk = { kty: 'OKP', crv: 'Ed25519', d: base64(key.secretKey.slice(0, 32)), x: base64(key.publicKey.toBytes()) }
  const signer = createPrivateKey({ key: jwk, format: 'jwk' })
  return Buffer.concat([Buffer.of(1), sign(null, bytes, signer), bytes]).toString('base64')
}

export interface Payer {
  readonly wallet: SolanaWallet
  readonly signer: OneKeySigner
  readonly disagreements: Disagreement[]
}

export interface PayerOptions
  extends Partial<Pick<SolanaWalletOptions, 'unitPrice' | 'timeoutMs' | 'urls' | 'stuckAfterMs'>> {
  /** Null pays in SOL. */
  readonly mint: string | null
  readonly lamports?: bigint
  readonly tokens?: bigint
}

export const SOL = 1_000_000_000n

/** A wallet of its own with money in it, all of it final. */
export async function newPayer(chain: SolanaDev, options: PayerOptions): Promise<Payer> {
  const { mint, lamports = 10n * SOL, tokens = 1_000_000_000n, urls = [chain.url], ...rest } = options
  const signer = new OneKeySigner()
  const address = await signer.address()
  if (lamports > 0n) await chain.airdrop(address, lamports)
  if (mint !== null && tokens > 0n) await chain.mintTo(mint, address, tokens)
  await finalise(chain)
  const disagreements: Disagreement[] = []
  const wallet = await SolanaWallet.connect({
    wallet: 'member',
    signer,
    chain: 'solana:local',
    urls,
    asset: mint === null ? sol : tokenAsset({ symbol: 'USDT', decimals: 6, address: mint }),
    isDevelopmentKey: true,
    restMaxMs: 20,
    onDisagreement: (disagreement) => disagreements.push(disagreement),
    ...rest,
  })
  return { wallet, signer, disagreements }
}

export const finalise = (chain: SolanaDev) => chain.advance(33)
/** Past the life of every blockhash, and that finally; no node can doubt it. */
export const expire = (chain: SolanaDev) => chain.advance(150 + 32 + 20)

let payouts = 0

/** A payout that was signed and not sent. */
export async function signed(wallet: SolanaWallet, to: string, amount: bigint): Promise<OpenTransfer> {
  payouts += 1
  const transfer = { payoutId: `payout-${payouts}`, to, amount, nonce: null }
  return { ...transfer, signed: await wallet.sign([transfer]) }
}

export async function sent(wallet: SolanaWallet, to: string, amount: bigint): Promise<OpenTransfer> {
  const transfer = await signed(wallet, to, amount)
  const answer = await send(wallet, transfer)
  assert(answer.kind === 'accepted', `the node takes it, instead of ${JSON.stringify(answer)}`)
  return transfer
}

/** Sends the newest bytes of a payout. */
export async function send(wallet: SolanaWallet, transfer: OpenTransfer): Promise<Broadcast> {
  const [answer] = await wallet.broadcast([newest(transfer)])
  assert(answer, 'every transaction is answered for')
  return answer
}

export async function seen(wallet: SolanaWallet, transfer: OpenTransfer): Promise<Observation> {
  const [observation] = await wallet.observe([transfer])
  assert(observation, 'every transfer is observed')
  return observation
}

export function newest({ signed }: OpenTransfer): SignedTransaction {
  const transaction = signed.at(-1)
  assert(transaction, 'the payout was signed')
  return transaction
}

/** The last final slot. */
export const lastFinal = async (wallet: SolanaWallet) => (await wallet.heights()).final

/** The tokens of an owner, as of the newest block. */
export async function tokensOf({ url }: SolanaDev, mint: string, owner: string): Promise<bigint> {
  const account = getAssociatedTokenAddressSync(new PublicKey(mint), new PublicKey(owner))
  const found = await new Connection(url).getAccountInfo(account, 'processed')
  return found ? AccountLayout.decode(found.data).amount : 0n
}

export const someone = () => Keypair.generate().publicKey.toBase58()
