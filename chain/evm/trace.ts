/** What became of transfers that members signed: judged as payouts are, for each wallet by its own nonces (S3). */
import { getAddress, type Hex } from 'viem'
import type { SignedTransfer } from '../../actors/withdrawal/transfer.js'
import { assert } from '../../engine/assert.js'
import type { Observation } from '../chain.js'
import type { Endpoints } from './endpoints.js'
import { type Inquiry, observe, type Signed } from './observe.js'
import type { Receipt } from './quantities.js'
import { tokenTransferOf } from './receipts.js'
import { bytesShown } from './signed-transfer.js'

/** Wallets asked about at once. */
const WALLETS_AT_ONCE = 8

interface Traced extends Signed {
  readonly transfer: SignedTransfer
}

/** Never throws: what cannot be found out is `unknown`. */
export async function trace(
  endpoints: Endpoints,
  token: Hex,
  transfers: readonly SignedTransfer[],
): Promise<readonly Observation[]> {
  const byWallet = new Map<string, SignedTransfer[]>()
  for (const transfer of transfers) byWallet.set(transfer.from, [...(byWallet.get(transfer.from) ?? []), transfer])
  const found = new Map<SignedTransfer, Observation>()
  const waiting = byWallet.entries()
  const work = async () => {
    for (const [from, own] of waiting) {
      const seen = await observe(inquiryOf(endpoints, token, getAddress(from)), own.map(tracedOf))
      for (const [index, transfer] of own.entries()) {
        const observation = seen[index]
        assert(observation !== undefined, 'every transfer is answered for')
        found.set(transfer, observation)
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(WALLETS_AT_ONCE, byWallet.size) }, work))
  return transfers.map((transfer) => found.get(transfer) ?? { kind: 'unknown', message: 'it was not looked at' })
}

function tracedOf(transfer: SignedTransfer): Traced {
  const { validity, hash } = transfer
  assert(validity.kind === 'nonce', `${hash} was signed for another kind of chain`)
  return { nonce: validity.nonce, signed: [{ hash }], transfer }
}

/** What a member moved is the member's own affair: it counts when the token says that it moved anything. */
function inquiryOf(endpoints: Endpoints, token: Hex, wallet: Hex): Inquiry<Traced> {
  const paid = ({ status, logs }: Receipt) =>
    status && logs.some((log) => tokenTransferOf(log, token)?.from === wallet) ? 'yes' : 'no'
  return { endpoints, wallet, token, paid }
}

/** The bytes of that hash as any node shows them; null when none does. Throws when no node answers. */
export async function findBytes(endpoints: Endpoints, hash: Hex): Promise<Hex | null> {
  let failure: unknown
  let isAnswered = false
  for (const endpoint of endpoints.inOrder()) {
    try {
      await endpoint.mustBeOurs()
      const shown = await endpoint.one('eth_getTransactionByHash', [hash])
      const bytes = shown === null ? null : bytesShown(shown, hash)
      if (bytes !== null) return bytes
      isAnswered = true
    } catch (error) {
      failure = error
    }
  }
  if (isAnswered) return null
  throw failure
}
