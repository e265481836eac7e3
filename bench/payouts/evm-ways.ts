/** Ways to pay many payees from one wallet on one anvil, each with a wallet of its own, all measured until mined. */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { createWalletClient, getAddress, type Hex, http, parseEther } from 'viem'
import type { PrivateKeyAccount } from 'viem/accounts'
import { type BatchAction, type BatchPayment, type BatchStep, batchActions } from '../../chain/batch-payer.js'
import type { SignedTransaction } from '../../chain/chain.js'
import { type Anvil, type AnvilOptions, startAnvil } from '../../chain/dev/anvil.js'
import { deployBatchPayout, ensureTestToken, mintTestToken, TEST_TOKEN } from '../../chain/dev/evm-token.js'
import { EvmBatchPayer, PAYMENTS_PER_BATCH_MAX } from '../../chain/evm/batch.js'
import { Endpoints } from '../../chain/evm/endpoints.js'
import { transferData } from '../../chain/evm/transactions.js'
import { type EvmWallet, openEvmWallet } from '../../chain/evm/wallet.js'
import type { Signer } from '../../chain/signer/signer.js'
import { DOLLAR, localSigner, newAccount, USDT, WALLET } from '../../test/support/evm.js'

const FUNDS = 1_000_000n * DOLLAR
const GAS_FUNDS = parseEther('1000')
export const POLL_MS = 25
const SEND_AGAIN_MS = 1_000
const MINED_WITHIN_MS = 120_000

/** Pays so many newcomers a dollar each; resolves when all are in a block, with the seconds it took. */
export type Way = (payouts: number) => Promise<number>

/** Seconds that some work takes. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  await work()
  return (performance.now() - startedAt) / 1_000
}

export interface Funded {
  readonly account: PrivateKeyAccount
  readonly signer: Signer
  readonly wallet: EvmWallet
}

export class EvmGround {
  private constructor(
    readonly anvil: Anvil,
    readonly endpoints: Endpoints,
  ) {}

  static async open(blocks: NonNullable<AnvilOptions['blocks']>): Promise<EvmGround> {
    const anvil = await startAnvil({ blocks })
    await ensureTestToken(anvil.client)
    const { url, chainId } = anvil
    return new EvmGround(anvil, new Endpoints({ urls: [url], chainId, confirmations: 2 }))
  }

  /** A wallet with money, whose keys the development signer has. */
  async fund(): Promise<Funded> {
    const account = newAccount()
    await this.anvil.client.setBalance({ address: account.address, value: GAS_FUNDS })
    await mintTestToken(this.anvil.client, account.address, FUNDS)
    const signer = localSigner({ [WALLET]: account })
    const wallet = await openEvmWallet({ endpoints: this.endpoints, signer, name: WALLET, token: USDT })
    return { account, signer, wallet }
  }

  /** The loop that one writes first: send, wait for the receipt, send the next. */
  async sendWaitRepeat(): Promise<Way> {
    const { anvil } = this
    const { account } = await this.fund()
    const client = createWalletClient({ account, chain: anvil.client.chain, transport: http(anvil.url) })
    return (payouts) =>
      timed(async () => {
        for (const to of newcomers(payouts)) {
          const hash = await client.sendTransaction({ to: TEST_TOKEN, data: transferData(to, DOLLAR) })
          await anvil.client.waitForTransactionReceipt({ hash, pollingInterval: POLL_MS })
        }
      })
  }

  /** Signs ahead with nonces of our own, sends in batches, looks for all at once. */
  async pipelined(): Promise<Way> {
    const { wallet } = await this.fund()
    return async (payouts) => {
      const nonce = await this.#mined(wallet)
      const transfers = newcomers(payouts).map((to, index) => ({
        payoutId: `pipelined-${nonce + index}`,
        to,
        amount: DOLLAR,
        nonce: nonce + index,
      }))
      let signed: readonly SignedTransaction[] = []
      const seconds = await timed(async () => {
        signed = await wallet.sign(transfers)
        mustBeTaken(await wallet.broadcast(signed))
        await this.#untilMined(wallet, nonce + payouts, signed)
      })
      const seen = await wallet.observe(
        transfers.map((transfer, index) => ({ ...transfer, signed: signed.slice(index, index + 1) })),
      )
      const paid = seen.filter((each) => (each.kind === 'mined' || each.kind === 'final') && each.ok)
      if (paid.length !== payouts) throw new Error(`${paid.length} of ${payouts} were paid`)
      return seconds
    }
  }

  /** Through the batch contract: an allowance, then many payees in each transaction. */
  async batched(): Promise<Way> {
    const { wallet, signer, account } = await this.fund()
    const contract = await deployBatchPayout(this.anvil.client, account.address)
    const { endpoints } = this
    const payer = new EvmBatchPayer({
      ...{ endpoints, signer, name: WALLET, address: account.address },
      ...{ token: USDT.address, contract },
    })
    return async (payouts) => {
      const nonce = await this.#mined(wallet)
      const payments = newcomers(payouts).map((to, index) => ({
        payoutId: `batched-${nonce}-${index}`,
        to,
        amount: DOLLAR,
      }))
      const seconds = await timed(async () => {
        const steps = stepsOf(payments, nonce)
        const signed = await payer.sign(steps)
        mustBeTaken(await wallet.broadcast(signed))
        await this.#untilMined(wallet, nonce + steps.length, signed)
      })
      const last = payments.at(-1)?.to ?? ''
      if ((await wallet.balanceOf(last)) !== DOLLAR) throw new Error('the last payee was not paid')
      return seconds
    }
  }

  close(): Promise<void> {
    return this.anvil.stop()
  }

  #mined(wallet: EvmWallet): Promise<number> {
    return this.anvil.client.getTransactionCount({ address: wallet.address })
  }

  /** Sends again now and then, as the pipeline does: anvil drops what comes behind one that its block has no room for. */
  async #untilMined(wallet: EvmWallet, nonces: number, signed: readonly SignedTransaction[]): Promise<void> {
    const startedAt = performance.now()
    let sentAt = startedAt
    while ((await this.#mined(wallet)) < nonces) {
      if (performance.now() - startedAt > MINED_WITHIN_MS) throw new Error(`not mined within ${MINED_WITHIN_MS} ms`)
      if (performance.now() - sentAt > SEND_AGAIN_MS) {
        await wallet.broadcast(signed)
        sentAt = performance.now()
      }
      await sleep(POLL_MS)
    }
  }
}

/** Everything it takes to pay these, as many in a transaction as there may be. */
function stepsOf(payments: readonly BatchPayment[], firstNonce: number): BatchStep[] {
  const actions: BatchAction[] = []
  for (let start = 0; start < payments.length; start += PAYMENTS_PER_BATCH_MAX) {
    actions.push(...batchActions(payments.slice(start, start + PAYMENTS_PER_BATCH_MAX)))
  }
  return actions.map((action, index) => ({ id: `step-${firstNonce + index}`, nonce: firstNonce + index, action }))
}

/** Addresses nobody has seen: a token takes more gas for them. */
export const newcomers = (count: number): Hex[] =>
  Array.from({ length: count }, () => getAddress(`0x${randomBytes(20).toString('hex')}`))

function mustBeTaken(answers: readonly { readonly kind: string }[]): void {
  const other = answers.find(({ kind }) => kind !== 'accepted')
  if (other !== undefined) throw new Error(`a payout was sent and not taken: ${JSON.stringify(other)}`)
}
