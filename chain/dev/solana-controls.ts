/** What a test can do to the local Solana chain, and the coins and tokens it makes. */
import {
  createAssociatedTokenAccountIdempotentInstruction,
  createInitializeMint2Instruction,
  createMintToInstruction,
  getAssociatedTokenAddressSync,
  MINT_SIZE,
  TOKEN_PROGRAM_ID,
} from '@solana/spl-token'
import {
  ComputeBudgetProgram,
  type Keypair,
  PublicKey,
  SystemProgram,
  Transaction,
  type TransactionInstruction,
} from '@solana/web3.js'
import { keypairFrom, readTransaction, type SolanaChain } from './solana-chain.js'
import { type RpcMethods, text } from './solana-params.js'

export interface Controls {
  /** Transactions that will be accepted and then lost. */
  dropsLeft: number
  isHistoryHidden: boolean
  /** In micro-lamports for a compute unit, as every recent slot charged. */
  prioritizationFee: number
}

export const newControls = (): Controls => ({ dropsLeft: 0, isHistoryHidden: false, prioritizationFee: 0 })

export function controlMethods(chain: SolanaChain, controls: Controls): RpcMethods {
  return {
    requestAirdrop: (params) => airdrop(chain, text(params, 0), Number(params[1])),
    dev_createMint: (params) => createMint(chain, text(params, 0), Number(params[1])),
    dev_mintTo: (params) => mintTo(chain, text(params, 0), text(params, 1), BigInt(text(params, 2))),
    dev_advance(params) {
      chain.advance(Number(params[0]))
      return chain.slots.current
    },
    dev_rollback(params) {
      chain.rollback(Number(params[0]))
      return chain.slots.current
    },
    dev_dropNext(params) {
      controls.dropsLeft = Number(params[0])
    },
    dev_hideHistory(params) {
      controls.isHistoryHidden = params[0] === true
    },
    dev_forgetHistory: () => chain.forgetBefore(chain.slots.at('finalized')),
    dev_setPrioritizationFee(params) {
      controls.prioritizationFee = Number(params[0])
    },
  }
}

/** Makes two transactions that do the same differ. */
let distinction = 0

function airdrop(chain: SolanaChain, owner: string, lamports: number): string {
  const { publicKey } = chain.faucet
  return pay(chain, [SystemProgram.transfer({ fromPubkey: publicKey, toPubkey: new PublicKey(owner), lamports })])
}

/** The mint of that name, made when it is missing; returns its address. */
function createMint(chain: SolanaChain, name: string, decimals: number): string {
  const mint = keypairFrom(`mint ${name}`, chain.slots.genesisHash)
  const key = mint.publicKey.toBase58()
  if (chain.account(key, chain.slots.current)) return key
  const { publicKey } = chain.faucet
  const space = { space: MINT_SIZE, lamports: chain.rent(MINT_SIZE), programId: TOKEN_PROGRAM_ID }
  pay(
    chain,
    [
      SystemProgram.createAccount({ fromPubkey: publicKey, newAccountPubkey: mint.publicKey, ...space }),
      createInitializeMint2Instruction(mint.publicKey, decimals, publicKey, null),
    ],
    mint,
  )
  return key
}

/** New tokens for an owner, whose token account is made when it is missing; returns the signature. */
function mintTo(chain: SolanaChain, mint: string, owner: string, amount: bigint): string {
  const { publicKey } = chain.faucet
  const mintKey = new PublicKey(mint)
  const ownerKey = new PublicKey(owner)
  const account = getAssociatedTokenAddressSync(mintKey, ownerKey, true)
  return pay(chain, [
    createAssociatedTokenAccountIdempotentInstruction(publicKey, account, ownerKey, mintKey),
    createMintToInstruction(mintKey, account, publicKey, amount),
  ])
}

function pay(chain: SolanaChain, instructions: readonly TransactionInstruction[], ...signers: Keypair[]): string {
  const { faucet, slots } = chain
  distinction += 1
  const transaction = new Transaction({ feePayer: faucet.publicKey, recentBlockhash: slots.hashOf(slots.current) })
  transaction.add(ComputeBudgetProgram.setComputeUnitPrice({ microLamports: distinction }), ...instructions)
  transaction.sign(faucet, ...signers)
  const execution = chain.execute(readTransaction(transaction.serialize()))
  if (execution.kind === 'landed' && !execution.transaction.error) return execution.transaction.signature
  const why = execution.kind === 'landed' ? execution.transaction.error : execution.error
  throw new Error(`The faucet of the local Solana chain could not pay: ${JSON.stringify(why)}`)
}
