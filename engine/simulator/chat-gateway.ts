/**
 * `/social/ws` of one process: the real rooms and commands, on sockets that are lines of the simulated network.
 *
 * X1 What is told to a room goes to the sockets that are in it, in order. X2 A line that is too far behind is closed.
 */

import { Registry } from 'prom-client'
import type { LoyaltyProgram } from '../../actors/programs/loyalty.js'
import { Chat } from '../../gateway/chat.js'
import type { EnginePort } from '../../gateway/engine-port.js'
import type { Principal } from '../../gateway/http/toolkit/principal.js'
import { ChatSockets } from '../../gateway/sockets/chat-sockets.js'
import { serveCommands } from '../../gateway/sockets/client-in.js'
import type { ServerSocket, SocketNamespace } from '../../gateway/sockets/client-out.js'
import { CommandsUnderWay } from '../../gateway/sockets/commands-under-way.js'
import { defaultSocketLimits } from '../../gateway/sockets/limits.js'
import { type SocketLog, SocketMetrics } from '../../gateway/sockets/metrics.js'
import { ReadyJson } from '../../gateway/sockets/ready-json.js'
import type { TurnRecord } from '../record.js'
import type { Environment } from '../store.js'

/** Small, so that every limit is met. */
const LIMITS = { channelsPerSocketMax: 10, channelEventsKept: 4, joinBytesMax: 4_000, typingPerSecond: 1 }
/** Messages that fit into one answer at least. */
export const JOINED_MIN = 5

/** The server's end of a line. */
export interface Line {
  /** Sends an event. */
  say(event: string, data: unknown): void
  /** The server closes the connection. */
  close(): void
}

type Ack = (answer: unknown) => void
type Listener = (event: string, payload: object, ack: Ack) => void

const parsed = new WeakMap<ReadyJson, unknown>()

/** What a client hears of what is said: words that were made for many are the same for all of them. */
function heardOf(said: unknown): unknown {
  if (!(said instanceof ReadyJson)) return said
  const heard = parsed.get(said) ?? JSON.parse(said.text)
  parsed.set(said, heard)
  return heard
}

/** What the chat uses of a socket of Socket.IO. */
export class SimulatedSocket {
  connected = true
  readonly data: { readonly member: { readonly principal: Principal } }
  #listener: Listener = () => {}
  #onDisconnect = () => {}

  constructor(
    readonly id: string,
    readonly namespace: SimulatedNamespace,
    readonly principal: Principal,
    readonly line: Line,
  ) {
    this.data = { member: { principal } }
  }

  join(room: string): void {
    if (this.connected) this.namespace.enter(room, this.id)
  }

  leave(room: string): void {
    this.namespace.leave(room, this.id)
  }

  emit(event: string, data: unknown): void {
    if (this.connected) this.line.say(event, heardOf(data))
  }

  onAny(listener: Listener): void {
    this.#listener = listener
  }

  once(_: 'disconnect', listener: () => void): void {
    this.#onDisconnect = listener
  }

  receive(event: string, payload: object, ack: Ack): void {
    if (this.connected) this.#listener(event, payload, (answer) => ack(heardOf(answer)))
  }

  disconnect(): void {
    if (!this.connected) return
    this.connected = false
    this.namespace.forget(this.id)
    this.#onDisconnect()
    this.line.close()
  }
}

/** What the chat uses of a namespace of Socket.IO. */
class SimulatedNamespace {
  constructor(readonly environment: Pick<Environment, 'now' | 'wakeAt'>) {}

  readonly sockets = new Map<string, SimulatedSocket>()
  readonly adapter = { rooms: new Map<string, Set<string>>() }

  to(room: string) {
    const emit = (event: string, data: unknown) => {
      for (const id of this.adapter.rooms.get(room) ?? []) this.sockets.get(id)?.emit(event, data)
    }
    return { emit }
  }

  enter(room: string, id: string): void {
    const { rooms } = this.adapter
    rooms.set(room, (rooms.get(room) ?? new Set()).add(id))
  }

  leave(room: string, id: string): void {
    this.adapter.rooms.get(room)?.delete(id)
  }

  forget(id: string): void {
    this.sockets.delete(id)
    for (const room of this.adapter.rooms.values()) room.delete(id)
  }
}

export interface ChatGatewayOptions {
  readonly engine: EnginePort
  readonly program: LoyaltyProgram
  readonly environment: Pick<Environment, 'now' | 'wakeAt' | 'newId'>
  readonly log: SocketLog
}

const metrics = new SocketMetrics(new Registry())

export class ChatGateway {
  readonly #namespace: SimulatedNamespace
  readonly #chat: ChatSockets
  readonly #underWay = new CommandsUnderWay()
  #sockets = 0

  constructor(readonly options: ChatGatewayOptions) {
    const { engine, program, environment, log } = options
    const chat = new Chat(
      engine,
      program,
      () => environment.newId(),
      () => Promise.resolve(null),
    )
    this.#namespace = new SimulatedNamespace(environment)
    const namespace = this.#namespace as unknown as SocketNamespace
    this.#chat = new ChatSockets({ namespace, isShared: false, chat, environment, metrics, log, limits: LIMITS })
  }

  /** A member is connected. */
  admit(principal: Principal, line: Line): SimulatedSocket {
    this.#sockets += 1
    const socket = new SimulatedSocket(`s${this.#sockets}`, this.#namespace, principal, line)
    this.#namespace.sockets.set(socket.id, socket)
    const asServer = socket as unknown as ServerSocket
    const { environment, log } = this.options
    const commands = this.#chat.welcome(asServer)
    const now = () => environment.now()
    serveCommands(asServer, commands, { limits: defaultSocketLimits, underWay: this.#underWay, now, metrics, log })
    return socket
  }

  publish(record: Pick<TurnRecord, 'facts'>): void {
    this.#chat.publish(record)
  }

  /** Everybody is to come back. */
  dismissAll(): void {
    for (const socket of [...this.#namespace.sockets.values()]) socket.disconnect()
  }

  /** The process is gone. */
  end(): void {
    this.dismissAll()
    this.#chat.stop()
  }
}
