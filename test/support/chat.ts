// A chat on a shard with nothing but memory around it: the default channels are open, members come in with a tier.
import assert from 'node:assert/strict'
import { channel } from '../../actors/chat/channel.js'
import type { ChannelModes, Message } from '../../actors/chat/facts.js'
import { messageChanged, messagePosted } from '../../actors/chat/facts.js'
import type { TierName } from '../../actors/user/facts.js'
import { type Command, defineQuery, type Principal } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import { type LoyaltyOptions, startLoyalty, uuid } from './loyalty.js'

export type ChatWorld = Awaited<ReturnType<typeof startChat>>
type Post = Parameters<ReturnType<typeof commandsOf>['post']['handle']>[1]

const commandsOf = ({ program }: Awaited<ReturnType<typeof startLoyalty>>) => {
  const { chat, moderation, channels } = program.chat.commands
  return { ...chat, ...moderation, ...channels }
}

/** What a refused command left behind. */
export interface Refused {
  readonly code: string
  readonly retryAfterMs: number | undefined
  /** Types of the facts it told nevertheless. */
  readonly told: readonly string[]
  readonly records: number
}

/** Nothing was changed and nobody told. */
export const refused = (code: string, retryAfterMs?: number): Refused => ({ code, retryAfterMs, told: [], records: 0 })

/** X1 No offset of a channel is given twice or skipped, and no number of a message, whatever was told. */
export function checkOffsets({ records }: Pick<ChatWorld, 'records'>): void {
  const offsets = new Map<string, number>()
  const numbers = new Map<string, number>()
  const follows = (known: Map<string, number>, channelId: string, found: unknown, what: string) => {
    const due = (known.get(channelId) ?? 0) + 1
    assert.equal(found, due, `${what} in ${channelId}`)
    known.set(channelId, due)
  }
  for (const fact of records.flatMap(({ facts }) => facts)) {
    if (!('offset' in fact && 'channelId' in fact)) continue
    follows(offsets, String(fact.channelId), fact.offset, `offset of ${fact.type}`)
    if (fact.type !== messagePosted.type) continue
    const { channelId, message } = fact as ReturnType<typeof messagePosted.make>
    follows(numbers, channelId, message.number, 'number')
  }
}

const channelQuery = defineQuery({
  name: 'test.channel',
  actors: () => [],
  read: (scope, { channelId }: { channelId: string }) => scope.context(channel.ref(channelId)),
})

export async function startChat(options: LoyaltyOptions = {}) {
  const world = await startLoyalty(options)
  const commands = commandsOf(world)
  const { queries, recentMessages } = world.program.chat
  let posts = 0
  if (options.after === undefined) await world.run(commands.openDefaults, {})

  /** A member of a tier, known to the chat. */
  async function join(username: string, tier: TierName = 'standard', isAdmin = false): Promise<Principal> {
    const who = await world.openMember({ username, isAdmin })
    if (tier !== 'standard') await world.giveTier(who, tier)
    await world.run(commands.enter, { userId: who.userId })
    return who
  }

  function postArgs(text: string, over: Partial<Post> = {}): Post {
    posts += 1
    return {
      ...{ messageId: uuid('c', posts), channelId: 'general', text, language: null, replyTo: null, clientId: null },
      media: { type: 'none', url: null, code: null },
      ...over,
    }
  }

  const post = (who: Principal, text: string, over?: Partial<Post>) =>
    world.run(commands.post, postArgs(text, over), who)
  const refusePost = (who: Principal, text: string, over?: Partial<Post>) =>
    refuse(commands.post, postArgs(text, over), who)

  async function refuse<Args, Reply>(command: Command<Args, Reply>, args: Args, who: Principal): Promise<Refused> {
    const before = world.records.length
    const outcome = await world.attempt(command, args, who)
    const left = world.records.slice(before)
    const told = left.flatMap(({ facts }) => facts.map(({ type }) => type))
    const rest = { told, records: left.length }
    if (outcome.ok) return { code: 'not refused', retryAfterMs: undefined, ...rest }
    if (!(outcome.error instanceof DomainError)) throw outcome.error
    return { code: outcome.error.code, retryAfterMs: outcome.error.details.retryAfterMs, ...rest }
  }

  const channelOf = (channelId = 'general') => world.shard.query(channelQuery, { channelId })
  const messageOf = async (messageId: string): Promise<Message> =>
    (await world.shard.query(queries.messageOf, { messageId })) ?? assert.fail(`no message ${messageId}`)
  const setModes = (modes: Partial<ChannelModes>, channelId = 'general') =>
    world.run(commands.editChannel, { channelId, edit: { modes }, isActive: null })
  const setActive = (isActive: boolean, channelId = 'general') =>
    world.run(commands.editChannel, { channelId, edit: {}, isActive })

  /** What everybody in a channel was told, as `offset type`, oldest first. */
  const toldIn = (channelId = 'general') =>
    [...world.facts(messagePosted), ...world.facts(messageChanged)]
      .filter((fact) => fact.channelId === channelId)
      .sort((a, b) => a.offset - b.offset)
      .map((fact) => ('change' in fact ? fact.change : 'posted'))

  return {
    ...{ ...world, commands, queries, recentMessages },
    ...{ join, post, postArgs, refusePost, refuse, channelOf, messageOf, setModes, setActive, toldIn },
  }
}
