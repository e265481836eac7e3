/** Binding a wallet to its chain, and its brake. */
import { z } from 'zod'
import { defineCommand } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import { stepKinds } from '../payout/distribution.js'
import type { OpenPayouts } from '../payout/open-payouts.js'
import { pool } from '../treasury/facts.js'
import { balancesOf, deposit } from '../treasury/ledger.js'
import type { MemberAccess } from '../user/access.js'
import { type WalletContext, wallet } from './machine.js'

/** A wallet as its chain shows it: transactions sent so far (null where there are no nonces), and its last final block. */
const foundWallet = z.object({
  chain: z.string(),
  address: z.string(),
  nonce: z.number().int().min(0).nullable(),
  height: z.number().int().min(0),
  /** What it holds there, in minor units. */
  onChain: z.bigint(),
})
export type FoundWallet = z.output<typeof foundWallet>

export function walletCommands({ open, access }: { open: OpenPayouts; access: MemberAccess }) {
  /**
   * The pipeline starts, and this is its wallet. More transactions than we sent mean that somebody else has the key: the
   * wallet is paused (S4). From `height` on its payments are watched.
   */
  const bind = defineCommand({
    name: 'wallet.bind',
    input: foundWallet.extend({ wallet: pool }),
    who: 'system',
    actors: () => [],
    handle: (turn, found) => {
      const { wallet: name, chain, address, nonce, height, onChain } = found
      const ref = wallet.ref(name)
      const before = turn.context(ref)
      const inFlight = open.total(name, 'in_flight').count
      checkFound(before, found, inFlight)
      const isSame = before.address === address && before.chain === chain
      const isForeign = isSame && nonce !== null && nonce > (before.nextNonce ?? 0)
      if (!isSame || isForeign) {
        const unbacked = balancesOf(turn, name).onWallet - onChain
        turn.step(ref, { type: 'bound', chain, address, nonce, height, unbacked: unbacked > 0n ? unbacked : 0n })
        // What was there before us is ours to pay with.
        if (!isSame && unbacked < 0n) deposit(turn, name, `opening ${address}`, -unbacked)
      }
      if (isForeign) turn.step(ref, { type: 'paused', because: 'foreign_transaction', by: 'system' })
      return null
    },
  })

  const pauseWallet = defineCommand({
    name: 'wallet.pause',
    input: z.object({ wallet: pool, because: z.string().min(1).max(200) }),
    who: 'admin',
    actors: (_, who) => access.refsOf(who),
    handle: (turn, { wallet: name, because }) => {
      const by = access.requireAdmin(turn)
      turn.step(wallet.ref(name), { type: 'paused', because, by })
      return null
    },
  })

  const resumeWallet = defineCommand({
    name: 'wallet.resume',
    input: z.object({ wallet: pool }),
    who: 'admin',
    actors: (_, who) => access.refsOf(who),
    handle: (turn, { wallet: name }) => {
      const by = access.requireAdmin(turn)
      turn.step(wallet.ref(name), { type: 'resumed', by })
      return null
    },
  })

  return { bind, pauseWallet, resumeWallet }
}

/** Errors: `wallet_in_use` while payouts of another address are under way, `chain_behind` when the chain lacks some. */
function checkFound(before: WalletContext, { chain, address, nonce }: FoundWallet, inFlight: number): void {
  const isSame = before.address === address && before.chain === chain
  const isDistributing = before.distribution != null
  if (before.address !== null && !isSame && (inFlight > 0 || isDistributing)) {
    const was = `${before.address} on ${before.chain}`
    throw new DomainError('conflict', 'wallet_in_use', `Payouts from ${was} are not final yet. Start with its key.`)
  }
  const distributed = isDistributing ? stepKinds.length : 0
  const unmined = inFlight + distributed + before.freeNonces.length
  if (isSame && nonce !== null && nonce < (before.nextNonce ?? 0) - unmined) {
    const known = `${before.nextNonce} nonces were given, and at most ${unmined} of them are unused`
    throw new DomainError('unavailable', 'chain_behind', `The chain knows ${nonce} transactions, but ${known}.`)
  }
}
