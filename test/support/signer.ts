// A signer with three wallets in a folder of its own, and whoever wants it to sign something.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  createAssociatedTokenAccountIdempotentInstruction,
  createTransferCheckedInstruction,
  getAssociatedTokenAddressSync,
} from '@solana/spl-token'
import {
  ComputeBudgetProgram,
  Keypair,
  MessageV0,
  PublicKey,
  SystemProgram,
  type TransactionInstruction,
} from '@solana/web3.js'
import pino from 'pino'
import {
  type Address,
  encodeFunctionData,
  erc20Abi,
  type Hex,
  serializeTransaction,
  type TransactionSerializable,
} from 'viem'
import type { KeyProvider, SigningKey } from '../../chain/keys/key-provider.js'
import { Keystore } from '../../chain/keys/keystore.js'
import { parsePolicy, type SignerPolicy } from '../../chain/signer/policy.js'
import { SignerService } from '../../chain/signer/service.js'
import type { SigningRequest } from '../../chain/signer/signer.js'
import { MEMO_PROGRAM_ID } from '../../chain/solana/asset.js'
import { lockSigner } from '../../signer-lock.js'

export interface Scope {
  teardown(handler: () => Promise<unknown>): unknown
}

export const token: Address = '0xc2132D05D31c914a87C6611C10748AEb04B58e8F'
export const mint = new PublicKey('Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB')
export const alice: Address = '0x8ba1f109551bD432803012645Ac136ddd64DBA72'
export const bob: Address = '0x70997970C51812dc3A010C7d01b50e0d17dc79C8'
export const carol = Keypair.fromSeed(new Uint8Array(32).fill(7)).publicKey
export const dave = Keypair.fromSeed(new Uint8Array(32).fill(8)).publicKey
export const silent = pino({ level: 'silent' })

export const NOON = Date.UTC(2026, 10, 21, 12)
export const limits = { payout: '10000', destination_day: '15000', hour: '30000', day: '50000' }
const local = { limits, signatures_max: 3 }
export const policyJson = {
  wallets: {
    member: { ...local, chain: 'eip155:137', key: 'member', asset: { token }, fee_max: '10000000000000000' },
    coin: { ...local, chain: 'eip155:137', key: 'coin', asset: 'native', fee_max: '10000000000000000' },
    spl: {
      ...local,
      chain: 'solana:mainnet',
      key: 'spl',
      asset: { mint: mint.toBase58(), decimals: 6 },
      fee_max: '10000',
      resign_after_ms: 45_000,
    },
    sol: { ...local, chain: 'solana:mainnet', key: 'sol', asset: 'native', fee_max: '10000', resign_after_ms: 0 },
  },
}
const kinds = { member: 'evm', coin: 'evm', spl: 'solana', sol: 'solana' } as const
export type TestWallet = keyof typeof kinds

/** The policy above, without the providers that the keystore alone does not need. */
export const policy = new Map(
  [
    ...parsePolicy(
      {
        wallets: Object.fromEntries(
          Object.entries(policyJson.wallets).map(([name, wallet]) => [name, { ...wallet, key: `keystore:${name}` }]),
        ),
      },
      'test',
    ),
  ].map(([name, wallet]) => [name, { ...wallet, key: name }]),
)

export async function temporaryFolder(t: Scope): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'comptroller-signer-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** A signer whose clock the test turns. */
export class SignerBench {
  clock = NOON
  readonly #services: SignerService[] = []

  private constructor(
    readonly folder: string,
    readonly keys: Keystore,
    readonly addresses: Readonly<Record<TestWallet, string>>,
  ) {}

  static async create(t: Scope): Promise<SignerBench> {
    const folder = await temporaryFolder(t)
    const password = { secret: Buffer.from('a password of tests'), isGenerated: true }
    const keys = new Keystore({ directory: join(folder, 'keys'), password })
    const addresses: Partial<Record<TestWallet, string>> = {}
    for (const [name, kind] of Object.entries(kinds) as [TestWallet, SigningKey['kind']][]) {
      addresses[name] = (await keys.create(name, kind)).address
    }
    const bench = new SignerBench(folder, keys, addresses as Record<TestWallet, string>)
    t.teardown(async () => {
      await Promise.all(bench.#services.map((service) => service.close().catch(() => {})))
      await keys.close()
    })
    return bench
  }

  /** Of its log, lock and stop switch. */
  get directory(): string {
    return join(this.folder, 'signer')
  }

  get logFile(): string {
    return join(this.directory, 'signatures.log')
  }

  async open({
    keys = this.keys,
    policy: rules = policy,
  }: {
    readonly keys?: KeyProvider
    readonly policy?: SignerPolicy
  } = {}): Promise<SignerService> {
    const service = await SignerService.open({
      directory: this.directory,
      policy: rules,
      keys,
      log: silent,
      lock: lockSigner,
      now: () => this.clock,
    })
    this.#services.push(service)
    return service
  }

  /** A payout of tokens on EVM, honest unless `forged` says otherwise. */
  evm(payoutId: string, nonce: number, asked: Partial<SigningRequest> = {}, forged: Forged = {}): SigningRequest {
    const request = { wallet: 'member', payoutId, to: alice, amount: 100n, ...asked }
    const isToken = request.wallet === 'member'
    const data = encodeFunctionData({
      abi: erc20Abi,
      functionName: 'transfer',
      args: [request.to as Address, request.amount],
    })
    const plain = isToken
      ? { to: token, data: `${data}${forged.tail ?? ''}` as Hex }
      : { to: request.to as Address, value: request.amount }
    const { tail: _, ...fields } = forged
    const unsigned = serializeTransaction({
      type: 'eip1559',
      chainId: 137,
      nonce,
      gas: 80_000n,
      maxFeePerGas: 60_000_000_000n,
      maxPriorityFeePerGas: 30_000_000_000n,
      ...plain,
      ...fields,
    } as TransactionSerializable)
    return { ...request, unsigned }
  }

  /** A payout of SPL tokens; `change` gets the instructions to forge them. */
  spl(
    payoutId: string,
    asked: Partial<SigningRequest> & { readonly blockhash?: string } = {},
    change: (instructions: TransactionInstruction[], wallet: PublicKey) => TransactionInstruction[] = (same) => same,
  ): SigningRequest {
    const { blockhash = '11111111111111111111111111111112', ...rest } = asked
    const request = { wallet: 'spl', payoutId, to: carol.toBase58(), amount: 100n, ...rest }
    const wallet = new PublicKey(this.addresses[request.wallet as TestWallet])
    const payee = new PublicKey(request.to)
    const instructions = [
      ComputeBudgetProgram.setComputeUnitLimit({ units: 60_000 }),
      ComputeBudgetProgram.setComputeUnitPrice({ microLamports: 50_000 }),
      ...(request.wallet === 'spl'
        ? tokenTransfer(wallet, payee, request.amount)
        : [SystemProgram.transfer({ fromPubkey: wallet, toPubkey: payee, lamports: request.amount })]),
      memo(payoutId),
    ]
    return { ...request, unsigned: toMessage(wallet, change(instructions, wallet), blockhash) }
  }
}

/** Fields of the transaction, and what follows the call. */
type Forged = Readonly<Record<string, unknown>> & { readonly tail?: string }

export const tokenAccount = (owner: PublicKey, ofMint = mint) => getAssociatedTokenAddressSync(ofMint, owner, true)

export function tokenTransfer(wallet: PublicKey, payee: PublicKey, amount: bigint): TransactionInstruction[] {
  const to = tokenAccount(payee)
  return [
    createAssociatedTokenAccountIdempotentInstruction(wallet, to, payee, mint),
    createTransferCheckedInstruction(tokenAccount(wallet), mint, to, wallet, amount, 6),
  ]
}

export const memo = (text: string): TransactionInstruction =>
  ({ programId: MEMO_PROGRAM_ID, keys: [], data: Buffer.from(text) }) as TransactionInstruction

export function toMessage(payer: PublicKey, instructions: TransactionInstruction[], blockhash: string): string {
  const message = MessageV0.compile({ payerKey: payer, instructions, recentBlockhash: blockhash })
  return Buffer.from(message.serialize()).toString('base64')
}
