// People who use the server: over HTTP and Socket.IO, as any client would.
import { randomUUID } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { io, type Socket } from 'socket.io-client'
import { adminAccount, type Deployment, type TestScope, until, within } from './server.js'

// biome-ignore lint/suspicious/noExplicitAny: what a server says is checked by the assertions that read it
export type Told = Record<string, any>

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** The text as JSON; empty when it is none. */
  readonly body: Told
}

interface Sending {
  /** Idempotency-Key */
  readonly key?: string
  readonly contentType?: string
}

/** Every request made, as `METHOD path`. */
export const requestsMade = new Set<string>()

/** Someone with or without an access token. Follows the server when it comes back elsewhere. */
export class Client {
  constructor(
    readonly site: Pick<Deployment, 'url'>,
    public token = '',
  ) {}

  get(path: string): Promise<Answer> {
    return this.#send('GET', path)
  }

  post(path: string, body?: unknown, sending?: Sending): Promise<Answer> {
    return this.#send('POST', path, body, sending)
  }

  put(path: string, body: unknown): Promise<Answer> {
    return this.#send('PUT', path, body)
  }

  patch(path: string, body: unknown): Promise<Answer> {
    return this.#send('PATCH', path, body)
  }

  delete(path: string, body?: unknown): Promise<Answer> {
    return this.#send('DELETE', path, body)
  }

  /** Submits a scan and answers for it being accepted. */
  async scan(code: string, sending?: Sending): Promise<Told> {
    const answer = await this.post('/v1/scans/submit', { code }, sending)
    if (answer.status !== 200) throw new Error(`${code} was not accepted: ${answer.text}`)
    return answer.body
  }

  async #send(method: string, path: string, body?: unknown, sending: Sending = {}): Promise<Answer> {
    requestsMade.add(`${method} ${path.split('?', 1)[0]}`)
    const headers: Record<string, string> = {}
    if (this.token !== '') headers.authorization = `Bearer ${this.token}`
    if (sending.key !== undefined) headers['idempotency-key'] = sending.key
    if (body !== undefined) headers['content-type'] = sending.contentType ?? 'application/json'
    const text = typeof body === 'string' ? body : JSON.stringify(body)
    const response = await fetch(`${this.site.url}${path}`, {
      method,
      headers,
      ...(text === undefined ? {} : { body: text }),
      signal: AbortSignal.timeout(60_000),
    })
    return answerOf(response, await response.text())
  }
}

function answerOf({ status, headers }: Response, text: string): Answer {
  const isJson = headers.get('content-type')?.includes('json') ?? false
  return { status, headers, text, body: isJson ? JSON.parse(text) : {} }
}

export class Member extends Client {
  constructor(
    site: Pick<Deployment, 'url'>,
    readonly user: Told,
    readonly account: { readonly email: string; readonly password: string },
    token: string,
    public refreshToken: string,
  ) {
    super(site, token)
  }
}

export const PASSWORD = 'Member!2026'

/** What a new member fills in. */
export function form(name: string, more: Told = {}): Told & { email: string; password: string } {
  return {
    email: `${name}@example.com`,
    password: PASSWORD,
    full_name: `${name} Example`,
    date_of_birth: '1990-05-17',
    ...more,
  }
}

export async function signUp(site: Pick<Deployment, 'url'>, name: string, more: Told = {}): Promise<Member> {
  const account = form(name, { username: name, ...more })
  const { status, body, text } = await new Client(site).post('/v1/auth/signup', account)
  if (status !== 201) throw new Error(`${name} could not sign up: ${text}`)
  return new Member(site, body.user, account, body.access_token, body.refresh_token)
}

/** `count` members, a few at a time: each password takes a processor for a while. */
export async function signUpMany(site: Pick<Deployment, 'url'>, prefix: string, count: number): Promise<Member[]> {
  const members: Member[] = []
  let next = 0
  const some = async () => {
    while (next < count) {
      const index = next++
      members[index] = await signUp(site, `${prefix}${index}`)
    }
  }
  await Promise.all([some(), some(), some(), some()])
  return members
}

export async function logInAdmin(site: Pick<Deployment, 'url'>): Promise<Client> {
  const client = new Client(site)
  const { status, body, text } = await client.post('/v1/auth/login', { ...adminAccount, device: 'desktop' })
  if (status !== 200) throw new Error(`the administrator could not log in: ${text}`)
  client.token = body.access_token
  return client
}

/** Generates a batch and waits until all its codes are there. */
export async function generateBatch(admin: Client, quantity: number, sku = 'SPEARMINT-3MG'): Promise<number> {
  const { body } = await admin.post('/v1/admin/qr/generate', { name: 'Run', quantity, product_sku: sku })
  await until(`batch ${body.batch_id} is complete`, async () => (await batchOf(admin, body.batch_id)).progress === 1)
  return body.batch_id
}

export async function batchOf(admin: Client, batch: number): Promise<Told> {
  const { body } = await admin.get('/v1/admin/qr/batches')
  return body.batches.find((each: Told) => each.batch_id === batch)
}

export async function codesOf(admin: Client, batch: number): Promise<string[]> {
  const { text } = await admin.post('/v1/admin/qr/export', { batch_id: batch })
  return text
    .trimEnd()
    .split('\n')
    .slice(1)
    .map((line) => line.slice(0, line.indexOf(',')))
}

/** Reports codes as manufactured. */
export function importCodes(admin: Client, codes: readonly string[]): Promise<Answer> {
  return admin.post('/v1/admin/qr/import-feedback', `code\n${codes.join('\n')}\n`, { contentType: 'text/csv' })
}

/** Codes that can be scanned. */
export async function activeCodes(admin: Client, quantity: number): Promise<string[]> {
  const codes = await codesOf(admin, await generateBatch(admin, quantity))
  const { body } = await importCodes(admin, codes)
  if (body.manufactured !== quantity) throw new Error(`only ${body.manufactured} of ${quantity} became active`)
  return codes
}

export type ToldSocket = Socket & { readonly told: { readonly event: string; readonly data: Told }[] }

/** Connects a WebSocket; everything it is told is in `told`, in order. */
export async function connectSocket(
  t: TestScope,
  site: Pick<Deployment, 'url'>,
  namespace: '/' | '/insights/live' | '/social/ws',
  token?: string,
): Promise<ToldSocket> {
  const socket = io(`${site.url}${namespace}`, {
    forceNew: true,
    reconnection: false,
    transports: ['websocket'],
    auth: token === undefined ? {} : { token },
  })
  t.teardown(async () => socket.disconnect())
  const told: { event: string; data: Told }[] = []
  socket.onAny((event: string, data: Told) => told.push({ event, data }))
  const connected = new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('connect_error', reject)
  })
  await within(`a socket connects to ${namespace}`, connected)
  return Object.assign(socket, { told })
}

export const saidOf = ({ told }: ToldSocket, name: string): Told[] =>
  told.filter(({ event }) => event === name).map(({ data }) => data)

export interface MailFile {
  readonly to: string
  readonly template: string
  readonly text: string
  /** The one-time code in it, if there is one. */
  readonly code: string | undefined
}

/** Mails to an address, oldest first. */
export async function mailsTo({ dataDirectory }: Deployment, to: string): Promise<MailFile[]> {
  const folder = join(dataDirectory, 'mail')
  const names = (await readdir(folder)).filter((name) => name.endsWith('.eml')).sort()
  const texts = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')))
  return texts
    .map((text) => ({
      to: /^To: (.*?)\r?$/m.exec(text)?.[1] ?? '',
      template: /^X-Template: (.*?)\r?$/m.exec(text)?.[1] ?? '',
      text,
      code: /^([0-9A-HJKMNP-TV-Z]{8})\r?$/m.exec(text)?.[1],
    }))
    .filter((mail) => mail.to === to)
}

/** The `count`th mail of a kind to an address, when it has arrived. */
export async function mailed(deployment: Deployment, to: string, template: string, count = 1): Promise<MailFile> {
  return until(`${template} mail ${count} to ${to}`, async () => {
    const mails = (await mailsTo(deployment, to)).filter((mail) => mail.template === template)
    return mails[count - 1]
  })
}

export const newKey = () => randomUUID()
