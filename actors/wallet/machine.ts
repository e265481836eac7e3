/**
 * A hot wallet we pay from: its nonces, its outflow, its brake.
 *
 * S1, S2 Nonces are given in order, without gaps, each to one payout or step of a distribution; one that was never signed with is given again.
 * S4 It is bound to one address on one chain; the limits of the program are counted here.
 */
import { setup } from 'xstate'
import { defineActor } from '../../engine/actor.js'
import { type Decision as DecisionOn, deciderFor } from '../../engine/decide.js'
import { walletBound, walletPaused, walletResumed } from './facts.js'

const MINUTE_MS = 60_000
const HOUR_MINUTES = 60
export const DAY_MS = 86_400_000

export interface WalletContext {
  readonly name: string
  readonly chain: string | null
  readonly address: string | null
  /** Null on chains without nonces, and before the wallet is bound. */
  readonly nextNonce: number | null
  /** Given once, never signed with. Lowest first. */
  readonly freeNonces: readonly number[]
  /** Payouts prepared within the last minute, by second. */
  readonly prepared: readonly { readonly second: number; readonly count: number }[]
  /** Days since 1970 (UTC), and what was queued on that day without anybody's review (BJ-T18). */
  readonly day: number
  readonly dayAmount: bigint
  /** What was queued within the last hour, by minute. */
  readonly hour: readonly { readonly minute: number; readonly amount: bigint }[]
  readonly pausedBecause: string | null
  /** The last block in which payments to and from it were looked for. */
  readonly watchedThrough: number
  /** Settled in blocks after that one: the chain at `watchedThrough` still holds their amounts. */
  readonly unwatched: readonly { readonly hash: string; readonly height: number; readonly amount: bigint }[]
  /** The distribution that is under way: there is one at a time. Wallets of before there were any lack it. */
  readonly distribution?: string | null
  /** Recorded by hand as paid in, and not seen on chain yet: the next deposits are these. */
  readonly unbacked: bigint
}

export type WalletEvent =
  | { type: 'bound'; chain: string; address: string; nonce: number | null; height: number; unbacked: bigint }
  | { type: 'announced'; amount: bigint }
  | { type: 'backed'; amount: bigint }
  | { type: 'settled'; hash: string; height: number; amount: bigint }
  | { type: 'watched'; through: number }
  /** For so many payouts. */
  | { type: 'nonce.allocated'; at: number; payouts: number }
  | { type: 'distributing'; distribution: string | null }
  | { type: 'nonce.freed'; nonce: number }
  | { type: 'outflow.counted'; at: number; amount: bigint; isReviewed: boolean }
  | { type: 'paused'; because: string; by: string }
  | { type: 'resumed'; by: string }
type Of<Type extends WalletEvent['type']> = Extract<WalletEvent, { type: Type }>

const decide = deciderFor<WalletContext, WalletEvent>()

/** The nonce the next payout gets; null where there are none. */
export function nonceToGive({ nextNonce, freeNonces }: WalletContext): number | null {
  return freeNonces[0] ?? nextNonce
}

/** Payouts prepared in the 60 seconds that end at `at` (BJ-PAY-04), or up to a second before. */
export function preparedWithinMinute({ prepared }: WalletContext, at: number): number {
  const since = Math.floor((at - MINUTE_MS) / 1_000)
  return prepared.reduce((sum, { second, count }) => (second >= since ? sum + count : sum), 0)
}

/** What was queued in the hour that ends at `at`, or up to a minute before, in minor units (BJ-TRS-07). */
export function outflowWithinHour({ hour }: WalletContext, at: number): bigint {
  const since = Math.floor(at / MINUTE_MS) - HOUR_MINUTES
  return hour.reduce((sum, { minute, amount }) => (minute >= since ? sum + amount : sum), 0n)
}

/** What was queued unreviewed since midnight UTC, in minor units (BJ-TRS-06). */
export function outflowToday({ day, dayAmount }: WalletContext, at: number): bigint {
  return day === Math.floor(at / DAY_MS) ? dayAmount : 0n
}

function bind(
  context: WalletContext,
  { chain, address, nonce, height, unbacked }: Of<'bound'>,
): DecisionOn<WalletContext> {
  const { name: wallet } = context
  const isSame = chain === context.chain && address === context.address
  // Nonces that the chain has seen used are gone, whoever used them.
  const nextNonce = nonce === null ? null : Math.max(nonce, (isSame && context.nextNonce) || 0)
  const freeNonces = isSame ? context.freeNonces.filter((free) => free >= (nonce ?? 0)) : []
  return {
    context: {
      chain,
      address,
      nextNonce,
      freeNonces,
      ...(isSame ? {} : { watchedThrough: height, unwatched: [], unbacked }),
    },
    facts: [walletBound.make({ wallet, chain, address, nonce: nextNonce })],
  }
}

function allocate(context: WalletContext, { at, payouts }: Of<'nonce.allocated'>): DecisionOn<WalletContext> {
  const { nextNonce, freeNonces } = context
  const now = Math.floor(at / 1_000)
  const since = now - MINUTE_MS / 1_000
  const others = context.prepared.filter(({ second }) => second >= since && second !== now)
  const sameSecond = context.prepared.find(({ second }) => second === now)?.count ?? 0
  const prepared = [...others, { second: now, count: sameSecond + payouts }]
  if (freeNonces.length > 0) return { context: { prepared, freeNonces: freeNonces.slice(1) } }
  return { context: { prepared, nextNonce: nextNonce === null ? null : nextNonce + 1 } }
}

function count(context: WalletContext, { at, amount, isReviewed }: Of<'outflow.counted'>): DecisionOn<WalletContext> {
  const minute = Math.floor(at / MINUTE_MS)
  const others = context.hour.filter((entry) => entry.minute >= minute - HOUR_MINUTES && entry.minute !== minute)
  const sameMinute = context.hour.find((entry) => entry.minute === minute)?.amount ?? 0n
  const hour = [...others, { minute, amount: sameMinute + amount }]
  if (isReviewed) return { context: { hour } }
  return { context: { hour, day: Math.floor(at / DAY_MS), dayAmount: outflowToday(context, at) + amount } }
}

const machine = setup({
  types: { context: {} as WalletContext, events: {} as WalletEvent, input: {} as { key: string } },
}).createMachine({
  id: 'wallet',
  initial: 'open',
  context: ({ input }) => ({
    name: input.key,
    chain: null,
    address: null,
    nextNonce: null,
    freeNonces: [],
    prepared: [],
    day: 0,
    dayAmount: 0n,
    hour: [],
    pausedBecause: null,
    watchedThrough: 0,
    unwatched: [],
    distribution: null,
    unbacked: 0n,
  }),
  on: {
    bound: { actions: decide(bind) },
    watched: {
      actions: decide(({ unwatched }, { through }: Of<'watched'>) => ({
        context: { watchedThrough: through, unwatched: unwatched.filter(({ height }) => height > through) },
      })),
    },
    announced: {
      actions: decide(({ unbacked }, { amount }: Of<'announced'>) => ({ context: { unbacked: unbacked + amount } })),
    },
    backed: {
      actions: decide(({ unbacked }, { amount }: Of<'backed'>) => ({ context: { unbacked: unbacked - amount } })),
    },
    settled: {
      actions: decide(({ unwatched }, { hash, height, amount }: Of<'settled'>) => ({
        context: { unwatched: [...unwatched, { hash, height, amount }] },
      })),
    },
    'nonce.freed': {
      actions: decide(({ freeNonces }, { nonce }: Of<'nonce.freed'>) => ({
        context: { freeNonces: [...freeNonces, nonce].sort((a, b) => a - b) },
      })),
    },
    distributing: {
      actions: decide((_, { distribution }: Of<'distributing'>) => ({ context: { distribution } })),
    },
    'outflow.counted': { actions: decide(count) },
  },
  states: {
    open: {
      on: {
        'nonce.allocated': { actions: decide(allocate) },
        paused: {
          target: 'paused',
          actions: decide(({ name }, { because, by }: Of<'paused'>) => ({
            context: { pausedBecause: because },
            facts: [walletPaused.make({ wallet: name, because, by })],
          })),
        },
      },
    },
    paused: {
      on: {
        resumed: {
          target: 'open',
          actions: decide(({ name }, { by }: Of<'resumed'>) => ({
            context: { pausedBecause: null },
            facts: [walletResumed.make({ wallet: name, by })],
          })),
        },
      },
    },
  },
})

export const wallet = defineActor({ type: 'wallet', machine, residency: 'pinned' })
