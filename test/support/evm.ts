// A local EVM chain with a wallet that pays, seen through proxies that fail and lie as real nodes do.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import {
  type Address,
  getAddress,
  type Hex,
  parseGwei,
  parseTransaction,
  type TransactionSerializedEIP1559,
} from 'viem'
import { generatePrivateKey, type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts'
import type { OpenTransfer, SignedTransaction, Transfer } from '../../chain/chain.js'
import { type Anvil, type AnvilOptions, startAnvil } from '../../chain/dev/anvil.js'
import { ensureTestToken, mintTestToken, TEST_TOKEN, TEST_TOKEN_DECIMALS } from '../../chain/dev/evm-token.js'
import { type Disagreement, Endpoints } from '../../chain/evm/endpoints.js'
import type { FeePolicy } from '../../chain/evm/fees.js'
import { transferData } from '../../chain/evm/transactions.js'
import { type EvmWallet, openEvmWallet } from '../../chain/evm/wallet.js'
import type { Signer } from '../../chain/signer/signer.js'
import type { TestScope } from './server.js'

interface RpcCall {
  readonly id: number
  readonly method: string
  readonly params: readonly unknown[]
}

type Lie = (result: unknown, params: readonly unknown[]) => unknown

export interface FaultProxy {
  readonly url: string
  /** The methods of every request it got, oldest first. */
  readonly requests: (readonly string[])[]
  /** Puts something else in place of what the node said to a method; undefined leaves the answer out. */
  lie(method: string, lie: Lie): void
  /** Answers a method with an error; the node never hears of it. */
  refuse(method: string, message: string, code?: number): void
  /** The same for those calls only for which `judge` has a message. */
  judge(method: string, judge: (params: readonly unknown[]) => string | undefined): void
  /** The node gets and does what is asked, and the answer is lost: the next `times` requests with this method. */
  dropAnswers(method: string, how: 'hang' | 'cut', times?: number): void
  /** Cuts every connection at once. */
  setDown(down: boolean): void
  /** Holds every answer back for so long. */
  delay(milliseconds: number): void
  /** Ends all faults. */
  mend(): void
}

/** A proxy before a node. Works on whole HTTP requests, so that a batch is lost as one. */
export async function faultProxy(t: TestScope, target: string): Promise<FaultProxy> {
  const requests: (readonly string[])[] = []
  const lies = new Map<string, Lie>()
  const refusals = new Map<string, (params: readonly unknown[]) => { code: number; message: string } | undefined>()
  const drops = new Map<string, { how: 'hang' | 'cut'; times: number }>()
  let down = false
  let delayMs = 0

  const dropFor = (calls: readonly RpcCall[]) => {
    for (const { method } of calls) {
      const drop = drops.get(method)
      if (drop === undefined || drop.times <= 0) continue
      drop.times -= 1
      return drop.how
    }
    return undefined
  }

  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    const body = await textOf(request)
    if (down) return void request.socket.destroy()
    const parsed: RpcCall | RpcCall[] = JSON.parse(body)
    const calls = Array.isArray(parsed) ? parsed : [parsed]
    requests.push(calls.map(({ method }) => method))
    const refusalOf = ({ method, params }: RpcCall) => refusals.get(method)?.(params)
    const forwarded = calls.filter((call) => refusalOf(call) === undefined)
    const answers = forwarded.length === 0 ? [] : await forward(target, forwarded)
    const drop = dropFor(calls)
    if (drop === 'hang') return
    if (drop === 'cut') return void request.socket.destroy()
    const out = calls.map((call) => {
      const { id, method, params } = call
      const error = refusalOf(call)
      if (error !== undefined) return { jsonrpc: '2.0', id, error }
      const answer = answers.find((candidate) => candidate.id === id)
      const lie = lies.get(method)
      return lie === undefined ? answer : { jsonrpc: '2.0', id, result: lie(answer?.result, params) }
    })
    const sent = out.filter((answer) => answer !== undefined && ('error' in answer || answer.result !== undefined))
    const send = () => {
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify(Array.isArray(parsed) ? sent : sent[0]))
    }
    if (delayMs > 0) setTimeout(send, delayMs)
    else send()
  }
  const server = createServer((request, response) => {
    handle(request, response).catch(() => request.socket.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(async () => {
    server.close()
    server.closeAllConnections()
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('it has no port')
  return {
    url: `http://127.0.0.1:${address.port}`,
    requests,
    lie: (method, lie) => void lies.set(method, lie),
    refuse: (method, message, code = -32_000) => void refusals.set(method, () => ({ code, message })),
    judge: (method, judge) => {
      refusals.set(method, (params) => {
        const message = judge(params)
        return message === undefined ? undefined : { code: -32_000, message }
      })
    },
    dropAnswers: (method, how, times = Number.POSITIVE_INFINITY) => void drops.set(method, { how, times }),
    setDown: (value) => {
      down = value
      if (down) server.closeAllConnections()
    },
    delay: (milliseconds) => {
      delayMs = milliseconds
    },
    mend: () => {
      for (const faults of [lies, refusals, drops]) faults.clear()
      down = false
      delayMs = 0
    },
  }
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of request) text += chunk
  return text
}

async function forward(
  target: string,
  calls: readonly RpcCall[],
): Promise<({ id: number } & Record<string, unknown>)[]> {
  const headers = { 'content-type': 'application/json' }
  return (await fetch(target, { method: 'POST', headers, body: JSON.stringify(calls) })).json()
}

/** Keys in memory behind the port of the signer. It signs whatever it is asked to. */
export function localSigner(accounts: Readonly<Record<string, PrivateKeyAccount>>): Signer {
  const account = (wallet: string) => {
    const found = accounts[wallet]
    if (found === undefined) throw new Error(`there is no wallet ${wallet}`)
    return found
  }
  return {
    address: async (wallet) => account(wallet).address,
    sign: (requests) =>
      Promise.all(
        requests.map(({ wallet, unsigned }) =>
          account(wallet).signTransaction(parseTransaction(unsigned as TransactionSerializedEIP1559)),
        ),
      ),
  }
}

export const newAccount = (): PrivateKeyAccount => privateKeyToAccount(generatePrivateKey())
/** An address nobody has seen before. */
export const newAddress = (): Address => newAccount().address

export interface EvmWorldOptions {
  readonly blocks?: AnvilOptions['blocks']
  /** How many proxies stand before the one chain. */
  readonly nodes?: number
  readonly timeoutMs?: number
  readonly confirmations?: number
  readonly fees?: FeePolicy
  /** What the wallet begins with. */
  readonly funds?: { readonly asset: bigint; readonly gas: bigint }
}

export interface EvmWorld {
  readonly anvil: Anvil
  readonly nodes: readonly [FaultProxy, ...FaultProxy[]]
  readonly endpoints: Endpoints
  readonly disagreements: Disagreement[]
  readonly account: PrivateKeyAccount
  readonly signer: Signer
  readonly wallet: EvmWallet
  mine(blocks: number): Promise<void>
  balanceOf(address: string): Promise<bigint>
}

export const WALLET = 'member'
export const USDT = { address: TEST_TOKEN, symbol: 'USDT', decimals: TEST_TOKEN_DECIMALS }
/** One dollar. */
export const DOLLAR = 1_000_000n
const ETHER = 10n ** 18n

/** A chain, a funded wallet, and proxies between the two. Blocks are made on demand. */
export async function evmWorld(t: TestScope, options: EvmWorldOptions = {}): Promise<EvmWorld> {
  const {
    blocks = 'demand',
    nodes: count = 1,
    timeoutMs = 2_000,
    funds = { asset: 1_000n * DOLLAR, gas: ETHER },
  } = options
  const anvil = await startAnvil({ blocks })
  t.teardown(() => anvil.stop())
  const { client } = anvil
  const account = newAccount()
  await ensureTestToken(client)
  await client.setBalance({ address: account.address, value: funds.gas })
  if (funds.asset > 0n) await mintTestToken(client, account.address, funds.asset)

  const [first, ...others] = await Promise.all(Array.from({ length: count }, () => faultProxy(t, anvil.url)))
  if (first === undefined) throw new Error('a world has at least one node')
  const nodes = [first, ...others] as const
  const disagreements: Disagreement[] = []
  const endpoints = new Endpoints({
    urls: nodes.map(({ url }) => url),
    chainId: anvil.chainId,
    timeoutMs,
    confirmations: options.confirmations ?? 10,
    onDisagreement: (disagreement) => void disagreements.push(disagreement),
  })
  const signer = localSigner({ [WALLET]: account })
  const fees = options.fees === undefined ? {} : { fees: options.fees }
  const wallet = await openEvmWallet({ endpoints, signer, name: WALLET, token: USDT, ...fees })
  const mine = (blockCount: number) => client.mine({ blocks: blockCount })
  return { anvil, nodes, endpoints, disagreements, account, signer, wallet, mine, balanceOf: tokenBalance(anvil) }
}

const tokenBalance = (anvil: Anvil) => (address: string) =>
  anvil.client.readContract({
    address: TEST_TOKEN,
    abi: [
      {
        type: 'function',
        name: 'balanceOf',
        stateMutability: 'view',
        inputs: [{ type: 'address' }],
        outputs: [{ type: 'uint256' }],
      },
    ],
    functionName: 'balanceOf',
    args: [getAddress(address)],
  })

let payouts = 0

/** A payment of one dollar to somebody new. */
export function payment(nonce: number, changes: Partial<Transfer> = {}): Transfer {
  payouts += 1
  return { payoutId: `payout-${payouts}`, to: newAddress(), amount: DOLLAR, nonce, ...changes }
}

/** A transfer together with what was signed for it, oldest first. */
export const open = (transfer: Transfer, ...signed: readonly SignedTransaction[]): OpenTransfer => ({
  ...transfer,
  signed,
})

/** A transaction of the wallet that we know nothing of: somebody else has the key. */
export const foreignTransaction = ({ account, anvil }: EvmWorld, nonce: number): Promise<Hex> =>
  account.signTransaction({
    type: 'eip1559',
    chainId: anvil.chainId,
    nonce,
    to: USDT.address,
    data: transferData(newAddress(), 7n),
    gas: 100_000n,
    maxFeePerGas: parseGwei('50'),
    maxPriorityFeePerGas: parseGwei('10'),
  })

/** Signs transfers and makes open ones of them. */
export async function signed(wallet: EvmWallet, transfers: readonly Transfer[]): Promise<readonly OpenTransfer[]> {
  const transactions = await wallet.sign(transfers)
  return transfers.map((transfer, i) => open(transfer, ...(transactions[i] ? [transactions[i]] : [])))
}

/** Everything signed for these, in order. */
export const transactionsOf = (transfers: readonly OpenTransfer[]): readonly SignedTransaction[] =>
  transfers.flatMap((transfer) => transfer.signed)
