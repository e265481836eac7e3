// What can befall a wallet on the real Solana VM, seen through two nodes of which each may fail and lie.
import { pause } from '../../support/campaign.js'
import { solanaBench } from '../../support/payout-solana.js'
import { answerWith, type Fault, hangUp, lieAbout, someone } from '../../support/solana.js'
import type { Scope } from '../scope.js'
import type { Climate, Life } from './life.js'

const NODES = 2
/** Beyond what a wallet waits for an answer. */
const LATE_MS_MAX = 1_200
/** Past the life of every blockhash, for good. */
const EXPIRY_SLOTS = 150 + 32 + 20
const EXPIRY_MS = 90_000

const deny = lieAbout((result) => {
  const { context, value } = result as { context: unknown; value: unknown[] }
  return { context, value: value.map(() => null) }
})

const late =
  (milliseconds: number): Fault =>
  async (_, forward) => {
    await pause(milliseconds)
    return forward()
  }

export async function solanaClimate(scope: Scope): Promise<Climate> {
  const { bench, faults, chain, proxies, mint } = await solanaBench(scope, NODES)
  const mendAll = async () => {
    for (const proxy of proxies) proxy.faults.clear()
  }

  async function expire({ world }: Life): Promise<void> {
    await chain.advance(EXPIRY_SLOTS)
    world.loyalty.clock.advance(EXPIRY_MS)
  }

  const hazards: Climate['hazards'] = {
    'dropped by the node': async ({ random }) => chain.dropNext(random.int(1, 3)),
    'blockhashes expire': expire,
    'fees spike': async ({ random }) => chain.setPrioritizationFee(random.int(1_000, 400_000)),
    'a node lies': async ({ random, later }) => {
      const liar = random.pick(proxies)
      if (random.chance(0.7)) liar.faults.set('getSignatureStatuses', deny)
      else liar.faults.set('getBlockHeight', answerWith(1))
      later(mendAll)
    },
    'a node is late': async ({ random, later }) => {
      random.pick(proxies).faults.set('*', late(random.pick([50, 200, LATE_MS_MAX])))
      later(mendAll)
    },
    'a node is down': async ({ random, later }) => {
      random.pick(proxies).faults.set('*', hangUp)
      later(mendAll)
    },
    'both nodes are down': async ({ later }) => {
      faults.setDown(true)
      later(mendAll)
    },
    'answers to sending are lost': async ({ random, later }) => {
      faults.loseAnswersToSending(random.int(1, 4))
      later(mendAll)
    },
    'a payee cannot be paid': async (life) => {
      life.refused.add(mint)
      await life.owe(mint)
    },
  }

  return {
    name: 'solana',
    bench: () => bench,
    hazards,
    fill: (depth) => chain.advance(depth),
    async reorg(life, depth, withConflict) {
      const { random, world, thieves } = life
      await chain.rollback(depth)
      if (!withConflict) return { depth, conflict: null }
      if (random.chance(0.5)) {
        await expire(life)
        return { depth, conflict: 'nothing, until our bytes had expired' }
      }
      const thief = someone()
      thieves.push(thief)
      life.isRobbed = true
      await world.bench.giveGas(world.chain.address)
      await faults.steal(world.chain.address, thief, BigInt(random.int(1, 1_000_000)))
      return { depth, conflict: 'a theft' }
    },
    async takenBy(thief) {
      // A token account is made for a thief by giving one unit to it.
      const held = await bench.balanceOf(thief)
      return held > 0n ? held - 1n : 0n
    },
    async mend({ world }) {
      await mendAll()
      await chain.setPrioritizationFee(0)
      await world.bench.giveGas(world.chain.address)
    },
  }
}
