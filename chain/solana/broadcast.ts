/** Sends signed bytes, which is safe at any time and to any number of nodes, and tells what the nodes said. */
import { z } from 'zod'
import type { Broadcast, BroadcastRefusal } from '../chain.js'
import { describe, NodeRefused } from './endpoint.js'
import type { Endpoints } from './endpoints.js'

/** The network drops a transaction above it, and a node refuses it. */
export const TRANSACTION_BYTES_MAX = 1232
const TOO_MANY_REQUESTS = 429

/** Asks one node after the other until one takes it. What counts otherwise is the first refusal. */
export async function broadcast(endpoints: Endpoints, raw: string, paysInSol: boolean): Promise<Broadcast> {
  let refusal: Broadcast | null = null
  const errors: string[] = []
  for (const endpoint of endpoints.inOrder()) {
    try {
      await endpoint.send(raw)
      return { kind: 'accepted' }
    } catch (error) {
      if (!(error instanceof NodeRefused)) errors.push(`${endpoint.name}: ${describe(error)}`)
      else {
        const answer = explain(error, paysInSol)
        if (answer.kind === 'accepted') return answer
        refusal ??= answer
      }
    }
  }
  return refusal ?? { kind: 'unknown', message: `No node answered: ${errors.join('; ')}` }
}

const simulation = z.object({ err: z.unknown(), logs: z.array(z.string()).nullish() })
const instructionError = z.object({ InstructionError: z.tuple([z.number(), z.unknown()]) })
const NO_GAS: ReadonlySet<unknown> = new Set(['InsufficientFundsForFee', 'AccountNotFound', 'InvalidAccountForFee'])
const rentError = z.object({ InsufficientFundsForRent: z.object({ account_index: z.number() }) })

function explain({ code, message, data }: NodeRefused, paysInSol: boolean): Broadcast {
  const refused = (as: BroadcastRefusal, advice: string): Broadcast => ({
    kind: 'refused',
    code: as,
    message: `${message}. ${advice}`,
  })
  const { err, logs } = simulation.safeParse(data).data ?? { err: undefined, logs: [] }
  if (err === 'AlreadyProcessed') return { kind: 'accepted' }
  if (err === 'BlockhashNotFound')
    return refused('expired', 'Observe it: it may be on chain, or replaced when it is lost.')
  const payerLacksRent = rentError.safeParse(err).data?.InsufficientFundsForRent.account_index === 0
  if (NO_GAS.has(err) || payerLacksRent) return refused('no_gas', 'Send SOL to the wallet.')
  if (rentError.safeParse(err).success) return refused('failed_preflight', 'A new account needs more SOL than that.')
  if (instructionError.safeParse(err).success) {
    const said = logs?.find((line) => /insufficient|Error:/.test(line)) ?? 'No log says why.'
    const lacksSol = !paysInSol && said.startsWith('Transfer: insufficient lamports')
    return lacksSol
      ? refused('no_gas', `${said}: send SOL to the wallet, for the rent of the payee's token account.`)
      : refused('failed_preflight', said)
  }
  if (code === TOO_MANY_REQUESTS) return { kind: 'unknown', message }
  return refused('other', 'Another node may take it.')
}
