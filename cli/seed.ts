/** `comptroller seed`: members and active codes for trying things out, put straight into the core of a stopped server. */
import { hash } from '@node-rs/argon2'
import pino from 'pino'
import { Registry } from 'prom-client'
import { type Core, environment, openCore } from '../core.js'
import { CoreMetrics } from '../core-metrics.js'
import { system } from '../engine/command.js'
import type { Settings } from '../settings.js'
import { inParallel, withProgress } from './progress.js'

const AT_ONCE = 256
/** Every seeded member has this password: hashing one each would take hours. */
export const SEED_PASSWORD = 'Seeded!2026'

export async function seed(settings: Settings, users: number, codes: number): Promise<void> {
  const log = pino({ level: settings.LOG_LEVEL === 'info' ? 'warn' : settings.LOG_LEVEL }, pino.destination(2))
  const core = await openCore(settings, log, new CoreMetrics(new Registry()), (error) => {
    throw error
  })
  try {
    if (users > 0) await seedUsers(core, users)
    if (codes > 0) await seedCodes(core, codes)
  } finally {
    await core.stop()
  }
  process.stdout.write(`Added ${users} members (password ${SEED_PASSWORD}) and ${codes} active codes.\n`)
}

async function seedUsers({ shard, program }: Core, count: number): Promise<void> {
  const passwordHash = await hash(SEED_PASSWORD)
  const first = program.directory.nextMemberNumber
  let done = 0
  const add = async (index: number, to: (value: number) => void) => {
    const number = first + index
    await shard.execute(program.commands.open, {
      args: {
        userId: environment.newId(),
        email: `member${number}@example.com`,
        username: `member${number}`,
        full_name: `Member ${number}`,
        date_of_birth: '1990-01-01',
        language: 'en',
        passwordHash,
        verification: null,
        session: { sessionId: environment.newId(), device: 'mobile' },
        isAdmin: false,
      },
      who: system,
    })
    done += 1
    to(done)
  }
  await withProgress('Members', count, (to) => inParallel(count, AT_ONCE, (index) => add(index, to)))
}

async function seedCodes({ shard, program, generator }: Core, count: number): Promise<void> {
  const { commands, book } = program
  const { batch } = await shard.execute(commands.createBatch, {
    args: { name: 'seed', quantity: count, product_sku: 'SPEARMINT-3MG', checksum: false },
    who: system,
  })
  await withProgress('Codes', count * 2, async (to) => {
    const timer = setInterval(() => to(book.batchCounts(batch).generated), 200)
    await generator.idle().finally(() => clearInterval(timer))
    for (let chunk = 0, active = 0; chunk < book.chunkCount; chunk++) {
      if (book.chunk(chunk).batch !== batch) continue
      await shard.execute(commands.manufacture, { args: { codes: book.chunkCodes(chunk) }, who: system })
      active += book.chunk(chunk).count
      to(count + active)
    }
  })
}
