/** Everything that has to be there before scans are measured: stock for all that is planned, and every contender running. */
import { join } from 'node:path'
import type { Principal } from '../../gateway/http/toolkit/principal.js'
import { onPostgres } from '../recovery/postgres.js'
import { runCommand } from '../scan/server-process.js'
import { Mint, type PackedCodes, packedCodes, someMembers } from '../scan/stock.js'
import {
  type Contender,
  type ContenderName,
  notePausesIn,
  startCeiling,
  startConventional,
  startOurs,
} from './contenders.js'
import { Field, HEADROOM } from './rounds.js'
import { acquaint, measureRun } from './run.js'
import { formatFigure } from './statistics.js'
import { SCANS_PER_MEMBER_MAX, Supply, scannersOf } from './supply.js'

const CALIBRATION = { connections: 64, warmupMs: 1_000, durationMs: 1_500, ratePerSecond: null } as const
const CALIBRATING_MEMBERS = 2_500
const CALIBRATING_CODES = 200_000
/** A calibration on a machine that others used for a moment must not make the stock too small. */
const RATES_MIN: Readonly<Record<ContenderName, number>> = {
  ours: 10_000,
  transaction: 3_000,
  statement: 6_000,
  ceiling: 0,
}
/** Members of the conventional stack and of the ceiling, and remainders of rounds. */
const SPARE_MEMBERS = 20_000

export interface Stage {
  readonly field: Field
  close(): Promise<void>
}

/** `secondsOfScans`: for how long ours will scan as fast as it can. Nothing is left running when it rejects. */
export async function openStage(folder: string, secondsOfScans: number): Promise<Stage> {
  await notePausesIn(join(folder, 'pauses'))
  const { rate, used } = await calibrateOurs(folder)
  const codes = Math.ceil(rate * HEADROOM * secondsOfScans)
  await seed(folder, Math.ceil(codes / (SCANS_PER_MEMBER_MAX - 8)) + SPARE_MEMBERS, codes)
  const stock = await readStock(folder, used)
  const running: Contender[] = []
  const close = async () => {
    for (const contender of running.toReversed()) await contender.stop()
  }
  try {
    running.push(await startOurs(folder))
    for (const form of ['transaction', 'statement'] as const) {
      running.push(await startConventional(folder, form, stock.codes))
    }
    running.push(await startCeiling())
    const supplies = new Map(running.map(({ name }) => [name, new Supply(stock.codes, name === 'ceiling')]))
    const mint = await Mint.open(folder)
    const calibrating = await mint.tokens(stock.members.splice(0, CALIBRATING_MEMBERS))
    const rates: Record<ContenderName, number> = { ours: rate, transaction: 0, statement: 0, ceiling: 0 }
    for (const contender of running) {
      if (contender.name !== 'ours') rates[contender.name] = await calibrate(contender, supplies, calibrating)
    }
    const field = new Field(new Map(running.map((each) => [each.name, each])), supplies, rates, mint, stock.members)
    return { field, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** How fast ours is, roughly, and the members it was found with. */
async function calibrateOurs(folder: string): Promise<{ rate: number; used: ReadonlySet<string> }> {
  await seed(folder, CALIBRATING_MEMBERS, CALIBRATING_CODES)
  const { codes, members } = await readStock(folder, new Set())
  const tokens = await (await Mint.open(folder)).tokens(members)
  const ours = await startOurs(folder)
  try {
    const rate = await calibrate(ours, new Map([['ours', new Supply(codes, false)]]), tokens)
    return { rate, used: new Set(members.map(({ userId }) => userId)) }
  } finally {
    await ours.stop()
  }
}

async function calibrate(
  contender: Contender,
  supplies: ReadonlyMap<ContenderName, Supply>,
  tokens: readonly string[],
): Promise<number> {
  const next = supplies.get(contender.name)?.requests(scannersOf(tokens))
  if (next === undefined) throw new Error(`${contender.name} has nothing to scan`)
  await acquaint(contender, next, contender.name === 'ours' ? tokens.length : 1_000)
  const { perSecond } = await measureRun(contender, { next, ...CALIBRATION })
  process.stderr.write(`${contender.name}: about ${formatFigure(perSecond)} a second\n`)
  return Math.max(perSecond, RATES_MIN[contender.name])
}

function seed(folder: string, users: number, codes: number): Promise<void> {
  return runCommand(folder, ['seed', '--users', String(users), '--codes', String(codes)])
}

function readStock(folder: string, except: ReadonlySet<string>): Promise<{ codes: PackedCodes; members: Principal[] }> {
  return onPostgres(folder, async ({ sql }) => {
    const members = await someMembers(sql, 2 ** 31 - 2)
    return { codes: await packedCodes(sql), members: members.filter(({ userId }) => !except.has(userId)) }
  })
}
