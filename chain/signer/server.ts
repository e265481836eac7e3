/**
 * A signer behind a Unix domain socket. Who may open the socket may ask for signatures, within the policy: it lies in a
 * folder of its own that only its owner enters, and is itself open to its owner only.
 */
import { chmod, lstat, unlink } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import type { Logger } from 'pino'
import { ensurePrivateFolder, hasCode } from '../keys/durable-file.js'
import { SignerStartError } from './errors.js'
import type { SignerService } from './service.js'
import { BODY_BYTES_MAX, type Failure, paths, signSchema, statusOf, toFailure } from './wire.js'

/** Of Linux; other systems take a few less. */
const PATH_BYTES_MAX = 103
const CONNECTIONS_MAX = 64
/** For a request to arrive whole. */
const REQUEST_TIMEOUT_MS = 10_000
const KEEP_ALIVE_MS = 60_000

class BodyTooLarge extends Error {}

export class SignerServer {
  private constructor(
    readonly socketPath: string,
    private readonly server: Server,
  ) {}

  /** Listens; the service stays the caller's. Throws `socket_in_use`. */
  static async start(service: SignerService, socketPath: string, log: Logger): Promise<SignerServer> {
    await prepare(socketPath)
    const server = createServer(
      { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS, keepAliveTimeout: KEEP_ALIVE_MS },
      (request, response) => {
        void answer(service, request, response, log, () => !server.listening)
      },
    )
    server.maxConnections = CONNECTIONS_MAX
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(socketPath, resolve)
    })
    await chmod(socketPath, 0o600)
    return new SignerServer(socketPath, server)
  }

  /** Answers what is in hand, then closes and removes the socket. */
  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()))
    this.server.closeIdleConnections()
    await closed
  }
}

async function prepare(socketPath: string): Promise<void> {
  if (Buffer.byteLength(socketPath) > PATH_BYTES_MAX) {
    throw unusable(
      socketPath,
      `is longer than the ${PATH_BYTES_MAX} bytes a socket's path may have. Set a shorter one.`,
    )
  }
  const folder = dirname(socketPath)
  await ensurePrivateFolder(folder)
  if (((await lstat(folder)).mode & 0o077) !== 0) {
    throw unusable(socketPath, `lies in a folder that others enter. Give it one of its own, or chmod 700 ${folder}.`)
  }
  const found = await lstat(socketPath).catch((error: unknown) => {
    if (hasCode(error, 'ENOENT')) return null
    throw error
  })
  if (found === null) return
  if (!found.isSocket()) throw unusable(socketPath, 'is a file that is no socket. Name another path.')
  if (await isAnswered(socketPath)) throw unusable(socketPath, 'is in use by another signer. Stop that first.')
  // It is of one that was killed.
  await unlink(socketPath)
}

const unusable = (path: string, why: string) =>
  new SignerStartError('socket_in_use', `The signer cannot listen: ${path} (SIGNER_SOCKET) ${why}`)

function isAnswered(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

async function answer(
  service: SignerService,
  request: IncomingMessage,
  response: ServerResponse,
  log: Logger,
  isStopping: () => boolean,
) {
  try {
    const content = await handle(service, request)
    send(response, 200, content, isStopping())
  } catch (error) {
    const failure = failureOf(error)
    if (failure === null) log.error({ err: error }, 'the signer failed at a request')
    const { kind, ...rest } = failure ?? unexplained
    send(response, statusOf[kind], { kind, ...rest }, isStopping())
  }
}

const unexplained: Failure = {
  kind: 'unavailable',
  code: 'key_failed',
  message: 'The signer failed; its log says why.',
  payoutId: null,
  signedBefore: [],
}

function failureOf(error: unknown): Failure | null {
  if (!(error instanceof BodyTooLarge)) return toFailure(error)
  const message = `A request may have ${BODY_BYTES_MAX} bytes. Send fewer transactions at once.`
  return { kind: 'refused', code: 'batch_too_large', message, payoutId: null, signedBefore: [] }
}

function send(response: ServerResponse, status: number, content: object, isStopping: boolean): void {
  if (response.destroyed) return
  // What was not read of a request would be taken for the next one.
  const mayGoOn = response.req.complete && !isStopping
  response.writeHead(status, { 'content-type': 'application/json', ...(mayGoOn ? {} : { connection: 'close' }) })
  response.end(JSON.stringify(content))
}

async function handle(service: SignerService, request: IncomingMessage): Promise<object> {
  const url = new URL(request.url ?? '/', 'http://signer')
  const route = `${request.method} ${url.pathname}`
  if (route === `POST ${paths.sign}`) {
    const { requests } = signSchema.parse(JSON.parse(await bodyOf(request)))
    const signed = await service.sign(requests.map(({ amount, ...rest }) => ({ ...rest, amount: BigInt(amount) })))
    return { signed }
  }
  if (route === `GET ${paths.address}`) return { address: await service.address(url.searchParams.get('wallet') ?? '') }
  if (route === `GET ${paths.status}`) return service.status()
  throw new SyntaxError(`There is no ${route} here.`)
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request) {
    bytes += chunk.length
    if (bytes > BODY_BYTES_MAX) throw new BodyTooLarge()
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
