/** A small client of our own REST API, for the command line. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'

/** A failure with what to do about it, printed without a stack. */
export class CliError extends Error {
  override readonly name = 'CliError'
}

const serverFile = z.object({ url: z.url(), pid: z.number() })
const problem = z.object({ code: z.string(), detail: z.string().optional(), title: z.string() })
const tokens = z.object({ access_token: z.string() })

/** Where the server of this data folder listens, as it wrote down when it started. */
export async function findServer(dataDirectory: string): Promise<string> {
  try {
    return serverFile.parse(JSON.parse(await readFile(join(dataDirectory, 'server.json'), 'utf8'))).url
  } catch {
    throw new CliError(
      `No server seems to run on ${dataDirectory}. Start one with \`npm start\`, or name it with --url.`,
    )
  }
}

export class ApiClient {
  #token = ''

  constructor(readonly url: string) {}

  /** Logs in as the administrator of this data folder (ADMIN_EMAIL, ADMIN_PASSWORD or the generated one). */
  async logInAsAdmin(dataDirectory: string, email: string, password: string | undefined): Promise<void> {
    const secret = password ?? (await readFile(join(dataDirectory, 'admin-password'), 'utf8').catch(() => '')).trim()
    if (secret === '') {
      throw new CliError(
        'No administrator password: set ADMIN_PASSWORD (and ADMIN_EMAIL), or DATA_DIR to the server’s.',
      )
    }
    this.#token = (
      await this.post('/v1/auth/login', { email, password: secret, device: 'desktop' }, tokens)
    ).access_token
  }

  async get<Schema extends z.ZodType>(path: string, schema: Schema): Promise<z.output<Schema>> {
    return schema.parse(await (await this.request('GET', path)).json())
  }

  async post<Schema extends z.ZodType>(path: string, body: object, schema: Schema): Promise<z.output<Schema>> {
    const answer = await this.request('POST', path, JSON.stringify(body), 'application/json')
    return schema.parse(await answer.json())
  }

  /** The response, or a {@link CliError} with the server's own explanation. */
  async request(method: string, path: string, body?: string | ReadableStream, contentType?: string): Promise<Response> {
    const headers: Record<string, string> = {}
    if (this.#token !== '') headers.authorization = `Bearer ${this.#token}`
    if (contentType !== undefined) headers['content-type'] = contentType
    const response = await fetch(new URL(path, this.url), {
      method,
      headers,
      ...(body === undefined ? {} : { body, duplex: 'half' }),
    }).catch((error: unknown) => {
      throw new CliError(`${this.url} does not answer: ${String((error as Error).cause ?? error)}`)
    })
    if (response.ok) return response
    const parsed = problem.safeParse(await response.json().catch(() => null))
    const why = parsed.success ? `${parsed.data.code}: ${parsed.data.detail ?? parsed.data.title}` : 'no explanation'
    throw new CliError(`${method} ${path} was refused with ${response.status}, ${why}`)
  }
}
