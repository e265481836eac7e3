// Hunts: a crowd of connections that say little, much or lies, and what they leave behind: memory, file descriptors,
// requests in flight, honest members who wait. The attacker comes from an address of his own.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { exportJWK, generateKeyPair, importJWK, type JWTPayload, SignJWT } from 'jose'
import t, { type Test } from 'tap'
import { activeCodes, Client, connectSocket, logInAdmin, saidOf, signUp } from './support/members.js'
import { Deployment, until, within } from './support/server.js'
import { exchange, type Line, openLine, upgrade, wireFrame } from './support/wire.js'

const ATTACKER = '127.0.0.66'
/** uWS gives a sender 10 s and looks every 4 s. */
const CUT_WITHIN_MS = 20_000
const HALF_OPEN = 10_000
const ATTACKERS = 2
const MiB = 1024 * 1024

const site = await Deployment.started(t, {
  env: { RATE_LIMIT_LOOPBACK: 'true', RATE_LIMIT_MEMBER_PER_SECOND: '100000', RATE_LIMIT_MEMBER_BURST: '100000' },
})
const port = Number(new URL(site.url).port)
const pid = await site.serverPid()
const admin = await logInAdmin(site)
const codes = await activeCodes(admin, 60)
const honest = await signUp(site, 'honest')
const anyone = new Client(site)
const live = await connectSocket(t, site, '/', honest.token)
let scanned = 0

/** An honest member is served: over HTTP, and told over the socket that was open before. */
async function honestIsServed(t: Test): Promise<void> {
  const { scan } = await honest.scan(codes[scanned] ?? '')
  scanned += 1
  t.equal(scan.ordinal, scanned)
  await until('the scan is told', () => saidOf(live, 'scan:accepted').length === scanned)
}

async function gauge(name: string): Promise<number> {
  const { text } = await anyone.get('/metrics')
  return Number(new RegExp(`^comptroller_${name} (\\S+)$`, 'm').exec(text)?.[1])
}

const onLinux = process.platform === 'linux'
const descriptors = async () => (onLinux ? (await readdir(`/proc/${pid}/fd`)).length : 0)

async function residentBytes(): Promise<number> {
  const status = onLinux ? await readFile(`/proc/${pid}/status`, 'utf8') : ''
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024
}

/** What the server holds now; `leftBehind` compares. */
const holdings = async () => ({ descriptors: await descriptors(), residentBytes: await residentBytes() })

async function nothingIsLeft(t: Test, before: { descriptors: number; residentBytes: number }): Promise<void> {
  await until('connections are forgotten', async () => (await gauge('sockets_connections')) === 1)
  await until('requests are settled', async () => (await gauge('http_requests_in_flight')) === 1)
  await until('descriptors are given back', async () => (await descriptors()) <= before.descriptors + 20)
  const grownBy = (await residentBytes()) - before.residentBytes
  t.ok(grownBy < 128 * MiB, `${Math.round(grownBy / MiB)} MiB more than before`)
}

const post = (path: string, headers: string) => `POST ${path} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`
const json = 'Content-Type: application/json\r\n'
const csv = 'Content-Type: text/csv\r\n'
const chunked = 'Transfer-Encoding: chunked\r\n'

t.test('who sends slowly, or nothing, is cut off while others are served', async (t) => {
  const before = await holdings()
  const slow: Record<string, readonly [first: string, drop: string]> = {
    'nothing at all': ['', ''],
    'a request line': ['GET /hea', 'l'],
    headers: ['GET /healthz HTTP/1.1\r\nHost: x\r\n', 'X: x\r\n'],
    'a header that never ends': ['GET /healthz HTTP/1.1\r\nHost: x\r\nX: ', 'x'],
    'a body': [post('/v1/auth/login', `${json}Content-Length: 60000\r\n`), '{'],
    'a body in chunks': [post('/v1/auth/login', json + chunked), '1\r\n \r\n'],
    'a body longer than numbers': [post('/v1/auth/login', `${json}Content-Length: 9007199254740993\r\n`), ' '],
    'a body nobody reads': ['GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n', 'x'],
    'a body to nowhere': [post('/nowhere', 'Content-Length: 60000\r\n'), 'x'],
    'a body without a token': [post('/v1/scans/submit', `${json}Content-Length: 60000\r\n`), ' '],
    'an upload without a token': [post('/v1/admin/qr/import-feedback', `${csv}Content-Length: 60000\r\n`), 'x'],
    'an upload of a member': [
      post('/v1/admin/qr/import-feedback', `${csv}Authorization: Bearer ${honest.token}\r\nContent-Length: 60000\r\n`),
      'x',
    ],
    'a poll’s body': [post('/socket.io/?EIO=4&transport=polling&sid=x', 'Content-Length: 600\r\n'), '4'],
    'a lone CR': ['GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n', 'x'],
    'a NUL': ['GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n', 'x'],
    'a folded header': ['GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n', 'x'],
    'no second request': ['GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n', ''],
    'no namespace': [upgrade('EIO=4&transport=websocket'), ''],
    'a frame': [upgrade('EIO=4&transport=websocket'), '\x81'],
  }
  const lines = Object.entries(slow).map(([name, [first, drop]]) => ({
    name,
    drop,
    line: openLine(port, first, ATTACKER),
  }))
  const unread = openLine(port, 'GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n', ATTACKER)
  unread.socket.pause()
  const dripping = setInterval(() => {
    for (const { line, drop } of lines) if (drop !== '') line.socket.write(drop, 'latin1')
  }, 1_000)
  t.teardown(() => clearInterval(dripping))
  await honestIsServed(t)
  for (const { name, line } of lines) {
    await within(`who sends ${name} is cut off`, line.closed, CUT_WITHIN_MS)
    t.pass(name)
  }
  clearInterval(dripping)
  await until('who reads nothing is cut off', async () => (await descriptors()) <= before.descriptors + 5)
  unread.socket.destroy()
  await honestIsServed(t)
  await nothingIsLeft(t, before)
})

t.test('10,000 half-open connections: others are served, and nothing is left of them', async (t) => {
  const before = await holdings()
  const script = fileURLToPath(new URL('support/half-open.js', import.meta.url))
  const share = [String(port), String(HALF_OPEN / ATTACKERS + 100), ATTACKER]
  const said = new Map<string, string>()
  const allSaid = (word: string) => [...said.values()].filter((text) => text.includes(word)).length === ATTACKERS
  const attackers = Array.from({ length: ATTACKERS }, () => spawn(process.execPath, [script, ...share]))
  for (const child of attackers) {
    t.teardown(() => child.kill('SIGKILL'))
    child.stdout.on('data', (chunk: Buffer) => said.set(`${child.pid}`, `${said.get(`${child.pid}`) ?? ''}${chunk}`))
  }
  await until('they are all there', () => allSaid('full'), 2 * CUT_WITHIN_MS)
  if (onLinux) t.comment(`${await descriptors()} descriptors`)
  await honestIsServed(t)
  t.equal((await anyone.get('/readyz')).status, 200)
  await until('the server cuts them off', () => allSaid('cut'), CUT_WITHIN_MS)
  await honestIsServed(t)
  for (const child of attackers) child.kill('SIGKILL')
  await nothingIsLeft(t, before)
  await honestIsServed(t)
})

t.test('a flood of sockets from one address leaves the others room, and goes without a trace', async (t) => {
  const before = await holdings()
  const poll = 'GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n'
  const lines: Line[] = []
  for (let n = 0; n < 1_500; n += 1) {
    lines.push(openLine(port, n % 3 === 0 ? poll : upgrade('EIO=4&transport=websocket'), ATTACKER))
  }
  await until('every one is answered', () => lines.every((line) => /^HTTP\/1\.1 \d/.test(line.text())))
  const refused = lines.filter((line) => line.text().startsWith('HTTP/1.1 403 '))
  t.ok(
    refused.every((line) => line.text().includes('"message":"Too many ')),
    'and told why',
  )
  t.equal(lines.length - refused.length, 200, 'connectionsPerAddressMax')
  const mine = await connectSocket(t, site, '/insights/live')
  mine.disconnect()
  await honestIsServed(t)
  for (const { socket } of lines) socket.resetAndDestroy()
  await nothingIsLeft(t, before)
})

t.test('a flood of events is told to slow down, and of unread answers cut off', async (t) => {
  const before = await holdings()
  const member = await signUp(site, 'flooder')
  const join = wireFrame(`40${JSON.stringify({ token: member.token })}`)
  const line = openLine(port, upgrade('EIO=4&transport=websocket'), ATTACKER)
  await until('the connection is open', () => line.text().includes('0{"sid"'))
  line.socket.write(join)
  await until('the namespace is joined', () => line.text().includes('40{"sid"'))
  const count = 5_000
  const asks = Array.from({ length: count }, (_, id) => wireFrame(`42${id}["scan:submit",{"code":"ABCD-EFGH-JKLM"}]`))
  line.socket.write(Buffer.concat(asks))
  const answer = /43\d+\[\{"error":\{"code":"(rate_limited|code_unknown|too_many_in_flight)"/g
  const answers = () => line.text().match(answer) ?? []
  await until('every one is answered', () => answers().length === count)
  t.ok(answers().filter((text) => text.includes('rate_limited')).length > count - 200)
  await honestIsServed(t)
  line.socket.pause()
  const more = Buffer.concat(Array.from({ length: 20 }, () => asks).flat())
  await Promise.race([new Promise((resolve) => line.socket.write(more, resolve)), line.closed])
  await honestIsServed(t)
  line.socket.destroy()
  await nothingIsLeft(t, before)
})

t.test('forged, foreign and expired tokens open nothing, over HTTP and sockets', async (t) => {
  const stored = JSON.parse(await readFile(join(site.dataDirectory, 'keys', 'signing-keys.json'), 'utf8'))
  const { kid, jwk } = stored.keys[0]
  const ours = await importJWK(jwk, 'RS256')
  const theirs = await generateKeyPair('RS256')
  const nowS = Math.floor(Date.now() / 1_000)
  const [, payload = ''] = honest.token.split('.')
  const claims: JWTPayload = JSON.parse(Buffer.from(payload, 'base64url').toString())
  const sign = (changed: JWTPayload, head: object = {}, key: CryptoKey | Uint8Array = ours) =>
    new SignJWT({ ...claims, ...changed }).setProtectedHeader({ alg: 'RS256', typ: 'at+jwt', kid, ...head }).sign(key)
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const [head = '', , signature = ''] = honest.token.split('.')
  t.equal((await new Client(site, await sign({})).get('/v1/users/me')).status, 200, 'a good one does')
  const refused: Record<string, string> = {
    'no signature': `${part({ alg: 'none', typ: 'at+jwt', kid })}.${part({ ...claims, role: 'admin' })}.`,
    'no signature, spelt otherwise': `${part({ alg: 'nOnE', typ: 'at+jwt', kid })}.${part(claims)}.${signature}`,
    'the public key as secret': await sign({}, { alg: 'HS256' }, new TextEncoder().encode(JSON.stringify(jwk.n))),
    'another key': await sign({}, {}, theirs.privateKey),
    'another key that comes along': await sign({}, { jwk: await exportJWK(theirs.publicKey) }, theirs.privateKey),
    'a key from elsewhere': await sign({}, { jku: 'http://127.0.0.1:1/jwks', kid: 'theirs' }, theirs.privateKey),
    'a key id that is a path': await sign({}, { kid: '../../../../dev/null' }),
    'a key id of every object': await sign({}, { kid: '__proto__' }),
    'another audience': await sign({ aud: 'partners' }),
    'another issuer': await sign({ iss: 'evil' }),
    'another type': await sign({}, { typ: 'rt+jwt' }),
    'a refresh token': honest.refreshToken,
    'changed claims': `${head}.${part({ ...claims, role: 'admin' })}.${signature}`,
    'a cut signature': honest.token.slice(0, -4),
    'not valid yet': await sign({ nbf: nowS + 600 }),
    expired: await sign({ exp: nowS - 60 }),
    'another session': await sign({ sid: 'another' }),
    'a member who is not': await sign({ sub: '__proto__' }),
    'three dots': 'a.b.c',
    rubbish: '\xff'.repeat(9),
  }
  const codes: Record<string, string> = { expired: 'token_expired', 'another session': 'session_ended' }
  codes['a member who is not'] = 'session_ended'
  for (const [name, token] of Object.entries(refused)) {
    const code = codes[name] ?? 'unauthorized'
    const request = `GET /v1/users/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`
    const { answer } = await exchange(port, request)
    if (name !== 'rubbish') t.match([answer?.status, `${answer?.body}`], [401, `"code":"${code}"`], name)
    const elsewhere = new Client(site, name === 'rubbish' ? 'x' : token)
    const scan = await elsewhere.post('/v1/scans/submit', { code: 'ABCD-EFGH-JKLM' })
    t.match([scan.status, scan.body.code], [401, code], `${name}, scanning`)
    const administer = await elsewhere.get('/v1/admin/treasury/pools')
    t.ok(administer.status === 401 || administer.body.code === 'admin_only', `${name}, as administrator`)
    for (const namespace of ['/', '/insights/live'] as const) {
      const refusal = await connectSocket(t, site, namespace, token).then(
        () => undefined,
        (error) => error.data,
      )
      t.match(refusal, { code }, `${name}, over a socket to ${namespace}`)
    }
  }
  await honestIsServed(t)
})

t.test('paths lead nowhere but to what is served', async (t) => {
  const up = ['..', '%2e%2e', '.%2e', '..%2f', '..%5c', '..\\', '%c0%ae%c0%ae', '....//', '%252e%252e', '..;', '..%00']
  const roots = ['', '/docs', '/docs/errors', '/v1', '/v1/admin/qr/codes', '/socket.io']
  const goals = ['package.json', 'etc/passwd', 'server.ts', '.data/keys/signing-keys.json']
  for (const root of roots) {
    for (const step of up) {
      const answers = await Promise.all(
        goals.map((goal) => exchange(port, `GET ${root}/${`${step}/`.repeat(4)}${goal} HTTP/1.1\r\nHost: x\r\n\r\n`)),
      )
      const statuses = answers.map(({ answer }) => answer?.status ?? 0)
      const told = answers.map(({ answer }) => `${answer?.body}`).join()
      if (!statuses.every((status) => status === 404 || status === 400 || status === 401))
        t.fail(`${root}/${step}: ${statuses}`)
      if (/"dependencies"|root:|startServer|"d":/.test(told)) t.fail(`${root}/${step} tells ${told}`)
    }
  }
  t.pass(`${roots.length * up.length * goals.length} ways up`)
})

t.test('bodies without end are refused before they fill the memory', async (t) => {
  const before = await holdings()
  const block = Buffer.alloc(64 * 1024, 'x')
  const whole = 32 * MiB
  const asChunk = Buffer.concat([Buffer.from(`${block.length.toString(16)}\r\n`), block, Buffer.from('\r\n')])
  const heads: readonly (readonly [name: string, head: string, status: number])[] = [
    ['a body', post('/v1/auth/login', json), 413],
    ['a body with a token', post('/v1/scans/submit', `${json}Authorization: Bearer ${honest.token}\r\n`), 413],
    ['a body without a token', post('/v1/scans/submit', json), 401],
    [
      'an upload of a member',
      post('/v1/admin/qr/import-feedback', `${csv}Authorization: Bearer ${honest.token}\r\n`),
      403,
    ],
    ['an upload of nobody', post('/v1/admin/qr/import-feedback', csv), 401],
    ['a body to nowhere', post('/nowhere', json), 404],
    ['a body where none is read', `GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n`, 200],
  ]
  for (const [name, head, status] of heads) {
    for (const framing of [`Content-Length: ${whole}\r\n`, chunked]) {
      const line = openLine(port, head.replace(/\r\n$/, `${framing}\r\n`), ATTACKER)
      const piece = framing === chunked ? asChunk : block
      for (let sent = 0; sent < whole && line.text() === ''; sent += block.length) {
        const taken = line.socket.write(piece)
        if (!taken) await Promise.race([once(line.socket, 'drain'), line.closed])
      }
      await until(`${name} is answered`, () => line.text() !== '')
      t.match(line.text(), new RegExp(`^HTTP/1\\.1 ${status} `), `${name}, ${framing.trim()}`)
      line.socket.destroy()
    }
  }
  await nothingIsLeft(t, before)
  await honestIsServed(t)
})

t.test('what is not text is refused by name, over HTTP and sockets', async (t) => {
  for (const [name, text] of Object.entries({ 'half a surrogate pair': '"\\ud83d"', NUL: '"a\\u0000b"' })) {
    const scan = `{"code":"ABCD-EFGH-JKLM","device_id":${text}}`
    const answer = await honest.post('/v1/scans/submit', scan)
    t.match([answer.status, answer.body.code, answer.body.field], [422, 'invalid_input', 'device_id'], name)
    const told = await live.emitWithAck('scan:submit', JSON.parse(scan))
    t.match(told, { error: { code: 'invalid_input', field: 'device_id' } }, `${name}, over a socket`)
  }
  const query = await anyone.get('/v1/auth/username-suggestion?full_name=a%00b')
  t.match([query.status, query.body.field], [422, 'full_name'])
  const emoji = await honest.put('/v1/users/me/profile', '{"full_name":"Zo\\u00eb \\ud83d\\ude00"}')
  t.equal(emoji.body.name, 'Zoë 😀', 'a whole pair is text')
})

t.test('headers of bytes beyond ASCII, empty or twice are refused or harmless', async (t) => {
  const body = '{"code":"ABCD-EFGH-JKLM"}'
  const scan = (headers: string) =>
    exchange(
      port,
      `${post('/v1/scans/submit', `${json}Authorization: Bearer ${honest.token}\r\nContent-Length: ${body.length}\r\n${headers}`)}${body}`,
    )
  for (const key of ['\xff\xfe', '', ' ', 'caf\xe9!', 'a\tb', '\xc3\xa9', 'x'.repeat(129)]) {
    const { answer } = await scan(`Idempotency-Key: ${key}\r\n`)
    t.match([answer?.status, `${answer?.body}`], [400, /invalid_idempotency_key/], JSON.stringify(key))
  }
  t.equal((await scan('X-Forwarded-For: \xff\r\nOrigin: \xff\r\nContent-Encoding: gzip\r\n')).answer?.status, 404)
  const split = await scan('Idempotency-Key: a%0d%0ax-injected: yes\r\n')
  t.notMatch(split.answer?.head, /^x-injected/im)
})

t.test('a request whose headers contradict each other is refused, and what it smuggles is no request', async (t) => {
  const inner = 'GET /v1/comps/unlocks HTTP/1.1\r\nHost: x\r\n\r\n'
  const twice: Record<string, string> = {
    'two lengths': post('/v1/auth/login', `${json}Content-Length: 0\r\nContent-Length: ${inner.length}\r\n`),
    'two lengths that agree': post('/v1/auth/login', `${json}Content-Length: 0\r\ncontent-length: 0\r\n`),
    'two lengths where none is read':
      'GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 9\r\n\r\n',
    'two lengths to nowhere': post('/nowhere', 'Content-Length: 0\r\nContent-Length: 9\r\n'),
    'two hosts': 'GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n',
    'two tokens': 'GET /v1/users/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n',
    'two keys': post('/v1/auth/logout', 'Idempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: 0\r\n'),
    'length and chunks': post('/v1/auth/login', `${json}Content-Length: 0\r\n${chunked}`),
  }
  for (const [name, request] of Object.entries(twice)) {
    const refused = openLine(port, request, ATTACKER)
    await within('the connection is closed', refused.closed)
    t.match(refused.text(), /^HTTP\/1\.1 400 .*("code":"repeated_header"|<h1>Bad Request)/s, name)
    const line = openLine(port, request + inner, ATTACKER)
    await within('the connection is closed', line.closed)
    t.notMatch(line.text(), '"unlocks"', `${name}: nothing is smuggled`)
  }
  const twoLengths = 'Content-Length: 0\r\nContent-Length: 9\r\n\r\n'
  for (const path of ['/', '/docs', '/docs/', '/socket.io/?EIO=4&transport=polling']) {
    const line = openLine(port, `GET ${path} HTTP/1.1\r\nHost: x\r\n${twoLengths}${inner}`, ATTACKER)
    await within('the connection is closed', line.closed)
    t.equal(line.text(), '', path)
  }
})

t.test('requests that follow each other on a connection are told apart from rubbish', async (t) => {
  const good = 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'
  const rubbish = [
    '\x16\x03\x01\x02\x00\x01\x00\xfc',
    'GET',
    '\r\n\r\n\r\n',
    'HTTP/1.1 200 OK\r\n\r\n',
    '\0'.repeat(5_000),
    ' GET / HTTP/1.1\r\n\r\n',
  ]
  for (const bytes of rubbish) {
    const line = openLine(port, `${good}${good}${bytes}`, ATTACKER)
    line.socket.end()
    await within('the connection is closed', line.closed)
    t.notMatch(line.text(), /^HTTP\/1\.1 500/m, JSON.stringify(bytes.slice(0, 20)))
  }
  await honestIsServed(t)
})

t.test('a poll beside a poll, and methods nobody knows, are the client’s fault', async (t) => {
  const opened = await anyone.get('/socket.io/?EIO=4&transport=polling')
  const session = `/socket.io/?EIO=4&transport=polling&sid=${JSON.parse(opened.text.slice(1)).sid}`
  for (const method of ['DELETE', 'PUT', 'PATCH', 'TRACE']) {
    const { answer } = await exchange(port, `${method} ${session} HTTP/1.1\r\nHost: x\r\n\r\n`)
    t.match([answer?.status, answer?.headers.get('allow')], [405, 'GET, POST, OPTIONS'], method)
  }
  const polls = [1, 2].map(() => openLine(port, `GET ${session} HTTP/1.1\r\nHost: x\r\n\r\n`, ATTACKER))
  await until('one is refused', () => polls.some((line) => line.text().startsWith('HTTP/1.1 400 ')))
  for (const { socket } of polls) socket.destroy()
})

t.test('the server has not noticed anything worth an error', async (t) => {
  await until('the attacker is gone', async () => (await gauge('sockets_connections')) === 1)
  const ending = await site.stop()
  t.equal(ending.code, 0)
  t.same(ending.stdout.match(/^.*"level":(?:50|60).*$/gm) ?? [], [])
})
