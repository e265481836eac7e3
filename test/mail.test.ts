import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { BrevoMail } from '../gateway/mail/brevo-mail.js'
import { FileMail } from '../gateway/mail/file-mail.js'
import { type Mail, MailRejectedError, MailUnavailableError } from '../gateway/mail/mail.js'
import { compose } from '../gateway/mail/templates.js'

const START_MS = Date.UTC(2026, 0, 1)
const sender = { name: 'BlakJaks', email: 'hello@blakjaks.example' }
const verify: Mail = {
  to: 'jo@example.com',
  template: 'verify-email',
  data: { code: '7K3M9QXA', expiresInMinutes: 15 },
  id: 'user/42:1',
}

function temporaryDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'mail-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

t.test('every template says what happened', async (t) => {
  const base = { to: 'jo@example.com', id: '1' }
  const mails: [Mail, RegExp, RegExp][] = [
    [verify, /^7K3M9QXA is your BlakJaks verification code$/, /\n7K3M9QXA\n\nIt is good for 15 minutes/],
    [
      { ...base, template: 'reset-password', data: { code: 'AAAA1111', expiresInMinutes: 15 } },
      /^Reset your BlakJaks password$/,
      /AAAA1111/,
    ],
    [
      { ...base, template: 'password-changed', data: { changedAtMs: START_MS } },
      /^Your BlakJaks password was changed$/,
      /2026-01-01 00:00 UTC/,
    ],
    [
      { ...base, template: 'account-locked', data: { failedLogins: 10, unlocksAtMs: START_MS } },
      /^Your BlakJaks account is locked$/,
      /10 failed logins.*2026-01-01 00:00 UTC/,
    ],
    [
      { ...base, template: 'comp-awarded', data: { amount: '$100.00', reason: 'for your 100th scan' } },
      /^You earned a \$100\.00 comp$/,
      /You earned it for your 100th scan\./,
    ],
    [
      { ...base, template: 'comp-paid', data: { amount: '$100.00', address: '0xA1', transactionHash: '0xfe' } },
      /^Your \$100\.00 comp was paid$/,
      /wallet 0xA1\.\n\nTransaction: 0xfe/,
    ],
    [
      { ...base, template: 'payouts-paused', data: { pool: 'member', because: 'discrepancy', pausedAtMs: START_MS } },
      /^Payouts of the pool member are paused$/,
      /since 2026-01-01 00:00 UTC. The reason: discrepancy\./,
    ],
    [
      {
        ...{ ...base, template: 'treasury-discrepancy' as const },
        data: { pool: 'member', height: 7, onChain: '$90.00', ledger: '$100.00', difference: '-$10.00' },
      },
      /^Ledger and chain differ in the pool member$/,
      /At block 7 the wallet holds \$90\.00, the ledger says \$100\.00: -\$10\.00 off/,
    ],
  ]
  for (const [mail, subject, text] of mails) t.match(compose(mail, sender), { subject, text })
})

t.test('a mail file is one readable message with proper headers', async (t) => {
  const directory = temporaryDirectory(t)
  const mail = await FileMail.open({ directory, sender: { ...sender, name: 'Blåk "Jaks" ♠' }, clock: () => START_MS })
  await mail.send(verify)
  const [name] = readdirSync(directory)
  t.equal(name, '20260101T000000.000Z-verify-email-user%2F42%3A1.eml')
  const [head = '', ...body] = readFileSync(join(directory, String(name)), 'utf8').split('\r\n\r\n')
  t.match(head, /^From: =\?utf-8\?B\?[\w+/=]+\?= <hello@blakjaks\.example>\r\nTo: jo@example\.com\r\n/)
  t.match(head, /\r\nDate: Thu, 01 Jan 2026 00:00:00 \+0000\r\n/)
  t.match(head, /\r\nContent-Type: text\/plain; charset=utf-8\r\n/)
  t.match(head, /^[\x20-\x7e\r\n]*$/, 'headers are ASCII')
  const words = [...head.matchAll(/=\?utf-8\?B\?([\w+/=]+)\?=/g)].map((match) =>
    Buffer.from(String(match[1]), 'base64'),
  )
  t.match(Buffer.concat(words).toString(), /^Blåk "Jaks" ♠7K3M9QXA is your Blåk "Jaks" ♠ verification code$/)
  t.match(body.join('\n'), /7K3M9QXA/)
})

t.test('the same mail again is the same file: at once, later, after a restart', async (t) => {
  const directory = temporaryDirectory(t)
  const time = { nowMs: START_MS }
  const open = () => FileMail.open({ directory, sender, clock: () => time.nowMs })
  const mail = await open()
  await Promise.all([mail.send(verify), mail.send(verify)])
  time.nowMs += 60_000
  await mail.send(verify)
  await (await open()).send(verify)
  t.equal(readdirSync(directory).length, 1)
  await mail.send({ ...verify, id: 'user_42_1' })
  await mail.send({ ...verify, id: `${'x'.repeat(400)}1` })
  await mail.send({ ...verify, id: `${'x'.repeat(400)}2` })
  await (await open()).send({ ...verify, id: `${'x'.repeat(400)}2` })
  t.equal(readdirSync(directory).length, 4, 'other ids are other mails, however odd or long')
})

t.test('old mail files make room for new ones', async (t) => {
  const directory = temporaryDirectory(t)
  const time = { nowMs: START_MS }
  const mail = await FileMail.open({ directory, sender, clock: () => time.nowMs++, mailsKeptMax: 2 })
  for (const id of ['1', '2', '3']) await mail.send({ ...verify, id })
  t.match(readdirSync(directory).sort(), [/-2\.eml$/, /-3\.eml$/])
})

t.test('an address that smuggles a header or a second recipient is refused', async (t) => {
  const directory = temporaryDirectory(t)
  const mail = await FileMail.open({ directory, sender, clock: () => START_MS })
  for (const to of ['a@b.c\r\nBcc: x@y.z', 'a@b.c, x@y.z', 'Jo <a@b.c>', 'nobody', '']) {
    await t.rejects(mail.send({ ...verify, to }), MailRejectedError)
  }
  t.same(readdirSync(directory), [])
})

interface Answer {
  readonly status: number
  readonly body?: object
  readonly headers?: Record<string, string>
}

/** A server that speaks Brevo's API: it gives the answers in turn and keeps what it was sent. */
async function startBrevo(t: Test, ...answers: (Answer | 'hang up')[]) {
  const requests: { url: string | undefined; headers: IncomingMessage['headers']; body: unknown }[] = []
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const body: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'))
    requests.push({ url: `${request.method} ${request.url}`, headers: request.headers, body })
    const answer = answers.shift() ?? { status: 500 }
    if (answer === 'hang up') return request.socket.destroy()
    response.writeHead(answer.status, { 'content-type': 'application/json', ...answer.headers })
    response.end(JSON.stringify(answer.body ?? {}))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { requests, brevo: new BrevoMail({ apiKey: 'secret-key', sender, baseUrl }) }
}

t.test('Brevo is asked as its reference says, and a repeat carries the same key', async (t) => {
  const sent = { status: 201, body: { messageId: '<1@smtp-relay.brevo>' } }
  const seenBefore = { status: 400, body: { code: 'duplicate_parameter', message: 'idempotencyKey already used' } }
  const { requests, brevo } = await startBrevo(t, sent, seenBefore, sent)
  await brevo.send(verify)
  await brevo.send(verify)
  await brevo.send({ ...verify, id: 'user/42:2' })
  t.match(requests[0], {
    url: 'POST /v3/smtp/email',
    headers: { 'api-key': 'secret-key', 'content-type': 'application/json' },
    body: {
      sender,
      to: [{ email: 'jo@example.com' }],
      subject: '7K3M9QXA is your BlakJaks verification code',
      textContent: /7K3M9QXA/,
      headers: { idempotencyKey: /^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/ },
    },
  })
  t.same(requests[1]?.body, requests[0]?.body)
  t.notSame(requests[2]?.body, requests[0]?.body)
})

t.test('what Brevo refuses of the mail is final; of the moment or of our account, not', async (t) => {
  const invalid = { code: 'invalid_parameter', message: 'email is not valid in to' }
  const { brevo } = await startBrevo(
    t,
    { status: 400, body: invalid },
    { status: 429, body: { code: 'too_many_requests', message: 'slow' }, headers: { 'x-sib-ratelimit-reset': '45' } },
    { status: 503 },
    { status: 401, body: { code: 'unauthorized', message: 'Key not found' } },
    { status: 402, body: { code: 'not_enough_credits', message: 'Buy credits' } },
    'hang up',
    { status: 302, headers: { location: 'http://127.0.0.1:1/' } },
  )
  await t.rejects(
    brevo.send(verify),
    new MailRejectedError('Brevo answered 400 invalid_parameter: email is not valid in to'),
  )
  await t.rejects(brevo.send(verify), { name: 'MailUnavailableError', retryAfterMs: 45_000 })
  for (const _ of ['503', '401', '402', 'hang up', 'redirect'])
    await t.rejects(brevo.send(verify), MailUnavailableError)
})

t.test('a Brevo that does not answer is given up on, to be tried again', async (t) => {
  const server = createServer(() => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const brevo = new BrevoMail({ apiKey: 'secret-key', sender, baseUrl, timeoutMs: 50 })
  await t.rejects(brevo.send(verify), MailUnavailableError)
})
