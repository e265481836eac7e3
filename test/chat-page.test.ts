// Hunts, in real browsers against the whole server: a page that shows something else than another page after it was away,
// text that becomes markup, a message that is sent twice or lost, a page that does not say what is wrong.
import type { Page } from 'playwright-core'
import t from 'tap'
import { ChatClient } from '../gateway/client/chat-client.js'
import { findChromium, launchChromium, openPage } from './support/browser.js'
import { logInAdmin, type Member, PASSWORD, signUp, type Told } from './support/members.js'
import { adminAccount, Deployment, until } from './support/server.js'
import { googleKey, startGoogle } from './support/third-party.js'

t.setTimeout(120_000)
const executable = findChromium()
const site = await Deployment.create(t)
const google = await startGoogle(t)
const translating = { GOOGLE_TRANSLATE_API_KEY: googleKey, GOOGLE_TRANSLATE_BASE_URL: google.baseUrl }
await site.start({ env: { PAYOUTS: 'off', EMOTES: 'off', ...translating } })
const admin = await logInAdmin(site)
const ann = await signUp(site, 'ann')
const ben = await signUp(site, 'ben')
for (const { user } of [ann, ben]) await admin.put(`/v1/admin/users/${user.id}`, { tier: 'high_roller' })

async function logIn(page: Page, { account }: Pick<Member, 'account'>): Promise<void> {
  await page.fill('#email', account.email)
  await page.fill('#password', account.password)
  await page.press('#password', 'Enter')
  await page.waitForSelector('#state[data-state=live]')
}

async function say(page: Page, text: string): Promise<void> {
  await page.fill('#text', text)
  await page.press('#text', 'Enter')
}

/** One of the rarer things that can be done with a message. */
async function doMore(page: Page, text: string, name: string): Promise<void> {
  const row = rowWith(page, text)
  await row.hover()
  await row.getByRole('button', { name: 'More' }).click()
  await row.locator('.more').getByRole('button', { name }).click()
}

const rowWith = (page: Page, text: string) => page.locator('.message', { hasText: text }).last()

/** What a reader sees: each message, as its text and its reactions. */
const shownOn = (page: Page): Promise<string[]> =>
  page
    .locator('.message')
    .evaluateAll((rows) =>
      rows.map((row) =>
        [
          row.getAttribute('data-id'),
          ...[...row.querySelectorAll('.text, .chip')].map((part) => part.textContent),
        ].join(' | '),
      ),
    )

/** A member in this process, in a channel that is live. */
async function inChannel(member: Member, id: string) {
  const client = new ChatClient({ url: site.url, token: () => member.token })
  t.teardown(async () => client.disconnect())
  const channel = client.join(id)
  await until('the channel is live', () => channel.status === 'live')
  return channel
}

t.test('X1 what is older is read page by page, as it is now', async (t) => {
  const channel = await inChannel(ann, 'crypto')
  for (let n = 1; n <= 120; n++) await channel.send({ text: `price ${n}` })
  const reader = await inChannel(ben, 'crypto')
  t.equal(reader.messages.length, 50)
  const third = channel.messages[2]
  const loading = reader.loadOlder()
  await channel.edit(third?.id ?? '', 'price 3, corrected')
  await channel.remove(channel.messages[79]?.id ?? '')
  await loading
  while (reader.hasOlder) await reader.loadOlder()
  await until('all of it is here', () => reader.position?.offset === channel.position?.offset)
  t.same(reader.messages, channel.messages)
  t.equal(reader.messages.length, 119)
  t.equal(reader.messages[2]?.text, 'price 3, corrected')
  await reader.markRead()
  t.equal(reader.unread, 0)
})

t.test('BJ-CHAT-21 what was written too fast while away is sent when it may be, once and in order', async (t) => {
  const cat = await signUp(site, 'cat')
  const others = await inChannel(ann, 'feedback')
  const client = new ChatClient({ url: site.url, token: () => cat.token })
  t.teardown(async () => client.disconnect())
  const channel = client.join('feedback')
  await Promise.all([channel.send({ text: 'first' }), channel.send({ text: 'second' })])
  await until('both are there', () => others.messages.length === 2)
  t.same(
    others.messages.map(({ text }) => text),
    ['first', 'second'],
  )
})

t.test(
  'two browsers talk to each other',
  { skip: executable === undefined && 'there is no Chromium here' },
  async (t) => {
    const browser = await launchChromium(t, executable ?? '')
    const [a, b] = await Promise.all([openPage(browser, `${site.url}/chat`), openPage(browser, `${site.url}/chat`)])
    await a.page.fill('#email', ann.account.email)
    await a.page.fill('#password', 'not this one')
    await a.page.click('#log-in')
    await a.page.waitForFunction(() => document.getElementById('login-trouble')?.textContent !== '')
    t.match(await a.page.textContent('#login-trouble'), /password/i)
    await Promise.all([logIn(a.page, ann), logIn(b.page, ben)])
    t.match(await a.page.locator('#channels .channel').allTextContents(), [/Announcements/, /General/])

    await t.test('text is text, whatever it looks like', async (t) => {
      const attack = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script> javascript:alert(1) "\'>'
      await say(a.page, attack)
      const text = rowWith(b.page, 'onerror').locator('.text')
      await text.waitFor()
      t.equal(await text.textContent(), attack)
      t.equal(await text.locator('*').count(), 0)
      t.equal(await b.page.evaluate(() => 'hurt' in window), false)
      await say(b.page, 'see https://example.com/a?b=1. @ann')
      const link = rowWith(a.page, 'see https').locator('a')
      t.equal(await link.getAttribute('href'), 'https://example.com/a?b=1')
      t.match(await link.getAttribute('rel'), 'noopener')
      t.equal(await rowWith(a.page, 'see https').locator('.mention.me').textContent(), '@ann')
    })

    await t.test('reactions, replies, edits and deletions are there for both', async (t) => {
      await say(a.page, 'who comes tonight?')
      await rowWith(b.page, 'tonight').hover()
      await rowWith(b.page, 'tonight').getByRole('button', { name: 'React with 🎉' }).click()
      await rowWith(a.page, 'tonight').getByRole('button', { name: '🎉 1' }).waitFor()
      await rowWith(b.page, 'tonight').getByRole('button', { name: '🎉 1, yours too' }).waitFor()
      await rowWith(b.page, 'tonight').getByRole('button', { name: 'Reply' }).click()
      await say(b.page, 'I do')
      await rowWith(a.page, 'I do').locator('.quote', { hasText: 'who comes tonight?' }).waitFor()
      await b.page.press('#text', 'ArrowUp')
      t.equal(await b.page.inputValue('#text'), 'I do', 'the last message of mine is edited')
      await say(b.page, 'I do not')
      await rowWith(a.page, 'I do not').locator('.edited').waitFor()
      await rowWith(b.page, 'I do not').hover()
      await rowWith(b.page, 'I do not').getByRole('button', { name: 'Delete' }).click()
      await rowWith(b.page, 'I do not').getByRole('button', { name: 'Really?' }).click()
      for (const { page } of [a, b]) await rowWith(page, 'I do not').waitFor({ state: 'detached' })
      t.same(await shownOn(a.page), await shownOn(b.page))
    })

    await t.test('reactions of ours are marked after a reload; those from elsewhere at once', async (t) => {
      await say(a.page, 'who is who?')
      await rowWith(b.page, 'who is who').hover()
      await rowWith(b.page, 'who is who').getByRole('button', { name: 'React with 😮' }).click()
      const marked = rowWith(b.page, 'who is who').getByRole('button', { name: '😮 1, yours too' })
      await marked.waitFor()
      await b.page.reload()
      await logIn(b.page, ben)
      await marked.waitFor()
      t.equal(await rowWith(b.page, 'who is who').locator('.emoji[aria-pressed=true]').textContent(), '😮')
      const channel = await inChannel(ben, 'general')
      const asked = channel.messages.find(({ text }) => text === 'who is who?')
      await channel.react(asked?.id ?? '', '👍')
      await rowWith(b.page, 'who is who').getByRole('button', { name: '👍 1, yours too' }).waitFor()
      await rowWith(a.page, 'who is who').getByRole('button', { name: '👍 1', exact: true }).waitFor()
      t.equal(await rowWith(a.page, 'who is who').locator('.avatar').textContent(), 'A')
    })

    await t.test('BJ-CHAT-06, 07 a message is translated for who asks, and reported with a reason', async (t) => {
      await say(a.page, 'hola, buenos dias')
      await doMore(b.page, 'hola', 'Translate')
      const translated = rowWith(b.page, 'hola').locator('.translation')
      await translated.waitFor()
      t.equal(await translated.textContent(), 'en: hola, buenos diasTranslated from Spanish')
      t.equal(await rowWith(a.page, 'hola').locator('.translation').count(), 0)
      await doMore(b.page, 'hola', 'Show the original')
      await translated.waitFor({ state: 'detached' })
      await doMore(b.page, 'hola', 'Report…')
      await b.page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click()
      await doMore(b.page, 'hola', 'Report…')
      await b.page.getByRole('dialog').getByLabel('Why').fill('I do not like <b>it</b>')
      await b.page.getByRole('dialog').getByRole('button', { name: 'Report' }).click()
      await b.page.locator('#banner', { hasText: 'A moderator will look at it' }).waitFor()
      const queue = await until('it waits', async () => {
        const reports: Told[] = (await admin.get('/v1/admin/social/queue')).body.reports
        return reports.length > 0 ? reports : null
      })
      t.match(queue, [{ because: 'I do not like <b>it</b>', reported_by: ben.user.id }])
      t.equal(queue.length, 1)
    })

    await t.test('X1 a browser that was offline shows what the other shows', async (t) => {
      const channel = await inChannel(ann, 'general')
      await b.page.context().setOffline(true)
      await b.page.waitForSelector('#banner[data-kind=away]')
      await say(b.page, 'written offline')
      await rowWith(b.page, 'written offline').getByText('Waits for the connection').waitFor()
      for (let n = 1; n <= 30; n++) await channel.send({ text: `while away ${n}` })
      await until('they are here', () => channel.pending.length === 0)
      const [first, second, third, ...others] = channel.messages
      await channel.edit(first?.id ?? '', 'edited while away')
      await channel.react(second?.id ?? '', '👍')
      await channel.react(third?.id ?? '', '😮')
      for (const message of others.filter(({ number }) => number % 5 === 0)) {
        if (message.user?.id === ann.user.id) await channel.remove(message.id)
      }
      await b.page.context().setOffline(false)
      await b.page.locator('#banner', { hasText: 'missed' }).waitFor()
      await rowWith(a.page, 'written offline').waitFor()
      await until('both show the same', async () => String(await shownOn(a.page)) === String(await shownOn(b.page)))
      const shown = await shownOn(b.page)
      t.equal(shown.filter((row) => row.includes('written offline')).length, 1)
      t.equal(shown.length, channel.messages.length)
      t.equal(new Set(shown).size, shown.length)
      t.equal(await b.page.locator('.pending').count(), 0)
    })

    await t.test('who reads what is older stays where they are, whatever happens meanwhile', async (t) => {
      const channel = await inChannel(ann, 'crypto')
      await b.page.locator('[data-channel=crypto]').click()
      await rowWith(b.page, 'price 120').waitFor()
      while ((await b.page.locator('.message').count()) < 119) {
        await b.page.locator('#log').evaluate((log) => {
          log.scrollTop = 0
        })
      }
      const row = rowWith(b.page, 'price 60')
      await row.evaluate((element) => element.scrollIntoView({ block: 'start' }))
      const before = await row.boundingBox()
      const id = (await row.getAttribute('data-id')) ?? ''
      await channel.react(id, '👍')
      await channel.send({ text: 'price 121' })
      await rowWith(b.page, 'price 121').waitFor()
      await row.locator('.chip').waitFor()
      t.equal((await row.boundingBox())?.y, before?.y)
      await b.page.click('#to-end')
      t.equal(await rowWith(b.page, 'price 121').isVisible(), true)
      await b.page.locator('[data-channel=general]').click()
    })

    await t.test('one can do without a mouse; what is too long is not sent', async (t) => {
      await a.page.focus('#log')
      await a.page.keyboard.press('ArrowUp')
      t.equal(await a.page.evaluate(() => document.activeElement?.className.split(' ')[0]), 'message')
      t.match(await a.page.getAttribute('#log', 'role'), 'log')
      await a.page.fill('#text', 'x'.repeat(2_001))
      t.equal(await a.page.textContent('#counter'), '2,001 / 2,000')
      t.equal(await a.page.isDisabled('#send'), true)
      await a.page.fill('#text', '')
      await a.page.locator('[data-channel=announcements]').click()
      await a.page.waitForFunction(() => document.getElementById('text')?.hasAttribute('disabled'))
      t.equal(await a.page.getAttribute('#text', 'placeholder'), 'Only moderators write here.')
    })

    await t.test('BJ-MOD-02, 03, 05 a moderator pins, takes away and times out', async (t) => {
      const channel = await inChannel(ben, 'general')
      await channel.send({ text: 'a rule worth a pin' })
      await channel.send({ text: 'a word too much' })
      const boss = await openPage(browser, `${site.url}/chat`)
      await logIn(boss.page, { account: adminAccount })
      await doMore(boss.page, 'worth a pin', 'Pin')
      await b.page.locator('#pins-toggle', { hasText: '1' }).waitFor()
      await doMore(boss.page, 'a word too much', 'Delete')
      t.equal(await rowWith(b.page, 'a word too much').count(), 1, 'asked once more')
      await rowWith(boss.page, 'a word too much').getByRole('button', { name: 'Really?' }).click()
      await rowWith(b.page, 'a word too much').waitFor({ state: 'detached' })
      await doMore(boss.page, 'worth a pin', 'Time out…')
      await boss.page.getByRole('dialog').getByLabel('For how long').selectOption('24h')
      await boss.page.getByRole('dialog').getByLabel('Why').fill('words')
      await boss.page.getByRole('dialog').getByRole('button', { name: 'Time out' }).click()
      await b.page.locator('#notice', { hasText: /timed you out.*Reason: words/ }).waitFor()
      await doMore(boss.page, 'worth a pin', 'Unpin')
      await b.page.locator('#pins-toggle').waitFor({ state: 'hidden' })
      t.equal(await rowWith(b.page, 'worth a pin').getByRole('button', { name: 'More' }).count(), 0, 'ours')
      t.same(boss.troubles, [])
    })

    await t.test('who logs in elsewhere is told so', async (t) => {
      const { email } = ben.account
      await ben.post('/v1/auth/login', { email, password: PASSWORD, device: 'desktop' })
      await b.page.waitForSelector('#login:not([hidden])')
      t.equal(await b.page.textContent('#login-trouble'), 'You logged in somewhere else.')
    })

    const ours = [...a.troubles, ...b.troubles].filter((text) => !/net::ERR|status of 401/.test(text))
    t.same(ours, [], 'no error on either page')
  },
)

t.test('pictures come from where they may, and nothing else from anywhere', async (t) => {
  const policyOf = async (path: string) => (await fetch(site.url + path)).headers.get('content-security-policy') ?? ''
  const chat = await policyOf('/chat/')
  t.match(chat, 'https://giphy.com https://*.giphy.com')
  t.match(chat, "default-src 'none'; script-src 'self'; style-src 'self'")
  t.notMatch(await policyOf('/'), 'giphy')
  t.match(await (await fetch(`${site.url}/`)).text(), 'href="/chat"')
})
