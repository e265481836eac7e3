/**
 * Double-entry postings in integer minor units.
 *
 * L1 amounts are bigint; L2 each posting sums to zero per currency, asserted in production; L3 an account that may
 * not go negative never does. Accounts live in the image of the actor that owns them.
 */
import type { AccountRule, ActorRef } from './actor.js'
import { assert } from './assert.js'
import { DomainError } from './errors.js'

export interface PostingLine {
  readonly account: ActorRef
  readonly name: string
  /** Minor units; positive adds to the account. */
  readonly amount: bigint
}

/** A posting as it is journaled: account is `actorType/key:name`. */
export interface Posting {
  readonly kind: string
  readonly reference: string
  readonly lines: readonly { readonly account: string; readonly currency: string; readonly amount: bigint }[]
}

export function accountRule(ref: ActorRef, name: string): AccountRule {
  const rule = ref.of.accounts[name]
  assert(rule !== undefined, `${ref.id} has no account ${name}`)
  return rule
}

/** Turns lines into a journaled posting. Asserts L1 and L2. */
export function makePosting(kind: string, reference: string, lines: readonly PostingLine[]): Posting {
  const sums = new Map<string, bigint>()
  const journaled = lines.map(({ account, name, amount }) => {
    const { currency } = accountRule(account, name)
    assert(typeof amount === 'bigint', 'amounts are bigint minor units (L1)')
    sums.set(currency, (sums.get(currency) ?? 0n) + amount)
    return { account: `${account.id}:${name}`, currency, amount }
  })
  for (const [currency, sum] of sums) assert(sum === 0n, `posting ${kind} is off by ${sum} ${currency} (L2)`)
  return { kind, reference, lines: journaled }
}

/** The balance after adding `amount`. Throws `insufficient_funds` (L3). */
export function balanceAfter(ref: ActorRef, name: string, balance: bigint, amount: bigint): bigint {
  const next = balance + amount
  if (next < 0n && amount < 0n && !accountRule(ref, name).mayGoNegative) {
    throw new DomainError('conflict', 'insufficient_funds', `${ref.id}:${name} holds ${balance}, ${-amount} is needed`)
  }
  return next
}
