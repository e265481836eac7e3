/** A loyalty program: the actors, tables and commands that scan-and-win platforms share, run by one set of rules. */
import type { ActorType } from '../../engine/actor.js'
import { assert } from '../../engine/assert.js'
import type { Command, Program } from '../../engine/command.js'
import type { AnyTable, View } from '../../engine/table.js'
import { accountCommands } from '../account/commands.js'
import { credentialCommands } from '../account/credentials.js'
import { createAccountActor } from '../account/machine.js'
import { createSecondFactor } from '../account/second-factor.js'
import { campaignCommands } from '../campaign/commands.js'
import { campaign, campaigns } from '../campaign/machine.js'
import { createChat } from '../chat/chat.js'
import { CodeBook } from '../codes/code-book.js'
import { codeCommands } from '../codes/commands.js'
import { batchActor } from '../codes/machine.js'
import { counter } from '../counter/machine.js'
import { depositCommands, depositQueries } from '../deposit/commands.js'
import { depositWatch } from '../deposit/machine.js'
import { createLiveEvents } from '../live-event/live-events.js'
import { Directory } from '../members/directory.js'
import { payoutCommands } from '../payout/commands.js'
import { distribution } from '../payout/distribution.js'
import { distributionCommands, distributionQueries } from '../payout/distributions.js'
import { payout } from '../payout/machine.js'
import { OpenPayouts } from '../payout/open-payouts.js'
import { payee } from '../payout/payee.js'
import { payoutQueries } from '../payout/queries.js'
import { reportCommands } from '../payout/reports.js'
import { treasuryCommands } from '../treasury/commands.js'
import { treasury } from '../treasury/machine.js'
import { oversightCommands } from '../treasury/oversight.js'
import { UnfundedComps } from '../treasury/unfunded-comps.js'
import { createAccess } from '../user/access.js'
import { userAdminCommands } from '../user/admin.js'
import { administratorCommands } from '../user/administrators.js'
import { createUserActor } from '../user/machine.js'
import { memberQueries } from '../user/queries.js'
import { RecentScans } from '../user/recent-scans.js'
import { scanCommands } from '../user/scan.js'
import { volumeCommands } from '../volume/commands.js'
import { createVolumeActor } from '../volume/machine.js'
import { walletCommands } from '../wallet/commands.js'
import { wallet } from '../wallet/machine.js'
import { withdrawalCommands, withdrawalQueries } from '../withdrawal/commands.js'
import { withdrawal } from '../withdrawal/machine.js'
import { OpenWithdrawals } from '../withdrawal/open-withdrawals.js'
import type { LoyaltyRules } from './rules.js'

export type LoyaltyProgram = ReturnType<typeof createLoyaltyProgram>

export function createLoyaltyProgram(name: string, rules: LoyaltyRules) {
  const user = createUserActor(rules)
  const account = createAccountActor(rules)
  const volume = createVolumeActor(rules)
  const book = new CodeBook()
  const directory = new Directory()
  const unfunded = new UnfundedComps()
  const recentScans = new RecentScans()
  const access = createAccess(user)
  const open = new OpenPayouts()
  const openWithdrawals = new OpenWithdrawals()
  const secondFactor = createSecondFactor(account)
  const payouts = payoutCommands({ rules: rules.payouts, open, access, secondFactor })
  const reports = reportCommands({ rules: rules.payouts, open })
  const distributions = distributionCommands({ rules: rules.payouts, open })
  const wallets = walletCommands({ open, access })
  const withdrawals = withdrawalCommands({ open: openWithdrawals, access })
  const deposits = depositCommands()
  const accountWorld = { rules, user, account, directory }

  const scans = scanCommands({
    rules,
    user,
    volume,
    batch: batchActor,
    book,
    unfunded,
    access,
    requestPayout: payouts.requestPayout,
  })
  const accounts = accountCommands(accountWorld)
  const credentials = credentialCommands(accountWorld, access)
  const administrators = administratorCommands(user, access, secondFactor)
  const users = { ...userAdminCommands(user, access), ...administrators }
  const { listBatches, ...codes } = codeCommands(rules, book, access)
  const { listUnlocks, ...volumes } = volumeCommands({ rules, volume, user, access, creditTins: users.creditTins })
  const treasuries = treasuryCommands(access, unfunded, payouts)
  const { campaignState, campaignStates, ...budgets } = campaignCommands({ ...treasuries, access, unfunded })
  const oversight = oversightCommands(rules.oversight, open, treasuries.fundWaiting)
  const { refuseWhileLocked: _, ...accountOnly } = accounts

  const areas = [
    scans,
    accountOnly,
    credentials,
    users,
    codes,
    volumes,
    treasuries,
    budgets,
    payouts,
    reports,
    distributions,
    wallets,
    oversight,
    withdrawals,
    deposits,
  ]
  const money = {
    ...treasuries,
    ...budgets,
    ...payouts,
    ...reports,
    ...distributions,
    ...wallets,
    ...oversight,
    ...withdrawals,
    ...deposits,
  }
  const commands = { ...scans, ...accountOnly, ...credentials, ...users, ...codes, ...volumes, ...money }
  const keys = areas.flatMap((area) => Object.keys(area))
  assert(keys.length === Object.keys(commands).length, 'two commands of a program have one key, so one is lost')
  const queries = {
    ...memberQueries(rules, user, account, access),
    ...payoutQueries(open),
    ...distributionQueries(),
    ...withdrawalQueries(openWithdrawals),
    ...depositQueries(),
    listBatches,
    listUnlocks,
    campaignState,
    campaignStates,
  }
  const chat = createChat(rules, user, account, directory)
  const chatCommands = Object.values(chat.commands).flatMap((area) => Object.values<unknown>(area))
  const live = createLiveEvents(rules.liveEvents)
  const program: Program = {
    name,
    actors: [
      user,
      account,
      volume,
      batchActor,
      counter,
      treasury,
      campaign,
      campaigns,
      wallet,
      payout,
      distribution,
      payee,
      withdrawal,
      depositWatch,
      ...chat.actors,
      ...live.actors,
    ] as readonly ActorType[],
    tables: [book, directory, unfunded, open, openWithdrawals] as readonly AnyTable[],
    views: [recentScans, chat.recentMessages] as readonly View[],
    commands: [
      ...Object.values(commands),
      ...chatCommands,
      ...Object.values(live.commands),
    ] as unknown as readonly Command[],
    reactions: chat.reactions,
  }
  return {
    program,
    rules,
    accountWorld,
    book,
    directory,
    unfunded,
    open,
    openWithdrawals,
    recentScans,
    commands,
    queries,
    chat,
    live,
  }
}
