/**
 * Everything clients may say: the handshake and the commands. What they send is hostile until parsed; every command
 * that asks for an answer gets one, and nothing they send can throw.
 */
import { z } from 'zod'
import { DomainError } from '../../engine/errors.js'
import { problemOf } from '../http/toolkit/problem.js'
import { NOT_TEXT, unkeepableText } from '../http/toolkit/text.js'
import type { Entry, ServerSocket } from './client-out.js'
import type { CommandsUnderWay } from './commands-under-way.js'
import type { SocketLimits } from './limits.js'
import type { Authenticated, Member, Members } from './members.js'
import type { SocketLog, SocketMetrics } from './metrics.js'
import type { Stream } from './stream.js'
import { TokenBucket } from './token-bucket.js'

const TOKEN_LENGTH_MAX = 4_096
const EPOCH_LENGTH_MAX = 128

const handshakeSchema = z.object({ token: z.string().max(TOKEN_LENGTH_MAX).nullish() })
const resumeSchema = z.object({
  stream: z.string().optional(),
  epoch: z.string().max(EPOCH_LENGTH_MAX),
  offset: z.int().nonnegative(),
})

/** How the client is told of a refusal, in an ack or a `connect_error`. */
export interface WireError {
  readonly code: string
  readonly message: string
  readonly field?: string
  /** Seconds after which trying again can succeed. */
  readonly retry_after?: number
}

/** A command of a client; what it returns is the answer, a DomainError it throws is the refusal. */
export type Command = (payload: unknown) => unknown
export type Commands = ReadonlyMap<string, Command>

export interface HandshakeOptions {
  /** Rejects while there is nothing to be told here. */
  readonly ready?: () => Promise<void>
  readonly authenticate: (token: string, context: { readonly ip: string }) => Authenticated | Promise<Authenticated>
  readonly checkSession: (principal: Authenticated['principal']) => Promise<void>
  readonly members: Members
  readonly metrics: SocketMetrics
  readonly log: SocketLog
  readonly ipOf: (socket: ServerSocket) => string
}

/** Socket.IO middleware: a valid token of a living session, or none at all where the public may enter. */
export function handshake(options: HandshakeOptions, publicMayEnter: boolean) {
  return (socket: ServerSocket, next: (error?: Error) => void): void => {
    admit(socket, options, publicMayEnter).then(
      () => next(),
      (cause: unknown) => {
        const error = wireError(cause, options.log)
        options.metrics.refused(error.code)
        next(Object.assign(new Error(error.message), { data: error }))
      },
    )
  }
}

async function admit(socket: ServerSocket, options: HandshakeOptions, publicMayEnter: boolean): Promise<void> {
  const { token } = parse(handshakeSchema, socket.handshake.auth)
  await options.ready?.()
  if (token === undefined || token === null || token === '') {
    if (publicMayEnter) return
    throw new DomainError('unauthorized', 'unauthorized', 'This namespace needs a token.', { field: 'token' })
  }
  const member = options.members.enter(socket, await options.authenticate(token, { ip: options.ipOf(socket) }))
  try {
    await options.checkSession(member.principal)
    refuseEnded(member)
  } catch (error) {
    member.leave()
    throw error
  }
  socket.data.member = member
}

function refuseEnded({ endedBecause }: Member): void {
  if (endedBecause === undefined) return
  throw new DomainError('unauthorized', 'session_ended', `This session has ended: ${endedBecause}.`)
}

export interface CommandOptions {
  readonly limits: SocketLimits
  readonly underWay: CommandsUnderWay
  readonly now: () => number
  readonly metrics: SocketMetrics
  readonly log: SocketLog
}

type Ack = (answer: unknown) => void

/** Answers the commands of one socket, within its limits. */
export function serveCommands(socket: ServerSocket, commands: Commands, options: CommandOptions): void {
  const { limits, underWay, now, metrics, log } = options
  const bucket = new TokenBucket(limits.eventBurst, limits.eventsPerSecond, now)
  let inFlight = 0

  const run = async (name: string, payload: unknown): Promise<unknown> => {
    const retryAfterMs = bucket.take()
    if (retryAfterMs > 0) throw new DomainError('too_many', 'rate_limited', 'Too many events.', { retryAfterMs })
    const command = commands.get(name)
    if (command === undefined) throw new DomainError('not_found', 'unknown_event', 'There is no such event here.')
    if (inFlight >= limits.commandsInFlightMax) {
      throw new DomainError('too_many', 'too_many_in_flight', 'Too many commands wait for their outcome.')
    }
    inFlight += 1
    try {
      return await underWay.run(() => command(payload))
    } finally {
      inFlight -= 1
    }
  }

  socket.onAny((event: unknown, ...args: unknown[]) => {
    const last = args.at(-1)
    const ack: Ack = typeof last === 'function' ? (last as Ack) : () => {}
    const payload = typeof args[0] === 'function' ? undefined : args[0]
    const name = String(event)
    const label = commands.has(name) ? name : 'unknown'
    run(name, payload).then(
      (answer) => {
        metrics.received(label, 'ok')
        ack(answer)
      },
      (cause: unknown) => {
        const error = wireError(cause, log)
        metrics.received(label, error.code)
        ack({ error })
      },
    )
  })
}

/** The command that tells a client what he missed of a stream (X1). */
export function resumeCommand(name: string, stream: Stream<Entry>): Command {
  return (payload) => {
    const wanted = parse(resumeSchema, payload)
    if (wanted.stream !== undefined && wanted.stream !== name) {
      throw new DomainError('not_found', 'unknown_stream', `This namespace has the stream ${name}.`, {
        field: 'stream',
      })
    }
    const events = stream.since(wanted.epoch, wanted.offset)
    return events === 'resync' ? { resync: true, ...stream.position } : { events, ...stream.position }
  }
}

/** Parses what a client sent, or throws `invalid_input` naming the field. */
export function parse<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value)
  if (result.success) {
    const field = unkeepableText(result.data)
    if (field === undefined) return result.data
    throw new DomainError('invalid', 'invalid_input', NOT_TEXT, { field })
  }
  const [issue] = result.error.issues
  const field = issue?.path.join('.') ?? ''
  const message = issue?.message ?? 'Not valid.'
  throw new DomainError('invalid', 'invalid_input', message, field === '' ? {} : { field })
}

function wireError(cause: unknown, log: SocketLog): WireError {
  const { problem, unexpected } = problemOf(cause, '')
  if (unexpected) log.error({ err: cause }, 'a socket command failed')
  const { code, detail, field, retry_after } = problem
  return {
    code,
    message: detail,
    ...(field === undefined ? {} : { field }),
    ...(retry_after === undefined ? {} : { retry_after }),
  }
}
