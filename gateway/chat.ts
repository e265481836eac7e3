/** What members do in the chat, the same over REST and sockets. Refusals are DomainErrors. */
import { createHash } from 'node:crypto'
import { z } from 'zod'
import { mediaTypes } from '../actors/chat/facts.js'
import type { OpenChannel } from '../actors/chat/queries.js'
import type { Posted } from '../actors/chat/writing.js'
import type { LoyaltyProgram } from '../actors/programs/loyalty.js'
import { type Principal, system } from '../engine/command.js'
import { DomainError } from '../engine/errors.js'
import type { EnginePort } from './engine-port.js'

const id = z.string().min(1).max(64)
/** Far more than is allowed: the core says what is, with the right code. */
const TEXT_BYTES_MAX = 12_000

export const messageBody = z.object({
  text: z.string().max(TEXT_BYTES_MAX).default(''),
  media: z
    .object({
      type: z.enum(mediaTypes),
      url: z.string().max(500).optional(),
      /** Of an emote everybody has, without colons. */
      code: z.string().max(64).optional(),
    })
    .optional(),
  reply_to: id.optional(),
  /** As in ISO 639-1, if the client knows it. */
  language: z
    .string()
    .regex(/^[a-z]{2}(-[A-Z]{2})?$/)
    .optional(),
  /** The same message sent twice with one id is posted once. */
  client_id: z.string().min(1).max(64).optional(),
})
export type MessageBody = z.output<typeof messageBody>

export class Chat {
  constructor(
    readonly engine: EnginePort,
    readonly program: LoyaltyProgram,
    private readonly newId: () => string,
    /** What memory does not know any more. */
    private readonly coldNumberAt: (channelId: string, offset: number) => Promise<number | null>,
  ) {}

  /** How long messages are kept. */
  get retentionMs(): number {
    return this.program.rules.chat.retentionMs
  }

  /** The chat knows the member as they are now. */
  async enter(userId: string): Promise<void> {
    await this.engine.execute(this.program.chat.commands.chat.enter, { args: { userId }, who: system })
  }

  /** For those who come without having connected. */
  async ensureEntered(userId: string): Promise<void> {
    if (!(await this.engine.query(this.program.chat.queries.known, { userId }))) await this.enter(userId)
  }

  open(args: OpenChannel) {
    return this.engine.query(this.program.chat.queries.openChannel, args)
  }

  /** False, too, when the engine cannot tell. */
  mayRead(userId: string, channelId: string): Promise<boolean> {
    return this.engine.query(this.program.chat.queries.readable, { userId, channelId }).then(
      () => true,
      () => false,
    )
  }

  channels(userId: string) {
    return this.engine.query(this.program.chat.queries.channels, { userId })
  }

  /** Sent twice with one `client_id`, or else with one `key`, it is posted once. */
  post(who: Principal, channelId: string, body: MessageBody, key?: string): Promise<Posted> {
    const { text, media, reply_to: replyTo = null, language = null, client_id: clientId = null } = body
    const once = clientId ?? key
    return this.engine.execute(this.program.chat.commands.chat.post, {
      args: {
        messageId: this.newId(),
        ...{ channelId, text, replyTo, language, clientId },
        media: { type: media?.type ?? 'none', url: media?.url ?? null, code: media?.code ?? null },
      },
      who,
      ...(once === undefined ? {} : { key: `chat:${once}`, fingerprint: digestOf({ channelId, ...body }) }),
    })
  }

  edit(who: Principal, messageId: string, text: string) {
    return this.engine.execute(this.program.chat.commands.chat.edit, { args: { messageId, text }, who })
  }

  remove(who: Principal, messageId: string) {
    return this.engine.execute(this.program.chat.commands.chat.remove, { args: { messageId }, who })
  }

  react(who: Principal, messageId: string, emoji: string, isOn: boolean) {
    return this.engine.execute(this.program.chat.commands.chat.react, { args: { messageId, emoji, isOn }, who })
  }

  /** Everything up to an offset is read. Throws `offset_unknown` when it is too long ago to say what that was. */
  async read(who: Principal, channelId: string, offset: number) {
    const inMemory = await this.engine.query(this.program.chat.queries.numberAt, { channelId, offset })
    const number = inMemory ?? (await this.coldNumberAt(channelId, offset))
    if (number === null) {
      throw new DomainError('unprocessable', 'offset_unknown', 'Nothing is known of this offset any more.', {
        field: 'offset',
      })
    }
    return this.readTo(who, channelId, number)
  }

  /** Every message up to this number is read. */
  readTo(who: Principal, channelId: string, number: number) {
    return this.engine.execute(this.program.chat.commands.chat.read, { args: { channelId, number }, who })
  }
}

function digestOf(body: object): string {
  return createHash('sha256').update(JSON.stringify(body)).digest('base64url')
}
