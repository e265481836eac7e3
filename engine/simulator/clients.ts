/**
 * Clients and drivers: they ask, wait, lose patience, ask again with the same key, ask twice at once and long after.
 *
 * Checked all along: whatever the same key is answered is the same answer (G3), and no answer is about what is not on
 * the disk (J1, G2).
 */

import { parseCode } from '../../actors/codes/code-text.js'
import { packCodes } from '../../actors/codes/commands.js'
import { assert } from '../assert.js'
import { type Command, type Principal, system } from '../command.js'
import { DomainError } from '../errors.js'
import type { Outcome } from '../outcome.js'
import { ChatWishes } from './chat-wishes.js'
import type { Deployment, World } from './deployment.js'
import { codeCounts, type MadeCodes, madeCodes, programWithoutState, USDT, uuid } from './program.js'
import { Random } from './random.js'
import { Life } from './scheduler.js'
import { MEMBERS, type Step } from './workload.js'

const NETWORK_MICROS = [20, 20_000] as const
const PATIENCE_MICROS = [500_000, 4_000_000] as const
const LATE_MICROS = [1_000_000, 600_000_000] as const
const ALONE = [0, 0, 1, 2, 2] as const

/** One thing that one client wants done once. */
export interface Wish {
  readonly name: string
  readonly command: Command
  readonly args: unknown
  readonly who: Principal
  /** The client's key; without one it asks only once, unless the command has a key of its own. */
  readonly key: string | undefined
  /** The key under which the outcome is stored. */
  readonly storedKey: string | undefined
  answer: string | undefined
  isAnswerRecorded: boolean
  outcome: Outcome<unknown> | undefined
  isSettled: boolean
  onSettled: (outcome: Outcome<unknown> | undefined) => void
}

export class Clients {
  readonly wishes: Wish[] = []
  readonly #random: Random
  readonly #life = new Life('clients')
  readonly #members: Principal[] = []
  readonly #program = programWithoutState
  readonly #chat = new ChatWishes(this.#program)
  #keys = 0
  #sessions = 0

  constructor(
    readonly world: World,
    readonly deployment: Deployment,
  ) {
    this.#random = new Random(world.seed, 'clients')
  }

  get unsettled(): number {
    return this.wishes.filter(({ isSettled }) => !isSettled).length
  }

  /** What every run begins with: five members, two of them referred by others, and codes of each status. */
  async begin(): Promise<void> {
    for (let member = 1; member <= MEMBERS; member++) await this.#openMember(member, ALONE[member - 1] ?? 0)
    for (const made of madeCodes) await this.#makeCodes(made)
    for (const { command, args, who } of this.#chat.beginning(this.#members)) {
      await this.#granted(command as Command<unknown>, args, who)
    }
  }

  async #openMember(member: number, referrer: number): Promise<void> {
    const { commands } = this.#program
    const [userId, sessionId] = [uuid('a', member), uuid('5e', member)]
    const args = {
      ...{ userId, email: `m${member}@example.com`, full_name: `Member ${member}`, date_of_birth: '1990-01-01' },
      ...{ language: 'en', passwordHash: 'hash', verification: null, isAdmin: false },
      session: { sessionId, device: 'mobile' as const },
      ...(referrer === 0 ? {} : { ref: `MEMBER${referrer}` }),
    }
    this.#members.push({ role: 'member', userId, sessionId })
    await this.#granted(commands.open, args)
  }

  async #makeCodes({ status, packed }: MadeCodes): Promise<void> {
    const { commands } = this.#program
    const order = { name: status, quantity: codeCounts[status], product_sku: 'SPEARMINT-3MG', checksum: false }
    const { batch } = (await this.#granted(commands.createBatch, order)) as { batch: number }
    await this.#granted(commands.appendCodes, { batch, after: 0, codes: packed })
    if (status === 'manufactured') await this.#granted(commands.manufacture, { codes: packed })
    if (status === 'invalidated') await this.#granted(commands.setUnused, { codes: packed, status })
  }

  perform(step: Exclude<Step, { kind: 'come back' | 'say' }>): void {
    const { commands } = this.#program
    const member = 'member' in step ? (this.#members[step.member] as Principal) : system
    const { userId } = member
    switch (step.kind) {
      case 'scan':
        this.#wish(commands.submitScan, { code: step.code, ip: '203.0.113.7' }, member, step.isKeyed)
        break
      case 'look':
        this.#look(member)
        break
      case 'fund':
        this.#report(commands.fund, { pool: 'member' as const, amount: step.dollars * USDT, reference: step.reference })
        break
      case 'sell': {
        const buyer = step.buyer === null ? null : (this.#members[step.buyer]?.userId ?? null)
        this.#report(commands.recordSale, { tins: step.tins, reference: step.reference, userId: buyer })
        break
      }
      case 'unlock':
        this.#wish(commands.unlock, { compType: step.compType })
        break
      case 'threshold':
        this.#wish(commands.setThreshold, { compType: step.compType, tinsPerMonth: step.tins })
        break
      case 'tier':
        this.#wish(commands.setTier, { userId, tier: step.tier })
        break
      case 'suspend':
        this.#wish(commands.setStanding, { userId, standing: 'suspended' as const, reason: 'test' })
        break
      case 'return':
        this.#return(step.member)
        break
      case 'fail login':
        this.#wish(commands.failLogin, { userId, ip: null })
        break
      case 'codes': {
        const halves = step.codes.flatMap((text) => {
          const code = parseCode(text)
          assert(code !== null, `${text} is no code`)
          return [code.hi, code.lo]
        })
        const codes = Uint8Array.from(packCodes(Uint32Array.from(halves)))
        if (step.status === 'manufactured') this.#wish(commands.manufacture, { codes })
        else this.#wish(commands.setUnused, { codes, status: step.status })
        break
      }
      case 'open':
        this.#open(member, step.channelId)
        break
      default: {
        const { command, args, who } = this.#chat.of(step, member)
        this.#wish(command as Command<unknown>, args, who)
      }
    }
  }

  /** Activates a member, who then logs in. */
  #return(at: number): void {
    const { commands } = this.#program
    const member = this.#members[at] as Principal
    const { userId } = member
    const activate = this.#wish(commands.setStanding, { userId, standing: 'active' as const, reason: 'test' })
    activate.onSettled = () => {
      const sessionId = uuid('5e5', ++this.#sessions)
      const args = { userId, sessionId, device: 'mobile' as const, ip: null, step: null, usedBackupHash: null }
      this.#wish(commands.logIn, args).onSettled = (outcome) => {
        if (outcome?.ok) this.#members[at] = { ...member, sessionId }
      }
    }
  }

  /** A driver tells what happened outside, perhaps more than once: the command has a natural key. */
  #report<Args extends { readonly reference: string }>(command: Command<Args>, args: Args): void {
    const times = this.world.faults.strikes('doubled report') ? 2 : 1
    for (let time = 0; time < times; time++) {
      this.#add(command as Command, args, system, undefined, `${command.name}!${args.reference}`)
    }
  }

  #wish<Args>(command: Command<Args>, args: Args, who: Principal = system, isKeyed = true): Wish {
    const key = isKeyed ? `key ${++this.#keys}` : undefined
    return this.#add(command as Command, args, who, key, key && `${who.userId}:${key}`)
  }

  async #granted<Args>(command: Command<Args>, args: Args, who: Principal = system): Promise<unknown> {
    const wish = this.#wish(command, args, who)
    const outcome = await new Promise<Outcome<unknown> | undefined>((resolve) => {
      wish.onSettled = resolve
    })
    const { story } = this.world
    story.check('what is asked first is granted', outcome?.ok === true, () => `${wish.name}: ${wish.answer}`)
    return outcome?.ok ? outcome.reply : undefined
  }

  #add(command: Command, args: unknown, who: Principal, key: string | undefined, storedKey: string | undefined): Wish {
    const name = `${command.name} ${key ?? storedKey ?? 'once'}`
    const wish: Wish = {
      ...{ name, command, args, who, key, storedKey },
      ...{ answer: undefined, isAnswerRecorded: false, outcome: undefined, isSettled: false, onSettled: () => {} },
    }
    this.wishes.push(wish)
    this.#ask(wish)
    return wish
  }

  #ask(wish: Wish): void {
    const { faults } = this.world
    const times = wish.storedKey !== undefined && faults.strikes('doubled request') ? 2 : 1
    for (let time = 0; time < times; time++) {
      const isLost = faults.strikes('lost request')
      this.#after(NETWORK_MICROS, () => isLost || this.#arrive(wish))
    }
    this.#after(PATIENCE_MICROS, () => this.#again(wish))
  }

  /** Nobody knows what became of it: whoever has a key asks again. */
  #again(wish: Wish): void {
    if (wish.isSettled) return
    if (wish.storedKey === undefined) this.#settle(wish, undefined)
    else {
      this.world.story.mark('a client asked again')
      this.#ask(wish)
    }
  }

  #arrive(wish: Wish): void {
    // A run must come to rest: what was settled is not asked for again at its end.
    if (wish.isSettled && this.world.faults.areOver) return
    const { running } = this.deployment
    if (running === undefined) {
      this.world.story.mark('a request found no server')
      return
    }
    const { command, args, who, key } = wish
    // The command of the process that is running now, by name.
    const live = running.program.program.commands.find(({ name }) => name === command.name) as Command<unknown>
    const request = { args, who, key, fingerprint: key && wish.name }
    const isKnown = this.#seqOf(wish) !== undefined
    running.shard.submit(live, request, (outcome) => this.#answered(wish, outcome, isKnown))
  }

  #seqOf({ storedKey }: Wish): number | undefined {
    return storedKey === undefined ? undefined : this.deployment.history.seqByKey.get(storedKey)
  }

  /**
   * The record an answer is of. A refusal that left no record may be followed by a repeat that is granted: what was decided
   * before that record leaves before it, too (G1).
   */
  #answeredSeq(wish: Wish, outcome: Outcome<unknown>, wasKnown: boolean): number | undefined {
    const { records, toldSeq } = this.deployment.history
    const seq = this.#seqOf(wish)
    if (seq === undefined || wasKnown || outcome.ok || toldSeq >= seq) return seq
    return records[seq - 1]?.idempotency?.outcome.ok === false ? seq : undefined
  }

  /** The answer leaves the server. */
  #answered(wish: Wish, outcome: Outcome<unknown>, wasKnown: boolean): void {
    const { story, faults } = this.world
    const { history } = this.deployment
    if (!outcome.ok && !(outcome.error instanceof DomainError)) {
      story.check('nobody is answered with a fault', false, () => `${wish.name}: ${outcome.error.stack}`)
    }
    const seq = this.#answeredSeq(wish, outcome, wasKnown)
    if (seq !== undefined && !isUnavailable(outcome)) history.onTold(seq)
    if (faults.strikes('lost answer')) return
    this.#after(NETWORK_MICROS, () => this.#receive(wish, outcome, seq !== undefined))
  }

  #receive(wish: Wish, outcome: Outcome<unknown>, isRecorded: boolean): void {
    const { story, faults } = this.world
    const answer = textOf(outcome)
    story.tell('client', `${wish.name}: ${answer}`)
    if (isUnavailable(outcome)) {
      story.mark(`unavailable: ${answer}`)
      return
    }
    // A refusal that left no record is decided anew when it is asked for again.
    if (isRecorded && wish.isAnswerRecorded) {
      story.check('the same key gets the same answer', answer === wish.answer, () => {
        return `${wish.name}: ${answer}, before ${wish.answer}`
      })
      story.mark('a repeat was answered as before')
    }
    if (isRecorded || wish.answer === undefined) wish.answer = answer
    wish.isAnswerRecorded ||= isRecorded
    if (wish.isSettled) return
    if (wish.storedKey !== undefined && faults.strikes('late repeat')) {
      this.#after(LATE_MICROS, () => this.#arrive(wish))
    }
    this.#settle(wish, outcome)
  }

  #settle(wish: Wish, outcome: Outcome<unknown> | undefined): void {
    wish.isSettled = true
    wish.outcome = outcome
    wish.onSettled(outcome)
  }

  /** Reads a member: what it shows must be on the disk (G2). */
  #look({ userId }: Principal): void {
    const { running, history } = this.deployment
    const { story } = this.world
    if (running === undefined) return
    running.shard.query(running.program.queries.member, { userId }).then(
      (member) => {
        if (member === null || !running.life.isAlive) return
        const onDisk = history.records
          .slice(0, history.keptSeq)
          .flatMap(({ facts }) => facts)
          .filter((fact) => fact.type === 'scan.accepted' && 'userId' in fact && fact.userId === userId).length
        const told = member.lifetimeScans
        story.check('a read shows only what is on the disk', told <= onDisk, () => `${told} scans, ${onDisk} on disk`)
        story.mark('a member was read')
      },
      () => story.mark('a read was refused'),
    )
  }

  /** Reads a channel: what it shows must be on the disk (G2). */
  #open({ userId }: Principal, channelId: string): void {
    const { running, history } = this.deployment
    const { story } = this.world
    if (running === undefined) return
    const { openChannel } = running.program.chat.queries
    running.shard.query(openChannel, { userId, channelId, position: null, limit: 5 }).then(
      ({ view }) => {
        if (!running.life.isAlive) return
        const kept = history.records.slice(0, history.keptSeq).flatMap(({ facts }) => facts)
        const onDisk = kept.filter((fact) => 'offset' in fact && 'channelId' in fact && fact.channelId === channelId)
        story.check('a read shows only what is on the disk', view.offset <= onDisk.length, () => {
          return `${channelId} is shown up to ${view.offset}, ${onDisk.length} on disk`
        })
        story.mark('a channel was read')
      },
      () => story.mark('a read was refused'),
    )
  }

  #after(range: readonly [number, number], run: () => void): void {
    this.world.scheduler.after(this.#random.skewed(...range), this.#life, run)
  }
}

const isUnavailable = (outcome: Outcome<unknown>) =>
  !outcome.ok && outcome.error instanceof DomainError && outcome.error.kind === 'unavailable'

/** By content, so that an answer from memory and one read back are the same. */
export function textOf(outcome: Outcome<unknown>): string {
  if (!outcome.ok) return outcome.error instanceof DomainError ? outcome.error.code : outcome.error.message
  return JSON.stringify(outcome.reply ?? null, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value))
}
