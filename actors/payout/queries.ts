/** What the pipeline and operators read of payouts and wallets. Amounts are minor units. */
import { defineQuery } from '../../engine/command.js'
import { type Pool, pools } from '../treasury/facts.js'
import { balancesOf } from '../treasury/ledger.js'
import { outflowToday, outflowWithinHour, preparedWithinMinute, wallet } from '../wallet/machine.js'
import { intentOf } from './admission.js'
import { payout } from './machine.js'
import { type OpenPayouts, type OpenState, openStates } from './open-payouts.js'
import { payee } from './payee.js'
import { preparedOf } from './reports.js'

export function payoutQueries(open: OpenPayouts) {
  /** Ids of a wallet's payouts in a state, longest there first. */
  const openPayouts = defineQuery({
    name: 'payout.open',
    actors: () => [],
    read: (_, { wallet: name, state, max }: { wallet: Pool; state: OpenState; max: number }) => {
      const ids: string[] = []
      for (const { payoutId } of open.in(name, state)) {
        if (ids.length === max) break
        ids.push(payoutId)
      }
      return ids
    },
  })

  /** The payouts with these ids, as the pipeline sees them. */
  const transfers = defineQuery({
    name: 'payout.transfers',
    actors: ({ payoutIds }: { payoutIds: readonly string[] }) => payoutIds.map((id) => payout.ref(id)),
    read: (scope, { payoutIds }: { payoutIds: readonly string[] }) =>
      payoutIds.map((id) => preparedOf(scope, payout.ref(id))),
  })

  /** One payout with everything an administrator decides on; null when there is none. */
  const payoutDetail = defineQuery({
    name: 'payout.detail',
    actors: ({ payoutId }) => [payout.ref(payoutId)],
    read: (scope, { payoutId }: { payoutId: string }) => {
      const ref = payout.ref(payoutId)
      if (!scope.exists(ref)) return null
      const context = scope.context(ref)
      return { ...context, state: String(scope.value(ref)), intent: intentOf(context) }
    },
  })

  const payeeAddress = defineQuery({
    name: 'payee.address',
    actors: ({ userId }) => [payee.ref(userId)],
    read: (scope, { userId }: { userId: string }) => {
      const ref = payee.ref(userId)
      return scope.exists(ref) ? scope.context(ref).address : null
    },
  })

  const watchedThrough = defineQuery({
    name: 'wallet.watched_through',
    actors: () => [],
    read: (scope, { wallet: name }: { wallet: Pool }) => scope.context(wallet.ref(name)).watchedThrough,
  })

  const isPaused = defineQuery({
    name: 'wallet.is_paused',
    actors: () => [],
    read: (scope, { wallet: name }: { wallet: Pool }) => scope.value(wallet.ref(name)) === 'paused',
  })

  /** Every pool with its wallet, its limits and what is on its way. */
  const walletStates = defineQuery({
    name: 'wallet.states',
    actors: () => [],
    read: (scope, _: Record<string, never>) =>
      pools.map((name) => {
        const context = scope.context(wallet.ref(name))
        const { available, campaigns, held, paid, onWallet } = balancesOf(scope, name)
        return {
          wallet: name,
          chain: context.chain,
          address: context.address,
          nextNonce: context.nextNonce,
          freeNonces: context.freeNonces,
          pausedBecause: context.pausedBecause,
          unbacked: context.unbacked,
          preparedWithinMinute: preparedWithinMinute(context, scope.at),
          outflowWithinHour: outflowWithinHour(context, scope.at),
          outflowToday: outflowToday(context, scope.at),
          ...{ available, campaigns, held, paid, onWallet },
          open: Object.fromEntries(openStates.map((state) => [state, open.total(name, state)])) as Record<
            OpenState,
            { readonly count: number; readonly amount: bigint }
          >,
        }
      }),
  })

  return { openPayouts, transfers, payoutDetail, payeeAddress, watchedThrough, isPaused, walletStates }
}
