/**
 * Who may have fewer rights than a moment ago: members whose tier or role has changed, and with the end of a quarter
 * everybody (BJ-T29). They are looked at again, and leave what is not theirs any more.
 *
 * B1 At most `MEMBERS_AT_ONCE` members are looked at before others get their turn.
 */
import { quarterOf } from '../../actors/programs/tiers.js'
import { administratorChanged, tierChanged } from '../../actors/user/facts.js'
import type { Environment } from '../../engine/store.js'

const MEMBERS_AT_ONCE = 100

export type RightsFact = ReturnType<typeof tierChanged.make> | ReturnType<typeof administratorChanged.make>

/** The types of facts that rights depend on: every process that has sockets is told of them. */
export const rightsFacts: readonly RightsFact['type'][] = [tierChanged.type, administratorChanged.type]

export interface RightsWatchOptions {
  readonly environment: Pick<Environment, 'now' | 'wakeAt'>
  /** Ids of the members who are here. */
  readonly present: () => readonly string[]
  /** Takes a member out of what is not theirs any more. Does not reject. */
  readonly recheck: (userId: string) => Promise<void>
}

export class RightsWatch {
  #cancelQuarter: (() => void) | undefined

  constructor(private readonly options: RightsWatchOptions) {}

  /** Waits for the end of the quarter, if it does not already. */
  start(): void {
    if (this.#cancelQuarter === undefined) this.#awaitQuarter()
  }

  stop(): void {
    this.#cancelQuarter?.()
    this.#cancelQuarter = undefined
  }

  hear({ userId }: RightsFact): void {
    void this.options.recheck(userId)
  }

  async recheckAll(userIds: readonly string[]): Promise<void> {
    for (let start = 0; start < userIds.length; start += MEMBERS_AT_ONCE) {
      const some = userIds.slice(start, start + MEMBERS_AT_ONCE)
      await Promise.all(some.map((userId) => this.options.recheck(userId)))
    }
  }

  /** Nearly everybody's tier ends with it, and nothing else says so. */
  #awaitQuarter(): void {
    const { environment, present } = this.options
    this.#cancelQuarter = environment.wakeAt(quarterOf(environment.now()).endsAt, () => {
      void this.recheckAll(present())
      this.#awaitQuarter()
    })
  }
}
