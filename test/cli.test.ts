// Hunts: a command that fails without saying why, two servers on one data folder, damage nobody notices, a tool that
// leaves the data in a state the server does not understand.
import { copyFile, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { Client, connectSocket, logInAdmin, saidOf } from './support/members.js'
import { Deployment, until } from './support/server.js'

const SEEDED_PASSWORD = /password (\S+)\)/

t.test('help lists every command, and a wrong one is told how to get it', async (t) => {
  const site = await Deployment.create(t)
  const help = await site.run(['--help'])
  t.equal(help.code, 0)
  for (const command of ['start', 'seed', 'traffic', 'journal', 'codes'])
    t.match(help.stdout, new RegExp(`^  ${command}`, 'm'))
  t.match((await site.run(['codes', '--help'])).stdout, /generate[\s\S]*export[\s\S]*import/)
  t.match((await site.run(['journal', '--help'])).stdout, /inspect[\s\S]*verify/)
  const wrong = await site.run(['seed', '--users', 'many'])
  t.equal(wrong.code, 1)
  t.match(wrong.stderr, /whole number above zero.*--help/s)
  t.match(await site.run(['destroy']), { code: 1, stderr: /unknown command/ })
})

t.test('a wrong setting is named, and nothing is started or written', async (t) => {
  const site = await Deployment.create(t)
  const env = { PORT: 'abc', LOG_LEVEL: 'loud', ADMIN_PASSWORD: 'short' }
  const ending = await site.run(['start'], env)
  t.equal(ending.code, 1)
  t.match(ending.stderr, /PORT=abc: [\s\S]*LOG_LEVEL=loud: /)
  t.match(ending.stderr, /ADMIN_PASSWORD=…: /)
  t.notMatch(ending.stderr, /short| {4}at /, 'no secret and no stack')
  await t.rejects(stat(site.dataDirectory), { code: 'ENOENT' })
})

t.test('commands for a running server say so when none runs', async (t) => {
  const site = await Deployment.create(t)
  for (const args of [['traffic'], ['codes', 'export', '1']]) {
    const ending = await site.run(args)
    t.equal(ending.code, 1)
    t.match(ending.stderr, /No server seems to run on .*npm start/)
  }
})

t.test('seed, start, use, verify: one data folder through every command', async (t) => {
  const site = await Deployment.create(t)

  await t.test('seed fills the data of a stopped server, and its members can log in and scan', async (t) => {
    const seeded = await site.run(['seed', '--users', '25', '--codes', '2_500'])
    t.equal(seeded.code, 0, seeded.stderr)
    t.match(seeded.stdout, /Added 25 members .* and 2500 active codes/)
    const password = SEEDED_PASSWORD.exec(seeded.stdout)?.[1]
    await site.start()
    const member = new Client(site)
    const login = await member.post('/v1/auth/login', { email: 'member1@example.com', password })
    t.equal(login.status, 200)
    member.token = login.body.access_token
    t.match((await member.get('/v1/users/me')).body, { username: 'member1', member_id: 'BJ-0001-ST', is_admin: false })
    const csv = await site.run(['codes', 'export', '1'])
    const [, code = ''] = csv.stdout.split('\n').map((line) => line.slice(0, 14))
    t.equal((await member.scan(code)).scan.ordinal, 1)
    t.match((await (await logInAdmin(site)).get('/v1/users/me')).body, { is_admin: true, member_id: 'BJ-0026-ST' })
  })

  await t.test('a second server and a seed on the same data are refused, and the first goes on', async (t) => {
    for (const args of [['start'], ['seed', '--users', '1']]) {
      const second = await site.run(args)
      t.equal(second.code, 1)
      t.match(second.stderr, /already runs|in use by process/, `${args}`)
      t.notMatch(second.stderr, / {4}at /, 'no stack')
    }
    t.equal((await new Client(site).get('/readyz')).status, 200)
    const admin = await logInAdmin(site)
    t.equal((await admin.get('/v1/admin/qr/batches')).status, 200)
  })

  await t.test('BJ-QR-04, 06, 07: codes are generated, exported and imported from the command line', async (t) => {
    const generated = await site.run([
      'codes',
      'generate',
      '--quantity',
      '1_200',
      '--name',
      'Run 7',
      '--sku',
      'CITRUS-9MG',
    ])
    t.equal(generated.code, 0, generated.stderr)
    const batch = generated.stdout.trim()
    t.equal(batch, '2')
    const file = join(site.folder, 'codes.csv')
    const exported = await site.run(['codes', 'export', batch, '--out', file])
    t.match(exported, { code: 0, stdout: '' })
    const lines = (await readFile(file, 'utf8')).trimEnd().split('\n')
    t.equal(lines.length, 1_201)
    t.match(lines[1], /^[A-Z2-9-]{14},2,Run 7,/)
    const imported = await site.run(['codes', 'import', file])
    t.same(JSON.parse(imported.stdout), { manufactured: 1_200, already: 0, unknown: 0, invalid: 0 })
    t.match(await site.run(['codes', 'export', '99']), { code: 1, stderr: /batch_unknown/ })
    t.match(await site.run(['codes', 'import', join(site.folder, 'none.csv')]), { code: 1 })
    const wrongPassword = await site.run(['codes', 'export', batch], { ADMIN_PASSWORD: 'Wrong!2026' })
    t.match(wrongPassword, { code: 1, stderr: /credentials_invalid/ })
  })

  await t.test('traffic makes the live counter move', async (t) => {
    const live = await connectSocket(t, site, '/insights/live')
    const before = (await until('the counter', () => saidOf(live, 'counter').at(-1))).value
    const traffic = await site.run(['traffic', '--rate', '50', '--seconds', '3'])
    t.equal(traffic.code, 0, traffic.stderr)
    t.match(traffic.stdout, /Traffic[\s\S]*answers 200/)
    t.match(traffic.stderr, /\d+\/s answered, \d+ accepted, \d+ refused/)
    const accepted = Number(/answers 200\D+(\d+)/.exec(traffic.stdout)?.[1])
    t.ok(accepted >= 130 && accepted < 150, `${accepted} accepted, a few are bad on purpose`)
    await until('the counter says so', () => saidOf(live, 'counter').at(-1)?.value === before + accepted)
  })

  await t.test('journal inspect and verify read along while the server runs', async (t) => {
    const verified = await site.run(['journal', 'verify'])
    t.equal(verified.code, 0, verified.stderr)
    const { records, firstSeq, lastSeq } = JSON.parse(verified.stdout)
    t.same([firstSeq, lastSeq], [1, records])
    t.ok(records > 200)
    const segments = await site.run(['journal', 'inspect'])
    t.match(JSON.parse(segments.stdout.split('\n')[0] ?? ''), { firstSeq: 1, lastSeq: Number, chain: /^[0-9a-f]{64}$/ })
    const inspected = await site.run(['journal', 'inspect', '--from', '3', '--limit', '5'])
    const lines = inspected.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    t.same(
      lines.map(({ seq }) => seq),
      [3, 4, 5, 6, 7],
    )
    t.match(lines[0], { input: { command: 'account.open', at: Number }, facts: [{ type: 'user.created' }, {}] })
    t.notMatch(inspected.stdout, /Seeded!/, 'no password')
  })

  await t.test('J2: one flipped byte in a copy of the journal is found and its position named', async (t) => {
    const copy = join(site.folder, 'copy')
    await mkdir(join(copy, 'journal'), { recursive: true })
    const [name = ''] = (await readdir(join(site.dataDirectory, 'journal'))).filter((each) => each.endsWith('.journal'))
    const segment = join(copy, 'journal', name)
    await copyFile(join(site.dataDirectory, 'journal', name), segment)
    const bytes = await readFile(segment)
    const { bytes: written } = JSON.parse((await site.run(['journal', 'inspect'])).stdout.split('\n')[0] ?? '')
    const middle = Math.floor(written / 2)
    bytes.writeUInt8(bytes.readUInt8(middle) ^ 1, middle)
    await writeFile(segment, bytes)
    const verified = await site.run(['journal', 'verify'], { DATA_DIR: copy })
    t.equal(verified.code, 1)
    const { problem } = JSON.parse(verified.stdout)
    const position = new RegExp(`damaged in ${segment} at byte ${problem.offset}, where record ${problem.seq} is due`)
    t.match(verified.stderr, position)
    t.ok(problem.offset <= middle && middle - problem.offset < 100_000, `byte ${middle}, named ${problem.offset}`)
    const inspected = await site.run(['journal', 'inspect', '--from', String(problem.seq - 1)], { DATA_DIR: copy })
    t.match(inspected, { code: 1, stderr: position })
    t.equal(JSON.parse(inspected.stdout).seq, problem.seq - 1, 'what is whole is printed')
    const started = await site.run(['start'], { DATA_DIR: copy })
    t.match(started, { code: 1, stderr: position })
  })

  await t.test('stopped, it is seeded further, and the numbers go on', async (t) => {
    t.equal((await site.stop()).code, 0)
    t.equal((await site.run(['seed', '--users', '1'])).code, 0)
    await site.start()
    const answer = await new Client(site).get('/healthz')
    t.equal(answer.status, 200)
  })
})
