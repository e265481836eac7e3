/** What another node says of what the first one said. */
import type { Answer } from './json-rpc.js'
import { type Receipt, read } from './quantities.js'

export interface Confirmation {
  readonly name: string
  /** `silent`: it did not answer, which speaks neither for nor against. */
  readonly kind: 'agrees' | 'differs' | 'silent'
  readonly message: string
}

/** Whether a node has the same receipt in the same block. */
export function confirmReceipt(name: string, answer: Answer | undefined, receipt: Receipt): Confirmation {
  if (answer?.kind !== 'result') return silent(name, answer)
  let found: Receipt | null
  try {
    found = read.receiptOrNull(answer.result)
  } catch {
    return { name, kind: 'silent', message: 'the receipt cannot be read' }
  }
  if (found === null) return { name, kind: 'differs', message: `it has no receipt of ${receipt.transactionHash}` }
  const same =
    found.blockHash === receipt.blockHash &&
    found.status === receipt.status &&
    logsOf(found) === logsOf(receipt) &&
    found.transactionHash === receipt.transactionHash
  if (same) return { name, kind: 'agrees', message: '' }
  return { name, kind: 'differs', message: `it has another receipt of ${receipt.transactionHash}` }
}

/** Whether a node knows nothing either. */
export function confirmAbsence(name: string, answers: readonly Answer[]): Confirmation {
  const found = answers.find((answer) => answer.kind === 'result' && answer.result !== null)
  if (found !== undefined) return { name, kind: 'differs', message: 'it has one of the transactions' }
  const failed = answers.find((answer) => answer.kind !== 'result')
  return failed === undefined ? { name, kind: 'agrees', message: '' } : silent(name, failed)
}

const silent = (name: string, answer: Answer | undefined): Confirmation => ({
  name,
  kind: 'silent',
  message: answer === undefined || answer.kind === 'result' ? 'no answer' : answer.message,
})

/** What it moved, in a form that can be compared. */
const logsOf = ({ logs }: Receipt): string =>
  logs.map(({ address, topics, data }) => [address, ...topics, data]).join('\n')
