/**
 * One run: everything a seed stands for, from the first process to the last check.
 *
 * First clients, faults and time do what the seed says; then the faults are over, everything that was asked must be
 * settled, everything that is durable must be in the database, and all checks are made.
 */
import type { CheckName } from './catalogue.js'
import { ChatClients } from './chat-clients.js'
import { checkAll, checkMemory } from './checks.js'
import { Clients } from './clients.js'
import { Deployment, type World } from './deployment.js'
import { SimulatedDisk } from './disk.js'
import { type Fault, Faults } from './faults.js'
import { SimulatedPostgres } from './postgres.js'
import { DAY_MS, HOUR_MS } from './program.js'
import { Life, Scheduler } from './scheduler.js'
import { Sockets } from './sockets.js'
import { CheckFailure, Story } from './story.js'
import { drawSteps, type Step } from './workload.js'

export interface RunOptions {
  readonly seed: number
  /** How many steps clients make. */
  readonly steps?: number
  readonly without?: ReadonlySet<Fault>
  /** Steps left out, by their place. */
  readonly skip?: ReadonlySet<number>
  readonly trace?: boolean
}

export interface RunResult {
  readonly seed: number
  readonly failure: { readonly check: CheckName; readonly what: string } | undefined
  readonly marks: ReadonlyMap<string, number>
  readonly records: number
  readonly events: number
  /** Of everything that happened: two runs of a seed have the same. */
  readonly digest: string
  readonly lines: readonly string[]
}

export const STEPS = 115
const EVENTS_MAX = 100_000
/** Then its process is left alone: a start takes more events the longer the journal, and has to end before the next death. */
const STARTS_MAX = 60

export async function simulate(options: RunOptions): Promise<RunResult> {
  const run = new Run(options)
  const failure = await run.whole().then(
    () => run.story.failure,
    (error: unknown) => run.story.failure ?? asFailure(error),
  )
  const { story, scheduler, deployment } = run
  return {
    seed: options.seed,
    failure: failure && { check: failure.check, what: failure.message },
    marks: story.marks,
    records: deployment.history.records.length,
    events: scheduler.steps,
    digest: story.digest(),
    lines: story.lines,
  }
}

function asFailure(error: unknown): CheckFailure {
  return new CheckFailure('nothing fails unexpectedly', String(error instanceof Error ? error.stack : error))
}

class Run {
  readonly scheduler = new Scheduler()
  readonly story: Story
  readonly faults: Faults
  readonly world: World
  readonly deployment: Deployment
  readonly clients: Clients
  readonly sockets: Sockets
  readonly chat: ChatClients
  readonly #steps: readonly Step[]
  readonly #life = new Life('run')
  #begun = false
  #next = 0
  #isAskingDone = false

  constructor({ seed, steps = STEPS, without = new Set(), skip = new Set(), trace = false }: RunOptions) {
    const { scheduler } = this
    this.story = new Story(scheduler, trace)
    this.faults = new Faults(seed, without, (fault) => this.story.mark(`fault: ${fault}`))
    const { story, faults } = this
    const disk = new SimulatedDisk(seed, scheduler, faults, story)
    const postgres = new SimulatedPostgres(seed, scheduler, faults, story)
    this.world = { seed, scheduler, faults, story, disk, postgres }
    this.deployment = new Deployment(this.world)
    this.clients = new Clients(this.world, this.deployment)
    this.sockets = new Sockets(this.world, this.deployment)
    this.chat = new ChatClients(this.world, this.deployment)
    this.#steps = drawSteps(seed, steps).filter((_, at) => !skip.has(at))
  }

  async whole(): Promise<void> {
    const { deployment, clients, faults, story } = this
    deployment.start()
    clients.begin().then(
      () => {
        this.#begun = true
        this.chat.begin()
        this.#perform()
      },
      () => {},
    )
    await this.#until(
      'liveness: clients get through what they want',
      () => this.#isAskingDone && clients.unsettled === 0,
      true,
    )
    faults.areOver = true
    story.tell('run', 'the faults are over')
    await this.#settle()
    await this.#during(checkAll(this.world, deployment, clients, this.chat))
    this.sockets.check()
    this.chat.check()
    await this.#during(this.chat.checkRights(false))
    await this.#stopAndStart()
    this.chat.comeBackAll()
    await this.#until('liveness: a chat comes back', () => this.chat.isSettled)
    this.chat.check()
    await this.#during(this.chat.checkRights(true))
    await this.#during(checkMemory(story, deployment))
  }

  /** Starts the next step after its pause. */
  #perform(): void {
    const step = this.#steps[this.#next]
    if (step === undefined) {
      this.#isAskingDone = true
      return
    }
    this.scheduler.after(step.afterMicros, this.#life, () => {
      this.#next += 1
      this.#jumpClock()
      if (step.kind === 'come back') this.chat.comeBack(step.member)
      else if (step.kind === 'say') this.chat.say(step.member, step.channelId)
      else this.clients.perform(step)
      this.#perform()
    })
  }

  #jumpClock(): void {
    const { faults, deployment, story } = this
    for (const fault of ['clock back', 'clock forward'] as const) {
      if (!faults.strikes(fault)) continue
      const ms = faults.random(fault).int(1, 2 * HOUR_MS)
      deployment.clockSkewMs += fault === 'clock back' ? -ms : ms
      story.tell('clock', `goes ${fault.slice(6)} by ${ms} ms`)
    }
  }

  /** Waits until nothing is under way: alarms have fired, messages have come, the database has everything. */
  async #settle(): Promise<void> {
    const { deployment, world, scheduler } = this
    await this.#until('liveness: a server runs', () => deployment.running !== undefined && !deployment.isStopping)
    await this.#until('liveness: a chat comes back', () => this.chat.isSettled)
    // Beyond every alarm, whatever was done to the clock.
    scheduler.after(3 * DAY_MS * 1_000, this.#life, () => {})
    const isQuiet = () => {
      const { running } = deployment
      if (running === undefined) return false
      const { alarms, outstanding_messages, loading_inputs, last_seq } = running.shard.gauges()
      // Who gave up waiting may have an input that still waits for the database.
      if (loading_inputs !== 0) return false
      return alarms === 0 && outstanding_messages === 0 && world.postgres.tables.appliedSeq === last_seq
    }
    await this.#until('liveness: everything comes to rest', isQuiet)
    await this.#until('liveness: memory is told so', () => deployment.running?.shard.gauges().lag_records === 0)
    await this.#until('liveness: a chat comes back', () => this.chat.isSettled)
  }

  async #stopAndStart(): Promise<void> {
    const { deployment } = this
    const before = deployment.history.lastSeq
    const { running } = deployment
    void deployment.stop()
    await this.#until('liveness: a stop ends', () => deployment.running !== running && deployment.running !== undefined)
    this.story.check('a stop adds nothing', deployment.history.lastSeq === before, () => `${before}`)
  }

  /** Lets things happen while `work` goes on. */
  async #during<Done>(work: Promise<Done>): Promise<Done> {
    let isDone = false
    const end = work.finally(() => {
      isDone = true
    })
    end.catch(() => {})
    await this.#until('liveness: the checks are made', () => isDone)
    return end
  }

  /** Lets things happen until `isReached`; fails when they never get there. */
  async #until(what: CheckName, isReached: () => boolean, withFaults = false): Promise<void> {
    const { scheduler, story } = this
    while (!isReached()) {
      const goesOn = await scheduler.step()
      if (story.failure !== undefined) throw story.failure
      if (isReached()) return
      story.check(what, goesOn && scheduler.steps < EVENTS_MAX, () => `after ${scheduler.steps} events`)
      if (withFaults) this.#strike()
    }
  }

  #strike(): void {
    const { faults, deployment } = this
    if (deployment.starts > STARTS_MAX) return
    if (faults.strikes('kill')) deployment.kill('it was killed')
    else if (faults.strikes('power loss')) deployment.losePower()
    else if (this.#begun && faults.strikes('graceful stop')) void deployment.stop()
  }
}
