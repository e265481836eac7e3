/** The member's wallet: where comps are paid, and how money leaves it (BJ-WAL-01…05, BJ-T19). */
import { z } from 'zod'
import { DomainError } from '../../engine/errors.js'
import { WalletProofs } from '../auth/wallet-proof.js'
import { amountText, microOf, usdOf } from '../money.js'
import { chainUnavailable, mustBeOn, payoutsOff } from '../payouts-port.js'
import type { Services } from '../services.js'
import { isoOf } from './payout-json.js'
import { defineRoute, type Route } from './toolkit/route.js'

const PRODUCT = 'BlakJaks'
const address = z.string().min(1).max(100)
const addressInvalid = { status: 422, code: 'address_invalid', when: 'Nobody can be paid at this address.' }
const walletSchema = z
  .object({
    /** Null before there is one: comps wait until then. */
    address: z.string().nullable(),
    chain: z.string().nullable(),
    asset: z.string().nullable(),
    /** Null when it is not known: no wallet, or no node answers. */
    balance: z.number().nullable(),
    /** Won and not paid yet. */
    pending_comps: z.object({ count: z.number(), amount: z.number() }),
  })
  .meta({ id: 'Wallet' })

export function walletRoutes(services: Services): Route[] {
  const { shard, program, payoutReads, payouts, box, now } = services
  const { commands, queries } = program
  const proofs = new WalletProofs(box.deriveKey('wallet-proofs'), PRODUCT, now)

  const show = defineRoute({
    method: 'GET',
    path: '/v1/users/me/wallet',
    who: 'member',
    tag: 'Wallet',
    summary: 'My wallet: its address, what it holds, and the comps that are on their way',
    response: walletSchema,
    handle: async ({ principal }) => {
      await shard.query(queries.session, principal)
      const { userId } = principal
      const known = await shard.query(queries.payeeAddress, { userId })
      const pending = await payoutReads.pendingComps(userId)
      const balance = known === null || payouts === null ? null : await payouts.balanceOf(known).catch(() => null)
      return {
        address: known,
        chain: payouts?.chain ?? null,
        asset: payouts?.asset.symbol ?? null,
        balance: balance === null ? null : usdOf(balance),
        pending_comps: { count: pending.count, amount: usdOf(pending.amount) },
      }
    },
  })

  /** Throws `payouts_off`, `address_invalid`. */
  function claimOf(userId: string, text: string) {
    const port = mustBeOn(payouts)
    const proper = port.memberAddress(text)
    if (proper !== null) return { port, claim: { userId, chain: port.chain, address: proper } }
    const message = `This is no address on ${port.chain} that a member can be paid at.`
    throw new DomainError('unprocessable', 'address_invalid', message, { field: 'address' })
  }

  const challenge = defineRoute({
    method: 'GET',
    path: '/v1/users/me/wallet/challenge',
    who: 'member',
    tag: 'Wallet',
    summary: 'What my wallet has to sign before it is mine',
    query: z.object({ address }),
    response: z.object({ message: z.string(), nonce: z.string(), expires_at: z.string() }),
    errors: [addressInvalid, payoutsOff],
    handle: async ({ query, principal }) => {
      await shard.query(queries.session, principal)
      const { nonce, message, expiresAtMs } = proofs.challenge(claimOf(principal.userId, query.address).claim)
      return { message, nonce, expires_at: isoOf(expiresAtMs) }
    },
  })

  const setAddress = defineRoute({
    method: 'PUT',
    path: '/v1/users/me/wallet',
    who: 'member',
    tag: 'Wallet',
    summary: 'Be paid at this wallet from now on; what waited for an address is paid',
    description:
      'Sign the `message` of the challenge for this address: on EVM chains as `personal_sign` does (EIP-191), on Solana ' +
      'with ed25519, in base64.',
    body: z.object({ address, nonce: z.string().max(100), signature: z.string().max(500) }),
    response: z.object({ address: z.string() }),
    errors: [
      addressInvalid,
      { status: 422, code: 'proof_invalid', when: 'The challenge is too old or for something else, or not signed so.' },
      payoutsOff,
    ],
    handle: async ({ body, principal: who }) => {
      await shard.query(queries.session, who)
      const { port, claim } = claimOf(who.userId, body.address)
      const message = proofs.messageOf(claim, body.nonce)
      if (message === null || !(await port.isSignedBy(claim.address, message, body.signature))) {
        throw new DomainError(
          'unprocessable',
          'proof_invalid',
          'Ask for a new challenge and sign its message with the key of this address.',
          { field: 'signature' },
        )
      }
      return shard.execute(commands.setPayeeAddress, {
        args: { userId: who.userId, address: claim.address, provider: 'external' },
        who,
      })
    },
  })

  const withdraw = defineRoute({
    method: 'POST',
    path: '/v1/wallet/withdraw',
    who: 'member',
    tag: 'Wallet',
    summary: 'Prepare a transfer out of my wallet: my wallet signs it and pays its gas',
    description: 'What my wallet has signed goes to `POST /v1/wallet/withdraw/submit`.',
    body: z.object({ to: address, amount: amountText }),
    response: z.object({
      chain: z.string(),
      from: z.string(),
      to: z.string(),
      amount: z.number(),
      /** Unsigned. EVM: `{chainId, to, data, value, gas}`; Solana: `{transaction}` in base64. */
      transaction: z.record(z.string(), z.union([z.string(), z.number()])),
    }),
    errors: [
      { status: 409, code: 'wallet_missing', when: 'I have no wallet yet.' },
      addressInvalid,
      { status: 422, code: 'amount_invalid', when: 'The amount is zero.' },
      { status: 422, code: 'insufficient_balance', when: 'My wallet does not hold so much.' },
      { status: 422, code: 'transfer_refused', when: 'The token refuses this transfer.' },
      payoutsOff,
      chainUnavailable,
    ],
    handle: async ({ body, principal }) => {
      await shard.query(queries.session, principal)
      const { port, claim } = claimOf(principal.userId, body.to)
      const amount = microOf(body.amount)
      if (amount === 0n) {
        throw new DomainError('unprocessable', 'amount_invalid', 'The amount is zero.', { field: 'amount' })
      }
      const from = await shard.query(queries.payeeAddress, { userId: principal.userId })
      if (from === null) throw new DomainError('conflict', 'wallet_missing', 'Set the address of your wallet first.')
      const { chain, to, transaction } = await port.unsigned(from, claim.address, amount)
      return { chain, from, to, amount: usdOf(amount), transaction }
    },
  })

  return [show, challenge, setAddress, withdraw]
}
