/** The same on the local Solana chain (the real VM behind JSON-RPC, a slot every 400 ms): measured until in a block. */
import { setTimeout as sleep } from 'node:timers/promises'
import { createTransferCheckedInstruction, getAssociatedTokenAddressSync } from '@solana/spl-token'
import { Connection, PublicKey, Transaction } from '@solana/web3.js'
import type { OpenTransfer } from '../../chain/chain.js'
import { type SolanaDev, startSolanaDev } from '../../chain/dev/solana-dev.js'
import { newPayer, type Payer, someone } from '../../test/support/solana.js'
import { POLL_MS, timed, type Way } from './evm-ways.js'

const SLOT_MS = 400
const DECIMALS = 6
const DOLLAR = 1_000_000n
const FUNDS = 1_000_000n * DOLLAR
const MINED_WITHIN_MS = 120_000
const SETTLING_SLOTS = 40

export class SolanaGround {
  private constructor(
    readonly chain: SolanaDev,
    readonly mint: string,
  ) {}

  static async open(): Promise<SolanaGround> {
    const chain = await startSolanaDev({ slotMs: SLOT_MS })
    const mint = await chain.createMint('usdt', DECIMALS)
    await chain.advance(SETTLING_SLOTS)
    return new SolanaGround(chain, mint)
  }

  /** Payees have their token accounts already, so that it is one instruction. */
  async sendWaitRepeat(): Promise<Way> {
    const { signer } = await this.#payer()
    const connection = new Connection(this.chain.url, 'confirmed')
    const mint = new PublicKey(this.mint)
    const pay = async (to: string) => {
      const accounts = [signer.key.publicKey, new PublicKey(to)].map((owner) =>
        getAssociatedTokenAddressSync(mint, owner),
      )
      const [source = mint, target = mint] = accounts
      const { blockhash } = await connection.getLatestBlockhash()
      const transaction = new Transaction({ feePayer: signer.key.publicKey, blockhash, lastValidBlockHeight: 0 }).add(
        createTransferCheckedInstruction(source, mint, target, signer.key.publicKey, DOLLAR, DECIMALS),
      )
      transaction.sign(signer.key)
      const signature = await connection.sendRawTransaction(transaction.serialize())
      await until(async () => {
        const { value } = await connection.getSignatureStatuses([signature])
        return value[0]?.confirmationStatus === 'confirmed' || value[0]?.confirmationStatus === 'finalized'
      })
    }
    return async (payouts) => {
      const payees = await this.#payees(payouts)
      return timed(async () => {
        for (const to of payees) await pay(to)
      })
    }
  }

  async pipelined(): Promise<Way> {
    const { wallet } = await this.#payer()
    let made = 0
    return async (payouts) => {
      const transfers = (await this.#payees(payouts)).map((to) => ({
        payoutId: `pipelined-${made++}`,
        to,
        amount: DOLLAR,
        nonce: null,
      }))
      return timed(async () => {
        const signed = await wallet.sign(transfers)
        await wallet.broadcast(signed)
        let open: OpenTransfer[] = transfers.map((transfer, index) => ({
          ...transfer,
          signed: signed.slice(index, index + 1),
        }))
        await until(async () => {
          const seen = await wallet.observe(open)
          open = open.filter((_, index) => seen[index]?.kind !== 'mined' && seen[index]?.kind !== 'final')
          return open.length === 0
        })
      })
    }
  }

  close(): Promise<void> {
    return this.chain.stop()
  }

  #payer(): Promise<Payer> {
    return newPayer(this.chain, { mint: this.mint, tokens: FUNDS })
  }

  async #payees(count: number): Promise<string[]> {
    const payees = Array.from({ length: count }, someone)
    for (const payee of payees) await this.chain.mintTo(this.mint, payee, 1n)
    return payees
  }
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + MINED_WITHIN_MS
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(`not within ${MINED_WITHIN_MS} ms`)
    await sleep(POLL_MS)
  }
}
