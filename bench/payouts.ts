/** `npm run bench:payouts`: payouts a second in four ways on one chain, and seconds from a scan that wins to finality. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Command } from 'commander'
import { count, wholeNumber } from '../cli/options.js'
import { withProgress } from '../cli/progress.js'
import { endToEnd } from './payouts/end-to-end.js'
import { EvmGround, type Way } from './payouts/evm-ways.js'
import { type Ground, missedTargets, type Run, type Summary, tableOf, write } from './payouts/report.js'
import { SolanaGround } from './payouts/solana-ways.js'
import { openWholeCore } from './payouts/whole-core.js'
import { machine } from './scan/machine.js'

const RESULTS_FOLDER = join('bench', 'results')

interface Options {
  readonly runs: number
  readonly payouts: number
  readonly prizes: number
  readonly confirmations: number
  readonly targets: boolean
  readonly write?: string
}

const options = new Command('bench:payouts')
  .description('How fast payouts are made on local chains: the real anvil and the real Solana VM on this machine.')
  .option('--runs <n>', 'of each way, one way after the other, again and again; the table shows medians', count, 5)
  .option('--payouts <n>', 'in each run of a way that has many under way', count, 580)
  .option('--prizes <n>', 'scans that win, 500 scans each, through the whole server; 0 starts none', wholeNumber, 25)
  .option('--confirmations <n>', 'blocks after which these are final', count, 10)
  .option('--no-targets', 'end with 0 even when a target is missed')
  .option('--write <folder>', 'where payouts.md goes')
  .parse()
  .opts<Options>()

interface Measured {
  readonly name: string
  readonly way: Way
  readonly payouts: number
}

/** One way after the other, so that what else the machine does meets all of them. */
async function measure(ground: Ground, ways: readonly Measured[], runs: number): Promise<Run[]> {
  const done: Run[] = []
  await withProgress(ground.padEnd(28), runs * ways.length, async (to) => {
    for (let run = 0; run < runs; run++) {
      for (const { name, way, payouts } of ways) {
        done.push({ ground, name, payouts, seconds: await way(payouts) })
        to(done.length)
      }
    }
  })
  return done
}

async function onAnvil(ground: Ground, blocks: { seconds: number } | 'each', naive: number): Promise<Run[]> {
  const evm = await EvmGround.open(blocks)
  const whole = await openWholeCore(evm)
  const { payouts, runs } = options
  try {
    return await measure(
      ground,
      [
        { name: 'send_wait_repeat', way: await evm.sendWaitRepeat(), payouts: naive },
        { name: 'pipelined', way: await evm.pipelined(), payouts },
        { name: 'whole_core', way: whole.pay, payouts },
        { name: 'batch_contract', way: await evm.batched(), payouts },
      ],
      runs,
    )
  } finally {
    await whole.close()
    await evm.close()
  }
}

async function onSolana(): Promise<Run[]> {
  const solana = await SolanaGround.open()
  try {
    return await measure(
      'Solana VM, slots of 400 ms',
      [
        { name: 'send_wait_repeat', way: await solana.sendWaitRepeat(), payouts: 5 },
        { name: 'pipelined', way: await solana.pipelined(), payouts: Math.min(200, options.payouts) },
      ],
      options.runs,
    )
  } finally {
    await solana.close()
  }
}

const runs = [
  ...(await onAnvil('anvil, a block each second', { seconds: 1 }, 5)),
  ...(await onAnvil('anvil, a block at once', 'each', 20)),
  ...(await onSolana()),
]
const { prizes, confirmations } = options
const whole = prizes === 0 ? null : await endToEnd(prizes, confirmations)
const summary: Summary = { at: new Date().toISOString(), machine: machine(), runs, endToEnd: whole }
process.stdout.write(`\nMedians of ${options.runs} runs on ${summary.machine}\n${tableOf(summary)}`)
await mkdir(RESULTS_FOLDER, { recursive: true })
await writeFile(join(RESULTS_FOLDER, 'payouts.json'), `${JSON.stringify({ ...summary, options }, null, 2)}\n`)
if (options.write !== undefined) await write(summary, options.write)
const missed = missedTargets(summary)
for (const target of missed) process.stdout.write(`MISSED: ${target}\n`)
process.exit(missed.length > 0 && options.targets ? 1 : 0)
