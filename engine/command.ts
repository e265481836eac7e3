import type { z } from 'zod'
import type { ActorRef, ActorType } from './actor.js'
import { assert } from './assert.js'
import type { DomainError } from './errors.js'
import type { Fact } from './fact.js'
import type { AnyTable, View } from './table.js'
import type { ReadScope, Turn } from './turn.js'

export type Role = 'public' | 'member' | 'admin' | 'system'

/** Who a command comes from. `system` is the core itself: messages, alarms and drivers. */
export interface Principal {
  readonly role: Role
  readonly userId: string
  readonly sessionId: string
}

export const system: Principal = { role: 'system', userId: '', sessionId: '' }
export const anonymous: Principal = { role: 'public', userId: '', sessionId: '' }

/** A refusal that keeps what the turn did (a counted failed attempt, say). Throw a DomainError to undo instead. */
export class Refusal {
  constructor(readonly error: DomainError) {}
}

export interface Command<Args = never, Reply = unknown> {
  readonly name: string
  /** Parsed at the edge; inside, the type is trusted. */
  readonly input: z.ZodType
  /** Admins may call member commands, the system may call all. */
  readonly who: Role
  /** The actors the turn may step besides pinned ones (T3). */
  actors(args: Args, who: Principal): readonly ActorRef[]
  /** A key that makes repeats of the same real-world event the same input, for ever. */
  naturalKey?(args: Args): string
  /** Synchronous and deterministic (T1, T2). */
  handle(turn: Turn, args: Args): Reply | Refusal
}

/** Declares a command; argument and reply types are inferred. */
export function defineCommand<Schema extends z.ZodType, Reply>(definition: {
  name: string
  input: Schema
  who: Role
  actors: (args: z.output<Schema>, who: Principal) => readonly ActorRef[]
  naturalKey?: (args: z.output<Schema>) => string
  handle: (turn: Turn, args: z.output<Schema>) => Reply | Refusal
}): Command<z.output<Schema>, Exclude<Reply, Refusal>> {
  return definition as Command<z.output<Schema>, Exclude<Reply, Refusal>>
}

export interface Query<Args = never, Result = unknown> {
  readonly name: string
  actors(args: Args): readonly ActorRef[]
  read(scope: ReadScope, args: Args): Result
}

/** Declares a read of in-memory state; it is answered in turn order and waits for what it saw to be durable (G2). */
export function defineQuery<Args, Result>(definition: Query<Args, Result>): Query<Args, Result> {
  return definition
}

/**
 * What follows from a fact elsewhere: called in the turn that emits it, to tell others (`turn.tell`). It may read what
 * that turn may read.
 */
export type Reactions = Readonly<Record<string, (turn: Turn, fact: Fact) => void>>

/** One platform on the engine: its actor types, tables, views and commands. */
export interface Program {
  readonly name: string
  readonly actors: readonly ActorType[]
  readonly tables: readonly AnyTable[]
  readonly views: readonly View[]
  readonly commands: readonly Command[]
  /** By type of fact. */
  readonly reactions?: Reactions
}

/** The commands of a program by name. */
export class Commands {
  readonly #byName = new Map<string, Command>()

  constructor(readonly program: Program) {
    for (const command of program.commands) {
      assert(!this.#byName.has(command.name), `command ${command.name} is declared twice`)
      this.#byName.set(command.name, command)
    }
  }

  named(name: string): Command {
    const command = this.#byName.get(name)
    assert(command !== undefined, `there is no command ${name} in ${this.program.name}`)
    return command
  }

  /** Handles a command, and lets everybody concerned be told of its facts. */
  handle(command: Command, turn: Turn, args: never): unknown {
    const result = command.handle(turn, args)
    assert(!(result instanceof Promise), `${command.name} is not synchronous (T1)`)
    const { reactions } = this.program
    if (reactions !== undefined) for (const fact of [...turn.facts]) reactions[fact.type]?.(turn, fact)
    return result
  }

  /** What a turn tells must be deliverable: a record that asks for the impossible would end every start (J3). */
  assertDeliverable({ messages, alarms }: Turn): void {
    for (const { command, args } of messages) this.named(command).actors(args as never, system)
    for (const alarm of alarms) if (alarm.at !== null) this.named(alarm.command).actors(alarm.args as never, system)
  }
}
