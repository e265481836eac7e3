/** JSON-RPC over HTTP for the local Solana chain: single requests and batches, on the loopback interface only. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { RpcError, type RpcMethods } from './solana-params.js'

const HOST = '127.0.0.1'
const BODY_BYTES_MAX = 4_000_000
const BATCH_MAX = 1_000
const PARSE_ERROR = -32700
const INVALID_REQUEST = -32600
const METHOD_NOT_FOUND = -32601
const INTERNAL_ERROR = -32603

export interface RpcServer {
  readonly url: string
  close(): Promise<void>
}

/** `port` 0 takes a free one. */
export async function serveRpc(methods: RpcMethods, port: number): Promise<RpcServer> {
  const server = createServer((request, response) => {
    answer(methods, request, response).catch(() => response.destroy())
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, HOST, resolve)
  })
  const { port: taken } = server.address() as AddressInfo
  return {
    url: `http://${HOST}:${taken}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function answer(methods: RpcMethods, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > BODY_BYTES_MAX) return void response.writeHead(413).end()
    chunks.push(chunk)
  }
  const body = JSON.stringify(reply(methods, Buffer.concat(chunks).toString('utf8')))
  response.writeHead(200, { 'content-type': 'application/json' }).end(body)
}

function reply(methods: RpcMethods, body: string): unknown {
  let asked: unknown
  try {
    asked = JSON.parse(body)
  } catch {
    return failure(null, PARSE_ERROR, 'Parse error')
  }
  if (!Array.isArray(asked)) return call(methods, asked)
  return asked.length <= BATCH_MAX
    ? asked.map((one) => call(methods, one))
    : failure(null, INVALID_REQUEST, `At most ${BATCH_MAX} requests in a batch`)
}

function call(methods: RpcMethods, request: unknown): unknown {
  if (typeof request !== 'object' || request === null) return failure(null, INVALID_REQUEST, 'Invalid request')
  const { id = null, method, params = [] } = { ...request } as { id?: unknown; method?: unknown; params?: unknown }
  const run = typeof method === 'string' && Object.hasOwn(methods, method) ? methods[method] : undefined
  if (!run) return failure(id, METHOD_NOT_FOUND, `Method not found: ${String(method)}`)
  try {
    return { jsonrpc: '2.0', id, result: run(Array.isArray(params) ? params : []) ?? null }
  } catch (error) {
    if (error instanceof RpcError) return failure(id, error.code, error.message, error.data)
    return failure(id, INTERNAL_ERROR, String(error))
  }
}

const failure = (id: unknown, code: number, message: string, data?: unknown) => ({
  jsonrpc: '2.0',
  id,
  error: data === undefined ? { code, message } : { code, message, data },
})
