/** Binding a wallet to its chain, and its brake. */
import { z } from 'zod'
import { defineCommand } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import type { OpenPayouts } from '../payout/open-payouts.js'
import { pool } from '../treasury/facts.js'
import type { MemberAccess } from '../user/access.js'
import { wallet } from './machine.js'

export function walletCommands({ open, access }: { open: OpenPayouts; access: MemberAccess }) {
  /**
   * The pipeline starts: this is the wallet's address, and how many transactions the chain has seen of it (null where
   * there are no nonces). More than we sent means that somebody else has the key: the wallet is paused (S4).
   */
  const bind = defineCommand({
    name: 'wallet.bind',
    input: z.object({
      wallet: pool,
      chain: z.string(),
      address: z.string(),
      nonce: z.number().int().min(0).nullable(),
      height: z.number().int().min(0),
    }),
    who: 'system',
    actors: () => [],
    handle: (turn, { wallet: name, chain, address, nonce, height }) => {
      const ref = wallet.ref(name)
      const before = turn.context(ref)
      const isNew = before.address === null
      const inFlight = open.total(name, 'in_flight').count
      const unmined = inFlight + before.freeNonces.length
      if (!isNew && (before.address !== address || before.chain !== chain) && inFlight > 0) {
        const was = `${before.address} on ${before.chain}`
        throw new DomainError('conflict', 'wallet_in_use', `Payouts from ${was} are not final yet. Start with its key.`)
      }
      if (nonce !== null && before.address === address && nonce < (before.nextNonce ?? 0) - unmined) {
        const known = `${before.nextNonce} nonces were given, and at most ${unmined} of them are unused`
        throw new DomainError('unavailable', 'chain_behind', `The chain knows ${nonce} transactions, but ${known}.`)
      }
      const isForeign = !isNew && nonce !== null && nonce > (before.nextNonce ?? 0) && before.address === address
      if (isNew || before.address !== address || before.chain !== chain || isForeign) {
        turn.step(ref, { type: 'bound', chain, address, nonce, height })
      }
      if (isForeign) turn.step(ref, { type: 'paused', because: 'foreign_transaction', by: 'system' })
      return { paused: turn.value(ref) === 'paused' ? turn.context(ref).pausedBecause : null }
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
