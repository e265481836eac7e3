import { createHash } from 'node:crypto'
import { z } from 'zod'
import { type Mail, type MailPort, MailRejectedError, MailUnavailableError, mailKey, type Sender } from './mail.js'
import { compose } from './templates.js'

const BASE_URL = 'https://api.brevo.com'
const TIMEOUT_MS = 10_000
const MESSAGE_LENGTH_MAX = 200
/** Brevo's word for an idempotency key it has seen: the mail was taken before. */
const ALREADY_SENT_CODE = 'duplicate_parameter'
/** Refusals of our account (key, credit, permission), of the moment or of the rate, not of the mail. */
const RETRYABLE_STATUSES = new Set([401, 402, 403, 408, 425, 429])
/** Any fixed UUID; it keeps our names apart from those of others. */
const UUID_NAMESPACE = Buffer.from('6f1c5d0e9b7a4c3f8e2d1a0b5c4d3e2f', 'hex')

const errorBodySchema = z.object({ code: z.string(), message: z.string() })

export interface BrevoMailOptions {
  readonly apiKey: string
  /** A sender Brevo has verified. */
  readonly sender: Sender
  readonly baseUrl?: string
  readonly timeoutMs?: number
}

/**
 * Sends through Brevo's transactional e-mail API. Brevo remembers an idempotency key for 30 minutes; a mail whose
 * answer was lost and that is sent again later than that can arrive twice.
 */
export class BrevoMail implements MailPort {
  readonly #options: BrevoMailOptions

  constructor(options: BrevoMailOptions) {
    this.#options = options
  }

  async send(mail: Mail): Promise<void> {
    const { sender, apiKey } = this.#options
    const { subject, text } = compose(mail, sender)
    const response = await this.#post('/v3/smtp/email', apiKey, {
      sender,
      to: [{ email: mail.to }],
      subject,
      textContent: text,
      headers: { idempotencyKey: nameUuid(mailKey(mail)) },
      tags: [mail.template],
    })
    if (response.status < 300) return
    const { code, message } = parseError(response.body)
    if (response.status === 400 && code === ALREADY_SENT_CODE) return
    const problem = `Brevo answered ${response.status} ${code}: ${message}`.slice(0, MESSAGE_LENGTH_MAX)
    if (response.status >= 500 || RETRYABLE_STATUSES.has(response.status)) {
      throw new MailUnavailableError(problem, response.retryAfterMs)
    }
    throw new MailRejectedError(problem)
  }

  async #post(path: string, apiKey: string, body: object) {
    const { baseUrl = BASE_URL, timeoutMs = TIMEOUT_MS } = this.#options
    try {
      const response = await fetch(`${baseUrl}${path}`, {
        method: 'POST',
        headers: { 'api-key': apiKey, 'content-type': 'application/json', accept: 'application/json' },
        body: JSON.stringify(body),
        redirect: 'error',
        signal: AbortSignal.timeout(timeoutMs),
      })
      const resetSeconds = Number(response.headers.get('x-sib-ratelimit-reset') ?? Number.NaN)
      return {
        status: response.status,
        body: await response.text(),
        retryAfterMs: response.status === 429 && resetSeconds >= 0 ? resetSeconds * 1000 : undefined,
      }
    } catch (error) {
      throw new MailUnavailableError(`Brevo was not reached: ${error instanceof Error ? error.message : error}`)
    }
  }
}

function parseError(body: string): { code: string; message: string } {
  try {
    return errorBodySchema.parse(JSON.parse(body))
  } catch {
    return { code: 'unknown', message: 'no readable error' }
  }
}

/** The same UUID (version 5) for the same name, because Brevo takes only UUIDs as keys. */
function nameUuid(name: string): string {
  const bytes = createHash('sha1').update(UUID_NAMESPACE).update(name).digest().subarray(0, 16)
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x50, 6)
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8)
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
