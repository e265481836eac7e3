/** The real server, with members enough for a token of their own for every socket. */

import { onPostgres } from '../recovery/postgres.js'
import { runCommand, ServerProcess } from '../scan/server-process.js'
import { mintTokens, someMembers } from '../scan/stock.js'

const admin = { email: 'bench@example.com', password: 'Comptroller!2026', device: 'desktop' }
/** Members of it may write as fast as they like. */
const TALKERS_TIER = 'high_roller'

export interface OurServer {
  readonly process: ServerProcess
  /** Of members who may write without a pause. */
  readonly talkers: readonly string[]
  /** Of as many other members as were asked for. */
  readonly listeners: readonly string[]
}

/** Members without a sign-up each. */
export function seedMembers(folder: string, count: number): Promise<void> {
  return runCommand(folder, ['seed', '--users', String(count)])
}

/** Starts the server and mints a token for each of `talkers + listeners` seeded members. */
export async function startOurs(
  folder: string,
  counts: { readonly talkers: number; readonly listeners: number },
  nodeArgs: readonly string[],
  settings: NodeJS.ProcessEnv = {},
): Promise<OurServer> {
  const count = counts.talkers + counts.listeners
  const account = { ADMIN_EMAIL: admin.email, ADMIN_PASSWORD: admin.password }
  const server = await ServerProcess.start(folder, nodeArgs, { ...account, ...settings })
  try {
    const members = await onPostgres(folder, ({ sql }) => someMembers(sql, count))
    if (members.length < count) throw new Error(`of ${count} members ${members.length} have a session`)
    await raise(
      server.url,
      members.slice(0, counts.talkers).map(({ userId }) => userId),
    )
    const tokens = await mintTokens(folder, members)
    return { process: server, talkers: tokens.slice(0, counts.talkers), listeners: tokens.slice(counts.talkers) }
  } catch (error) {
    await server.stop()
    throw error
  }
}

async function raise(url: string, userIds: readonly string[]): Promise<void> {
  const { access_token: token } = await request(url, 'POST', '/v1/auth/login', admin)
  for (const userId of userIds) await request(url, 'PUT', `/v1/admin/users/${userId}`, { tier: TALKERS_TIER }, token)
}

async function request(url: string, method: string, path: string, body: object, token?: string) {
  const headers = {
    'content-type': 'application/json',
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
  }
  const response = await fetch(new URL(path, url), { method, headers, body: JSON.stringify(body) })
  const text = await response.text()
  if (!response.ok) throw new Error(`${method} ${path} was answered ${response.status}: ${text}`)
  return JSON.parse(text) as { readonly access_token?: string }
}
