/** D1, J4: the disk fills up under load. What cannot be kept is refused; with room again it goes on, or starts again. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, statfs, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { until, within } from '../../support/server.js'
import type { Phase, PhaseRun } from '../phase.js'
import type { Scope } from '../scope.js'
import { World } from '../world.js'

const MiB = 2 ** 20
const DISK_BYTES = 600 * MiB
const FREE_BYTES_MIN = 96 * MiB
const SCANS_PER_CYCLE = 500
const GOES_ON_WITHIN_MS = 15_000
/** How it ends when the disk fails it (cli/exit-codes.ts). */
const DISK_FAILED = 74
const shape = { http: 6, sockets: 2, pauseMs: 30, errands: true }
const run = promisify(execFile)

export const disk: Phase = {
  name: 'disk',
  what: 'a full disk, and one that is full from one moment to the next',
  cycles: 6,
  run: async (phase) => {
    const { cycles, random, scope, keep, report } = phase
    const folder = await smallDisk(scope, keep)
    if (folder === undefined) {
      report.notRun = 'a small file system can only be mounted by root on Linux'
      return
    }
    const world = await World.create(scope, {
      scans: 500 + cycles * SCANS_PER_CYCLE,
      random,
      keep,
      env: { DISK_FREE_BYTES_MIN: String(FREE_BYTES_MIN), DISK_CHECK_INTERVAL_MS: '100' },
      prepare: ({ dataDirectory }) => symlink(folder, dataDirectory),
    })
    report.follow(world)
    for (let cycle = 1; cycle <= cycles; cycle++) {
      const fill = cycle % 2 === 1 ? fillSlowly : fillAtOnce
      await fill(world, join(folder, 'ballast'), folder, phase, `cycle ${cycle}`)
      report.found(`cycle ${cycle}`, await world.settle({ whole: cycle === cycles }))
    }
  },
}

/** A disk of our own with little room; undefined where we may not have one. */
async function smallDisk(scope: Scope, keep: () => boolean): Promise<string | undefined> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return undefined
  const folder = await mkdtemp(join(tmpdir(), 'comptroller-disk-'))
  await run('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES},mode=0755`, 'tmpfs', folder])
  scope.teardown(async () => {
    if (keep()) return
    await run('umount', [folder])
    await rm(folder, { recursive: true })
  })
  return folder
}

const freeBytes = async (folder: string) => {
  const { bavail, bsize } = await statfs(folder)
  return bavail * bsize
}

/** Takes room until only so much is left. */
async function leave(folder: string, ballast: string, bytes: number): Promise<void> {
  await run('fallocate', ['-l', String((await freeBytes(folder)) - bytes), ballast])
}

/** Takes all room there is. */
async function leaveNothing(ballast: string): Promise<void> {
  await run('dd', ['if=/dev/zero', `of=${ballast}`, 'bs=1M']).catch(() => 'the disk is full, as it should be')
}

/** Below the reserve: refused in so many words, read all the same, and taken again when there is room. */
async function fillSlowly(
  world: World,
  ballast: string,
  folder: string,
  { random, report }: PhaseRun,
  when: string,
): Promise<void> {
  const { campaign, site } = world
  const load = world.load(shape)
  await world.scansGoOn(20, random.int(0, 200))
  await leave(folder, ballast, Math.round(FREE_BYTES_MIN * random.pick([0.9, 0.4])))
  report.fault()
  await within('every client is refused', load.ended)
  const unsaid = campaign.unanswered.filter(
    ({ refusal }) => refusal !== '503 disk_full' && refusal !== 'socket disk_full',
  )
  const overHttp = campaign.unanswered.filter(({ refusal }) => refusal?.startsWith('503'))
  const reading = await campaign.members[0]?.get('/v1/scans/recent')
  report.check(when, [
    ...unsaid.map(({ refusal }) => `refused with ${refusal}`),
    ...(overHttp.every(({ retryAfter }) => Number(retryAfter) > 0) ? [] : ['a refusal without Retry-After']),
    ...(reading?.status === 200 ? [] : [`a read is answered ${reading?.status}`]),
  ])
  await rm(ballast)
  const startedAt = performance.now()
  const isReady = async () => (await fetch(`${site.url}/readyz`).then((answer) => answer.text())) === '{"status":"ok"}'
  await until('it takes inputs again', isReady, GOES_ON_WITHIN_MS)
  report.highest('taken again after there is room, ms', performance.now() - startedAt)
}

/** Not a byte left within a moment: it ends and says what to do, or refuses; a start waits for room. */
async function fillAtOnce(
  world: World,
  ballast: string,
  _: string,
  { random, report }: PhaseRun,
  when: string,
): Promise<void> {
  const { site } = world
  const load = world.load(shape)
  await world.scansGoOn(20, random.int(0, 200))
  await leaveNothing(ballast)
  report.fault()
  await within('every client is refused', load.ended)
  const isServing = await fetch(`${site.url}/readyz`).catch(() => undefined)
  const ended = isServing === undefined ? await site.ended() : undefined
  if (ended !== undefined) {
    report.figures['ended by a full disk'] = Number(report.figures['ended by a full disk'] ?? 0) + 1
    const isSaid = ended.code === DISK_FAILED && /start again/i.test(ended.stdout + ended.stderr)
    report.expect(when, isSaid, `it ended with ${ended.code}: ${ended.stdout.slice(-400)}${ended.stderr}`)
  } else await site.kill()
  const early = await world.start().catch((error: Error) => error.message)
  const isRefused = typeof early === 'string' && /ended with 74/.test(early) && /Too little disk space/.test(early)
  report.expect(when, isRefused, `a start without room: ${early}`)
  await rm(ballast)
  await world.start()
}
