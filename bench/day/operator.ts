/** What administrators do in a day: fund the prizes, raise those who talk, run the live event; and members who won. */
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts'

export const administrator = { email: 'bench@example.com', password: 'Comptroller!2026', device: 'desktop' }
/** Members of it may write without a pause. */
const TALKERS_TIER = 'high_roller'
/** More than a day can win. */
const FUNDS = '10000000'
const EVENTS = '/v1/admin/streaming/events'

type Told = Readonly<Record<string, unknown>>

async function request(url: string, method: string, path: string, body: object | null, token: string): Promise<Told> {
  const headers = { 'content-type': 'application/json', ...(token === '' ? {} : { authorization: `Bearer ${token}` }) }
  const sent = body === null ? {} : { body: JSON.stringify(body) }
  const response = await fetch(new URL(path, url), { method, headers, ...sent })
  const text = await response.text()
  if (!response.ok) throw new Error(`${method} ${path} was answered ${response.status}: ${text}`)
  return JSON.parse(text)
}

export class Operator {
  #last: Promise<unknown> = Promise.resolve()

  constructor(readonly url: string) {}

  async fundPrizes(): Promise<void> {
    await this.#ask('POST', '/v1/admin/treasury/fund', { pool: 'member', amount: FUNDS, reference: 'bench:day' })
  }

  async raise(userIds: readonly string[]): Promise<void> {
    for (const userId of userIds) await this.#ask('PUT', `/v1/admin/users/${userId}`, { tier: TALKERS_TIER })
  }

  /** Schedules the evening's event; returns its id. */
  async scheduleEvent(): Promise<string> {
    return String((await this.#ask('POST', EVENTS, { title: 'The evening draw', host_name: 'Bench' })).id)
  }

  async startEvent(id: string): Promise<void> {
    await this.#ask('POST', `${EVENTS}/${id}/start`, null)
  }

  /** An announcement that says when it was made. */
  async announce(id: string): Promise<void> {
    const body = () => ({ text: `Announcement, due ${(performance.timeOrigin + performance.now()).toFixed(3)}` })
    await this.#ask('POST', `${EVENTS}/${id}/overlay`, body)
  }

  async endEvent(id: string): Promise<void> {
    await this.#ask('POST', `${EVENTS}/${id}/stop`, null)
  }

  /** One after the other, each with a new login: the last token may be as old as the day, and a login ends the last session. */
  #ask(method: string, path: string, body: object | (() => object) | null): Promise<Told> {
    const asked = this.#last.then(async () => {
      const { access_token: token } = await request(this.url, 'POST', '/v1/auth/login', administrator, '')
      return request(this.url, method, path, typeof body === 'function' ? body() : body, String(token))
    })
    this.#last = asked.catch(() => {})
    return asked
  }
}

/** A member proves a new wallet, to be paid into. */
export async function claimWallet(url: string, token: string): Promise<void> {
  const key = privateKeyToAccount(generatePrivateKey())
  const { address } = key
  const challenge = await request(url, 'GET', `/v1/users/me/wallet/challenge?address=${address}`, null, token)
  const signature = await key.signMessage({ message: String(challenge.message) })
  await request(url, 'PUT', '/v1/users/me/wallet', { address, nonce: challenge.nonce, signature }, token)
}
