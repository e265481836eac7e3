/** Sending what was signed. The same bytes may go to any number of nodes any number of times. */
import type { Broadcast } from '../chain.js'
import type { Endpoint } from './endpoint.js'
import type { Endpoints } from './endpoints.js'
import { broadcastOf } from './node-errors.js'

/** In the given order. What one node does not take, the next one is offered. Never throws. */
export async function broadcastRaw(endpoints: Endpoints, raws: readonly string[]): Promise<readonly Broadcast[]> {
  const outcomes = raws.map((): Broadcast => ({ kind: 'unknown', message: 'it was not sent' }))
  for (const endpoint of endpoints.inOrder()) {
    const open = outcomes.flatMap(({ kind }, i) => (kind === 'accepted' ? [] : [i]))
    if (open.length === 0) break
    const said = await offer(
      endpoint,
      open.map((i) => raws[i] ?? ''),
    )
    for (const [position, i] of open.entries()) {
      const now = said[position]
      const before = outcomes[i]
      if (now !== undefined && before !== undefined) outcomes[i] = moreTelling(before, now)
    }
  }
  return outcomes
}

async function offer(endpoint: Endpoint, raws: readonly string[]): Promise<readonly Broadcast[]> {
  try {
    await endpoint.mustBeOurs()
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    return raws.map(() => ({ kind: 'unknown', message }))
  }
  const answers = await endpoint.inOrder(raws.map((raw) => ({ method: 'eth_sendRawTransaction', params: [raw] })))
  return answers.map(broadcastOf)
}

/** Accepted by one node is accepted; a refusal says more than silence. */
function moreTelling(before: Broadcast, now: Broadcast): Broadcast {
  if (now.kind === 'unknown') return before.kind === 'refused' ? before : now
  return before.kind === 'refused' && now.kind === 'refused' && now.code === 'other' ? before : now
}
