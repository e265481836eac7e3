// What an administrator does meanwhile: pays money in, records sales, sets tiers. Each errand has one effect, however
// often it had to be sent.
import type { Random } from '../../engine/simulator/random.js'
import { pause } from '../support/campaign.js'
import { type Client, logInAdmin, type Member } from '../support/members.js'
import type { Deployment } from '../support/server.js'

const PAUSE_MS = 30
const tiers = ['standard', 'vip', 'high_roller', 'whale', null] as const

export interface Errand {
  readonly kind: 'fund' | 'sale' | 'tier'
  readonly reference: string
  /** Micro-USDT paid in, tins sold, or nothing. */
  readonly amount: bigint
  readonly userId: string | undefined
  readonly tier: (typeof tiers)[number]
  done: boolean
}

export class Errands {
  readonly all: Errand[] = []
  #admin: Client | undefined

  constructor(
    readonly site: Deployment,
    /** Whose tiers are set. */
    readonly members: readonly Member[],
    readonly random: Random,
  ) {}

  /** One errand after the other until `enough` or until one is not done. */
  async runUntil(enough: () => boolean): Promise<void> {
    while (!enough()) {
      const errand = this.#next()
      this.all.push(errand)
      if (!(await this.#send(errand))) return
      await pause(PAUSE_MS)
    }
  }

  /** Sends again what may not have happened, oldest first; returns what was refused. */
  async retry(): Promise<string[]> {
    const refused: string[] = []
    for (const errand of this.all.filter(({ done }) => !done)) {
      if (!(await this.#send(errand))) refused.push(`${errand.kind} ${errand.reference}`)
    }
    return refused
  }

  /** Another login on the same device would end this one. */
  get admin(): Client {
    if (this.#admin === undefined) throw new Error('nobody is logged in')
    return this.#admin
  }

  async logIn(): Promise<void> {
    this.#admin = await logInAdmin(this.site)
  }

  /** Those that were answered. */
  done(kind: Errand['kind']): readonly Errand[] {
    return this.all.filter((errand) => errand.done && errand.kind === kind)
  }

  /** What the administrator last said of each member's tier. */
  tiersSet(): Map<string, Errand['tier']> {
    return new Map(this.done('tier').map(({ userId = '', tier }) => [userId, tier]))
  }

  #next(): Errand {
    const { random } = this
    const kind = random.pick(['fund', 'fund', 'sale', 'tier'] as const)
    return {
      kind,
      reference: `chaos-${this.all.length}`,
      amount: kind === 'fund' ? BigInt(random.int(1, 40_000_000)) : BigInt(random.int(1, 3)),
      userId: kind === 'tier' ? random.pick(this.members).user.id : undefined,
      tier: random.pick(tiers),
      done: false,
    }
  }

  async #send(errand: Errand): Promise<boolean> {
    try {
      const { status } = await this.#ask(errand)
      errand.done = status === 200
    } catch {
      errand.done = false
    }
    return errand.done
  }

  async #ask({ kind, reference, amount, userId, tier }: Errand) {
    switch (kind) {
      case 'fund':
        return this.admin.post('/v1/admin/treasury/fund', { pool: 'member', amount: usdt(amount), reference })
      case 'sale':
        return this.admin.post('/v1/admin/volume', { tins: Number(amount), reference })
      case 'tier':
        return this.admin.put(`/v1/admin/users/${userId}`, { tier })
    }
  }
}

const usdt = (micro: bigint) => `${micro / 1_000_000n}.${String(micro % 1_000_000n).padStart(6, '0')}`
