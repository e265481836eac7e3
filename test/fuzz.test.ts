// Hunts: input that crashes the server, is answered with a fault, changes what only others may change, or is refused in
// another way than the API says. Every route of the server's own OpenAPI document and every event of its sockets is
// attacked. To repeat a run: FUZZ_SEED=… (printed), FUZZ_RUNS=… for more requests to each route.
import { randomInt } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { problemSchema } from '../gateway/http/toolkit/problem.js'
import {
  Attacker,
  bytesOf,
  type Caller,
  type Document,
  type FuzzRequest,
  type Operation,
  operationsOf,
  type Words,
} from './support/fuzz.js'
import { type Ask, asks, bytesOfFrames, engineQueries, type Frame, frames } from './support/fuzz-packets.js'
import { hostileJson, spoiled } from './support/hostile-values.js'
import { activeCodes, Client, connectSocket, logInAdmin, type Member, saidOf, signUp } from './support/members.js'
import { adminAccount, Deployment, until, within } from './support/server.js'
import { exchange, type Line, openLine, upgrade, type WireAnswer, wireFrame } from './support/wire.js'

const seed = Number(process.env.FUZZ_SEED ?? randomInt(2 ** 31))
const runsPerRoute = Number(process.env.FUZZ_RUNS ?? 60)
const AT_ONCE = 4
t.comment(`FUZZ_SEED=${seed}`)

const site = await Deployment.started(t, {
  env: {
    RATE_LIMIT_SIGNUP_PER_MINUTE: '1000000',
    RATE_LIMIT_LOGIN_PER_MINUTE: '1000000',
    RATE_LIMIT_MEMBER_PER_SECOND: '1000000',
    RATE_LIMIT_MEMBER_BURST: '1000000',
  },
})
const port = Number(new URL(site.url).port)
const admin = await logInAdmin(site)
const honest = await signUp(site, 'honest')
const codes = await activeCodes(admin, 400)
const honestCodes = codes.splice(0, 50)
const document = (await new Client(site).get('/openapi.json')).body as Document
const operations = operationsOf(document)

const suspended = await signUp(site, 'suspended')
const loggedOut = await signUp(site, 'loggedout')
const outcasts = new Map<Caller, string>([
  ['suspended', suspended.token],
  ['logged out', loggedOut.token],
])
await admin.put(`/v1/admin/users/${suspended.user.id}`, { standing: 'suspended' })
await loggedOut.post('/v1/auth/logout')

/** Those in whose name requests are made. Who is thrown out, by what the fuzzer did, comes back. */
class Callers {
  #member: Member
  #email = adminAccount.email
  #returning: Promise<void> | undefined
  #members = 1

  constructor(member: Member) {
    this.#member = member
  }

  get victim(): string {
    return this.#member.user.id
  }

  tokenOf(caller: Caller): string {
    if (caller === 'admin') return admin.token
    return caller === 'member' ? this.#member.token : (outcasts.get(caller) ?? '')
  }

  /** Notices what an answer means for the session it was made in. */
  async notice({ caller, method, operation }: FuzzRequest, { status, body }: WireAnswer): Promise<void> {
    const renamed =
      caller === 'admin' && method === 'PUT' && operation.path === '/v1/users/me/profile' && status === 200
    if (renamed) this.#email = JSON.parse(body.toString()).email
    if ((caller !== 'member' && caller !== 'admin') || (status !== 401 && status !== 403)) return
    if (!/"code":"(session_ended|account_suspended|token_expired)"/.test(body.toString())) return
    this.#returning ??= this.#comeBack(caller).finally(() => {
      this.#returning = undefined
    })
    await this.#returning
  }

  async #comeBack(caller: 'member' | 'admin'): Promise<void> {
    if (caller === 'member') {
      this.#member = await signUp(site, `victim${this.#members++}`)
      return
    }
    const account = { ...adminAccount, email: this.#email, device: 'desktop' }
    const { status, body, text } = await new Client(site).post('/v1/auth/login', account)
    if (status !== 200) throw new Error(`the administrator cannot log in any more: ${text}`)
    admin.token = body.access_token
  }
}
const callers = new Callers(await signUp(site, 'victim0'))

const said: string[] = []
for (const text of ['one', 'two', 'three']) {
  const { body } = await admin.post('/v1/social/channels/general/messages', { text })
  said.push(body.id)
}
const words: Words = {
  code: fc.constantFrom(...codes, 'ABCD-EFGH-JKLM'),
  id: fc.constantFrom('', '', 'general', 'announcements', ...said).map((id) => id || callers.victim),
  emoji: fc.constantFrom('🎉', '👍', ':)'),
  because: fc.constantFrom('spam', ''),
  language: fc.constantFrom('en', 'es', 'xx'),
  user_id: fc.constantFrom('', '').map(() => callers.victim),
  batch_id: fc.constantFrom(1, 1, 2, 99),
  quantity: fc.constantFrom(1, 2, 50),
  product_sku: fc.constantFrom('SPEARMINT-3MG', 'MINT-ICE-6MG', 'NONE'),
  amount: fc.constantFrom('0', '0.000001', '1250.00', '999999999999.999999'),
  reference: fc.constantFrom('one', 'two', '__proto__', 'constructor'),
  password: fc.constantFrom('Member!2026', 'Ünïcode!2026'),
}
const attacker = new Attacker(document, words)

/** Where an answer breaks what the API promises; undefined when it does not. */
function wrongWith({ method, operation }: FuzzRequest, answer: WireAnswer | undefined): string | undefined {
  if (answer === undefined) return 'the connection was closed without an answer'
  const { status, head } = answer
  if (/^x-injected/im.test(head)) return 'a header was injected'
  if (status >= 500 && status !== 503) return 'a fault'
  const known = method === operation.method || (method === 'HEAD' && operation.method === 'GET')
  if (known && status < 400 && !operation.documented.has(status)) return `${status} is not documented`
  return status < 400 || method === 'HEAD' ? undefined : wrongRefusal(answer, known ? operation : undefined)
}

function wrongRefusal({ status, headers, body }: WireAnswer, operation: Operation | undefined): string | undefined {
  if (headers.get('content-type') !== 'application/problem+json') return 'not a problem document'
  const parsed = problemSchema.strict().safeParse(JSON.parse(body.toString()))
  if (!parsed.success) return `not a problem document: ${parsed.error.message}`
  const { code, type } = parsed.data
  if (parsed.data.status !== status) return 'it names another status'
  if (type !== `/docs/errors#${code}` || !/^[a-z]+(_[a-z]+)*$/.test(code)) return 'its code is no name'
  const elsewhere = code === 'no_such_path' || code === 'method_not_allowed'
  const documented = operation?.documented.get(status)?.includes(`\`${code}\``) ?? false
  return operation === undefined || elsewhere || documented ? undefined : `${status} ${code} is not documented`
}

async function attack(request: FuzzRequest): Promise<void> {
  const bytes = bytesOf(request, callers.tokenOf(request.caller))
  const { answer } = await exchange(port, bytes, { headOnly: request.method === 'HEAD' })
  const wrong = wrongWith(request, answer)
  if (wrong !== undefined) {
    const said = answer === undefined ? 'nothing' : `${answer.head}\n\n${answer.body.toString('utf8', 0, 600)}`
    throw new Error(
      `${wrong}\n--- sent as ${request.caller}, ${bytes.length} bytes:\n${show(bytes)}\n--- answered:\n${said}`,
    )
  }
  if (answer !== undefined) await callers.notice(request, answer)
}

const show = (bytes: Buffer) => JSON.stringify(bytes.toString('latin1', 0, 2_000)).replaceAll('\\r\\n', '\n')

t.test('every route: whatever is sent is answered as documented', async (t) => {
  const pending = operations.map((operation, index) => ({ operation, seed: seed + index }))
  const worker = async () => {
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      const { operation, seed } = next
      const property = fc.asyncProperty(attacker.request(operation), attack)
      const details = await fc.check(property, { seed, numRuns: runsPerRoute, endOnFailure: true })
      const name = `${operation.method} ${operation.path}`
      if (details.failed) t.fail(`${name}: ${details.errorInstance}`, { seed, path: details.counterexamplePath })
      else t.pass(name)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  t.ok(operations.length > 30, `${operations.length} routes`)
})

t.test('bytes that are nearly HTTP end their own connection at most', async (t) => {
  const requests = fc
    .constantFrom(...operations)
    .chain((operation) => attacker.request(operation))
    .filter(({ caller }) => caller !== 'admin')
  const send = async (bytes: Buffer) => {
    const { answer } = await exchange(port, bytes, { end: true })
    const { status = 400, head = '' } = answer ?? {}
    // 505 is what uWS says of a request line it cannot read.
    if ((status >= 500 && status !== 505) || /^x-injected/im.test(head))
      throw new Error(`${head}\n--- to\n${show(bytes)}`)
  }
  const bytes = spoiled(requests.map((request) => bytesOf(request, callers.tokenOf(request.caller))))
  const details = await fc.check(fc.asyncProperty(bytes, send), { seed, numRuns: 5 * runsPerRoute, endOnFailure: true })
  t.notOk(details.failed, `${details.errorInstance}`)
})

const scanRoute = operations.find(({ path }) => path === '/v1/scans/submit')
const scanPayload = attacker.value(scanRoute?.body ?? {})
const talker = await signUp(site, 'talker')
const steady = await connectSocket(t, site, '/', honest.token)

/** A WebSocket that has joined a namespace, if the server let it. */
async function joined(namespace: string, token: string): Promise<Line> {
  const line = openLine(port, upgrade('EIO=4&transport=websocket'))
  await until('the connection is open', () => line.text().includes('0{"sid"'))
  line.socket.write(wireFrame(`40${namespace}${JSON.stringify({ token })}`))
  await until('the namespace is joined', () => line.text().includes(`40${namespace}{"sid"`))
  return line
}

async function connectionsOpen(): Promise<number> {
  const { text } = await new Client(site).get('/metrics')
  return Number(/^comptroller_sockets_connections (\d+)$/m.exec(text)?.[1])
}

t.test('sockets: every command is answered, with what the route would say or a named refusal', async (t) => {
  const ask = async (commands: readonly Ask[]) => {
    const line = await joined('', talker.token)
    const packets = commands.map(({ event, payload }, id) => `42${id}[${JSON.stringify(event)},${payload}]`)
    line.socket.write(bytesOfFrames(packets.map((payload) => ({ payload }))))
    await Promise.race([
      until('all are answered', () => packets.every((_, id) => line.text().includes(`43${id}[`))),
      line.closed,
    ])
    const open = !line.socket.destroyed
    const said = line.text()
    line.socket.destroy()
    if (!open) throw new Error(`the connection was closed: ${packets}`)
    if (said.includes('"code":"internal"')) throw new Error(`a fault: ${packets}`)
  }
  const property = fc.asyncProperty(asks(scanPayload, hostileJson), ask)
  const details = await fc.check(property, { seed, numRuns: runsPerRoute, endOnFailure: true })
  t.notOk(details.failed, `${fc.defaultReportMessage(details)} ${details.errorInstance}`)
})

t.test('sockets: frames and packets of any kind end their own connection at most', async (t) => {
  const send = async (sent: readonly Frame[], namespace: string) => {
    const line = await joined(namespace, talker.token)
    line.socket.end(bytesOfFrames(sent))
    await within('the connection is closed', line.closed)
  }
  const property = fc.asyncProperty(frames(hostileJson), fc.constantFrom('', '/insights/live,'), send)
  const details = await fc.check(property, { seed, numRuns: 3 * runsPerRoute, endOnFailure: true })
  t.notOk(details.failed, `${fc.defaultReportMessage(details)} ${details.errorInstance}`)
})

t.test('sockets: polling requests of any kind are answered or refused', async (t) => {
  const send = async (query: string, sent: readonly Frame[], method: string) => {
    const opened = await new Client(site).get('/socket.io/?EIO=4&transport=polling')
    const sid = JSON.parse(opened.text.slice(1)).sid
    const body = Buffer.concat(
      sent.map(({ payload }, index) => Buffer.concat([Buffer.from(index === 0 ? '' : '\x1e'), Buffer.from(payload)])),
    )
    const head = `${method} /socket.io/?${query.replaceAll('SID', sid)} HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n`
    const { answer } = await exchange(port, Buffer.concat([Buffer.from(head), body]))
    await exchange(
      port,
      `POST /socket.io/?EIO=4&transport=polling&sid=${sid} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1`,
    )
    if (answer === undefined || answer.status >= 500) throw new Error(`${answer?.head ?? 'no answer'} to ${head}`)
  }
  const methods = fc.constantFrom('POST', 'POST', 'POST', 'OPTIONS', 'PUT', 'DELETE')
  const property = fc.asyncProperty(engineQueries, frames(hostileJson), methods, send)
  const details = await fc.check(property, { seed, numRuns: runsPerRoute, endOnFailure: true })
  t.notOk(details.failed, `${fc.defaultReportMessage(details)} ${details.errorInstance}`)
})

t.test('after all of it everything is as it should be', async (t) => {
  const { scan } = await honest.scan(honestCodes[0] ?? '')
  await until('the honest member hears of the scan', () => saidOf(steady, 'scan:accepted').length === 1)
  await until('no other connection is left', async () => (await connectionsOpen()) === 1)
  const sql = await site.database(t)
  await until('Postgres has caught up', async () => {
    const [row] = await sql`select max(ordinal)::int as newest from scans`
    return row?.newest === scan.ordinal
  })
  const [scans] = await sql`select count(*)::int as rows, max(ordinal)::int as newest from scans`
  t.same(scans, { rows: scan.ordinal, newest: scan.ordinal }, 'ordinals without gap')
  const uneven = await sql`select currency from ledger_entries group by currency having sum(amount) <> 0`
  t.same([...uneven], [], 'L2')
  const [parked] = await sql`select count(*)::int as n from dead_letters`
  t.equal(parked?.n, 0, 'P3: no row was refused')
  const { text: metrics } = await new Client(site).get('/metrics')
  t.notMatch(metrics, /^comptroller_turn_faults_total\{[^}]*\} [1-9]/m)
  t.match(metrics, /^comptroller_http_requests_in_flight 1$/m, 'this one')
  const verified = await site.run(['journal', 'verify'])
  t.equal(verified.code, 0, `J2: ${verified.stdout}${verified.stderr}`)
  const ending = await site.stop()
  t.equal(ending.code, 0)
  t.same(ending.stdout.match(/^.*"level":(?:50|60).*$/gm) ?? [], [], 'no error in the log')
})
