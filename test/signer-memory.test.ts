// Hunts: a payout or a nonce that is signed for twice; a limit that is passed, or refuses one cent too early; a signer
// that forgets what it signed, believes a damaged log, or shares one with another.
import { appendFile, readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import type { SigningKey } from '../chain/keys/key-provider.js'
import { encodeFrame } from '../chain/signer/log-frame.js'
import { pullStopSwitch, releaseStopSwitch } from '../chain/signer/stop-switch.js'
import { alice, bob, NOON, SignerBench } from './support/signer.js'

const HOUR_MS = 3_600_000
const SECTOR_BYTES = 512
const MIDNIGHT = NOON + 12 * HOUR_MS
const bump = { maxFeePerGas: 67_500_000_000n, maxPriorityFeePerGas: 33_750_000_000n }
const otherBlockhash = 'SysvarC1ock11111111111111111111111111111111'

t.test('S4: a payout id has one wallet, payee and amount for ever', async (t) => {
  const bench = await SignerBench.create(t)
  const signer = await bench.open()
  await signer.sign([bench.evm('p', 0)])
  const changed = { code: 'intent_changed', payoutId: 'p' }
  await t.rejects(signer.sign([bench.evm('p', 0, { to: bob })]), changed)
  await t.rejects(signer.sign([bench.evm('p', 0, { amount: 99n })]), changed)
  await t.rejects(signer.sign([bench.evm('p', 0, { wallet: 'coin' })]), changed)
  await t.rejects(signer.sign([bench.spl('p')]), changed)
  await t.rejects(signer.sign([bench.evm('q', 1), bench.evm('q', 1, { amount: 1n })]), { code: 'intent_changed' })
  t.equal((await signer.sign([bench.evm('p', 0, { to: alice.toLowerCase() })])).length, 1, 'the same in small letters')
  await signer.close()
  const restarted = await bench.open()
  await t.rejects(restarted.sign([bench.evm('p', 0, { amount: 99n })]), changed, 'nor after a restart')
})

t.test('S2: a nonce signs for one payout, and a payout has one nonce, for ever', async (t) => {
  const bench = await SignerBench.create(t)
  const signer = await bench.open()
  await signer.sign([bench.evm('p', 5), bench.evm('coin', 5, { wallet: 'coin' })])
  await t.rejects(signer.sign([bench.evm('q', 5)]), { code: 'nonce_taken', payoutId: 'q', message: /payout p/ })
  await t.rejects(signer.sign([bench.evm('p', 6)]), { code: 'nonce_changed', payoutId: 'p' })
  await t.rejects(signer.sign([bench.evm('q', 6), bench.evm('r', 6)]), { code: 'nonce_taken', payoutId: 'r' })
  t.equal((await signer.sign([bench.evm('q', 6)])).length, 1, 'S8: the refused batch took no nonce')
  t.equal((await signer.sign([bench.evm('p', 5, {}, bump)])).length, 1, 'a replacement at its own nonce')
})

t.test('one payout is signed in so many ways only, and counts once in every limit', async (t) => {
  const bench = await SignerBench.create(t)
  const signer = await bench.open()
  const way = (gas: bigint) => bench.evm('p', 0, { amount: 10_000n }, { gas })
  await signer.sign([way(80_000n), way(80_001n), way(80_002n), way(80_000n)])
  await t.rejects(signer.sign([way(80_003n)]), { code: 'signed_too_often', message: /3 different transactions/ })
  t.equal((await signer.sign([way(80_001n)])).length, 1, 'what was signed is signed again')
  t.equal((await signer.sign([bench.evm('q', 1, { amount: 5_000n })])).length, 1, 'up to the limit of its payee')
})

t.test('S3: a Solana payout gets a new blockhash only when the old one has had its time', async (t) => {
  const bench = await SignerBench.create(t)
  const signer = await bench.open()
  const [first] = await signer.sign([bench.spl('p')])
  const again = () => signer.sign([bench.spl('p', { blockhash: otherBlockhash })])
  bench.clock += 44_999
  await t.rejects(again(), { name: 'SignerUnavailable', code: 'signer_waits', message: /44999 ms ago, and 45000/ })
  t.strictSame(await signer.sign([bench.spl('p')]), [first], 'the old bytes at any time')
  bench.clock += 1
  t.not((await again())[0], first)
  bench.clock += 1
  await t.rejects(signer.sign([bench.spl('p', { blockhash: bench.addresses.sol })]), { code: 'signer_waits' })
})

t.test('limits hold at their edges: one payout, one payee a day, the hour, the day', async (t) => {
  const bench = await SignerBench.create(t)
  const signer = await bench.open()
  let nonce = 0
  const payee = (index: number) => `0x${(index + 1).toString(16).padStart(40, '1')}`
  const pay = async (amount: bigint, to: string) => {
    await signer.sign([bench.evm(`p${nonce}`, nonce, { amount, to })])
    nonce += 1
  }
  await t.rejects(pay(10_001n, alice), { code: 'limit_payout', message: /10001.*10000/ })
  await pay(10_000n, alice)
  await t.rejects(pay(5_001n, alice), { code: 'limit_destination_day', message: /15001.*15000/ })
  await pay(5_000n, alice)
  await t.rejects(pay(1n, alice.toLowerCase()), { code: 'limit_destination_day' }, 'small letters are no other payee')
  await pay(10_000n, payee(1))
  await t.rejects(pay(5_001n, payee(2)), { code: 'limit_hour', message: /30001.*30000/ })
  await pay(5_000n, payee(2))
  bench.clock += HOUR_MS - 1
  await t.rejects(pay(1n, payee(3)), { code: 'limit_hour' }, 'an hour is 60 minutes, whenever they begin')
  bench.clock += 1
  await pay(10_000n, payee(3))
  await t.rejects(pay(10_001n, payee(4)), { code: 'limit_payout' })
  await t.rejects(pay(10_000n, payee(3)), { code: 'limit_destination_day' })
  await pay(9_999n, payee(4))
  await t.rejects(pay(2n, payee(5)), { code: 'limit_day', message: /50001.*50000/ })
  await pay(1n, payee(5))
  await signer.close()

  bench.clock = MIDNIGHT - 1
  const restarted = await bench.open()
  const ask = (id: string, at: number, to: string) => restarted.sign([bench.evm(id, at, { to, amount: 10_000n })])
  await t.rejects(ask('late', 90, payee(6)), { code: 'limit_day' }, 'what was spent is known after a restart')
  bench.clock = MIDNIGHT
  await ask('a', 90, alice)
  await ask('b', 91, payee(6))
  bench.clock = NOON
  await t.rejects(ask('c', 92, alice), { code: 'limit_destination_day' }, 'a clock set back opens no second day')
  bench.clock = MIDNIGHT + 24 * HOUR_MS
  await ask('c', 92, alice)
})

t.test('limits agree with a sum over everything that was signed', async (t) => {
  const bench = await SignerBench.create(t)
  const signer = await bench.open()
  const signed: { at: number; to: string; amount: bigint }[] = []
  const payees = [alice, bob, `0x${'3'.repeat(40)}`, `0x${'4'.repeat(40)}`]
  let nonce = 0
  const step = fc.record({
    waitMs: fc.oneof(fc.nat(60_000), fc.nat(4 * HOUR_MS)),
    payee: fc.nat(payees.length - 1),
    amount: fc.bigInt(1n, 10_500n),
  })
  const sum = (since: number, to?: string) =>
    signed.filter((one) => one.at >= since && (to ?? one.to) === one.to).reduce((total, one) => total + one.amount, 0n)
  await fc.assert(
    fc.asyncProperty(step, async ({ waitMs, payee, amount }) => {
      bench.clock += waitMs
      const at = bench.clock
      const to = payees[payee] ?? alice
      const today = at - (at % (24 * HOUR_MS))
      const mayPass =
        amount <= 10_000n &&
        sum(today, to) + amount <= 15_000n &&
        sum(at - HOUR_MS + 1) + amount <= 30_000n &&
        sum(today) + amount <= 50_000n
      const passed = await signer.sign([bench.evm(`p${nonce}`, nonce, { to, amount })]).then(
        () => true,
        () => false,
      )
      nonce += 1
      if (passed) signed.push({ at, to, amount })
      return passed === mayPass
    }),
    { numRuns: 300 },
  )
  t.ok(signed.length > 20, `${signed.length} were signed`)
})

t.test('the stop switch refuses everything, also what waits for the disk, until it is released', async (t) => {
  const bench = await SignerBench.create(t)
  const signer = await bench.open()
  const inFlight = signer.sign([bench.evm('p', 0)])
  t.equal(await pullStopSwitch(bench.directory, 'drill').then(() => signer.status().isStopped), true)
  await inFlight.catch(({ code }) => t.equal(code, 'stopped'))
  await t.rejects(signer.sign([bench.evm('p', 0)]), { code: 'stopped', message: /comptroller signer resume/ })
  t.equal(await pullStopSwitch(bench.directory, 'again'), false)
  t.match(await readFile(join(bench.directory, 'STOPPED'), 'utf8'), /drill/)
  t.equal(await releaseStopSwitch(bench.directory), true)
  t.equal(await releaseStopSwitch(bench.directory), false)
  t.equal((await signer.sign([bench.evm('p', 0)])).length, 1)
})

t.test('a crash between log and answer: asked again, it is signed; asked for more, it is not', async (t) => {
  const bench = await SignerBench.create(t)
  const signer = await bench.open()
  const [lost] = await signer.sign([bench.evm('p', 0)])
  await signer.close()
  const restarted = await bench.open()
  t.strictSame(await restarted.sign([bench.evm('p', 0)]), [lost])
  await t.rejects(restarted.sign([bench.evm('q', 0)]), { code: 'nonce_taken' })
})

t.test('a refusal names those of the batch whose nonces were signed for before: they are not free', async (t) => {
  const bench = await SignerBench.create(t)
  const signer = await bench.open()
  await signer.sign([bench.evm('p', 0), bench.evm('q', 1)])
  const batch = [bench.evm('p', 0, {}, bump), bench.evm('r', 2), bench.evm('s', 3, { amount: 10_001n })]
  await t.rejects(signer.sign(batch), { code: 'limit_payout', payoutId: 's', signedBefore: ['p'] })
})

t.test('a key that fails uses up neither signatures nor time, and the nonce stays with its payout', async (t) => {
  const bench = await SignerBench.create(t)
  let isBroken = true
  const keys = {
    async key(name: string): Promise<SigningKey> {
      const key = await bench.keys.key(name)
      const fail = () => Promise.reject(new Error('the KMS is away'))
      return key.kind === 'evm'
        ? { ...key, signDigest: (digest) => (isBroken ? fail() : key.signDigest(digest)) }
        : { ...key, signMessage: (message) => (isBroken ? fail() : key.signMessage(message)) }
    },
  }
  const signer = await bench.open({ keys })
  const evm = (gas: bigint) => bench.evm('p', 0, {}, { gas })
  const failed = { name: 'SignerUnavailable', code: 'key_failed', message: /KMS is away/ }
  for (let gas = 80_000n; gas < 80_010n; gas++) await t.rejects(signer.sign([evm(gas), bench.spl(`s${gas}`)]), failed)
  await t.rejects(signer.sign([bench.spl('s80000', { blockhash: otherBlockhash })]), failed, 'it need not wait')
  await t.rejects(signer.sign([bench.evm('q', 0)]), { code: 'nonce_taken' })
  await signer.close()

  isBroken = false
  const restarted = await bench.open({ keys })
  for (let gas = 80_000n; gas < 80_003n; gas++) t.equal((await restarted.sign([evm(gas)])).length, 1)
  await t.rejects(restarted.sign([evm(80_003n)]), { code: 'signed_too_often' })
  isBroken = true
  await t.rejects(restarted.sign([evm(80_000n)]), failed)
  isBroken = false
  await t.rejects(restarted.sign([evm(80_003n)]), { code: 'signed_too_often' }, 'what has left counts for ever')
})

t.test('S6: wherever the log is cut off, the whole batches before it are known and nothing else', async (t) => {
  const bench = await SignerBench.create(t)
  const signer = await bench.open()
  const sizes = [(await stat(bench.logFile)).size]
  for (let batch = 0; batch < 3; batch++) {
    await signer.sign([bench.evm(`p${batch}-0`, batch * 2), bench.evm(`p${batch}-1`, batch * 2 + 1)])
    sizes.push((await stat(bench.logFile)).size)
  }
  await signer.close()
  const whole = await readFile(bench.logFile)
  const opens = async (content: Buffer, batches: number) => {
    await writeFile(bench.logFile, content)
    const reopened = await bench.open()
    const { payouts, logBytes } = reopened.status()
    await reopened.close()
    return payouts === batches * 2 && logBytes === sizes[batches] && (await stat(bench.logFile)).size === logBytes
  }
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: sizes[0] ?? 0, max: whole.length }), (end) =>
      opens(whole.subarray(0, end), sizes.filter((size) => size <= end).length - 1),
    ),
    { numRuns: 60 },
  )
  t.ok(await opens(Buffer.concat([whole, Buffer.alloc(700)]), 3), 'a file that grew before its contents arrived')
  const [, firstEnd = 0, lastStart = 0] = sizes
  for (let start = lastStart; start < whole.length; start = (Math.floor(start / SECTOR_BYTES) + 1) * SECTOR_BYTES) {
    const end = Math.min(whole.length, (Math.floor(start / SECTOR_BYTES) + 1) * SECTOR_BYTES)
    if (end - start >= 16)
      t.ok(await opens(Buffer.from(whole).fill(0, start, end), 2), `sector at ${start} never arrived`)
  }
  await writeFile(bench.logFile, Buffer.from(whole).fill(0, firstEnd, lastStart))
  await t.rejects(bench.open(), { code: 'log_damaged' }, 'a lost sector with an intact batch behind it is no crash')
  await truncate(bench.logFile, 10)
  await t.rejects(bench.open(), { code: 'log_damaged', message: /at byte 0.*restore it whole/ })
})

t.test('S6: no change of a byte goes unseen, and it is said where', async (t) => {
  const bench = await SignerBench.create(t)
  const signer = await bench.open()
  for (let nonce = 0; nonce < 3; nonce++) await signer.sign([bench.evm(`p${nonce}`, nonce)])
  await signer.close()
  const whole = await readFile(bench.logFile)
  await fc.assert(
    fc.asyncProperty(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
      const damaged = Buffer.from(whole)
      damaged[at] = (damaged[at] ?? 0) ^ change
      await writeFile(bench.logFile, damaged)
      const error = await bench.open().then(
        () => null,
        (reason: Error & { code: string }) => reason,
      )
      const isUntouched = damaged.equals(await readFile(bench.logFile))
      return error?.code === 'log_damaged' && /at byte \d+/.test(error.message) && isUntouched
    }),
    { numRuns: 150 },
  )
  const missing = whole.toString().split('\n').toSpliced(2, 1).join('\n')
  await writeFile(bench.logFile, missing)
  await t.rejects(bench.open(), { code: 'log_damaged', message: /where entry 2 is due: the frame begins with entry 3/ })
  await writeFile(bench.logFile, '')
  await t.rejects(bench.open(), { code: 'log_damaged' })
  await writeFile(bench.logFile, whole)
  await appendFile(bench.logFile, encodeFrame('{"seq":4,"entries":[]}'))
  await t.rejects(bench.open(), { code: 'log_damaged', message: /does not hold entries/ })
})

t.test('S4: two signers never share a log, and a dead one keeps nobody out', async (t) => {
  const bench = await SignerBench.create(t)
  const signer = await bench.open()
  await t.rejects(bench.open(), { code: 'log_locked', message: new RegExp(`Process ${process.pid} signs`) })
  t.equal((await signer.sign([bench.evm('p', 0)])).length, 1, 'the first goes on')
  await signer.close()
  await writeFile(join(bench.directory, 'signer-999999999-abc.1.lock'), '')
  const next = await bench.open()
  t.strictSame(
    (await readdir(bench.directory)).filter((name) => name.endsWith('.lock')).length,
    1,
    'the lock of a process that is gone is removed',
  )
  await next.close()
  await writeFile(join(bench.directory, `signer-1-unknown.lock`), '')
  await t.rejects(bench.open(), { code: 'log_locked', message: /Process 1 signs/ })
})

t.test('many at once share a flush, and a batch too large is refused', async (t) => {
  const bench = await SignerBench.create(t)
  const signer = await bench.open()
  const all = Array.from({ length: 300 }, (_, nonce) => bench.evm(`p${nonce}`, nonce, { amount: 1n }))
  const before = (await readFile(bench.logFile, 'utf8')).split('\n').length
  await Promise.all(all.slice(0, 40).map((request) => signer.sign([request])))
  const frames = (await readFile(bench.logFile, 'utf8')).split('\n').length - before
  t.ok(frames <= 3, `${frames} frames for 40 calls`)
  await t.rejects(signer.sign(all.slice(0, 257)), { code: 'batch_too_large', payoutId: null })
  t.equal((await signer.sign(all.slice(0, 256))).length, 256)
  t.match(signer.status(), { queue: 0, payouts: 256 })
  const closing = [signer.sign(all.slice(256)), signer.close()] as const
  t.equal((await closing[0]).length, 44, 'what is in hand is finished')
  await closing[1]
  await t.rejects(signer.sign(all.slice(0, 1)), { name: 'SignerUnavailable', code: 'signer_closed' })
})
