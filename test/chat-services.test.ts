/**
 * Services of others that chat leans on, each against a local server that speaks its API: what we ask, what becomes of
 * us when they are slow, broken, or tell nonsense, and that nothing is asked twice (R1, R2, H1–H4).
 */
import t, { type Test } from 'tap'
import { moderationBatcher, OpenAiModerator } from '../gateway/drivers/moderation.js'
import { ServiceError } from '../gateway/drivers/outside-service.js'
import { GoogleTranslator, type Translator } from '../gateway/drivers/translation.js'
import { defaultTranslationLimits, TranslationCache } from '../gateway/drivers/translation-cache.js'
import {
  type Fault,
  googleKey,
  googleRefusal,
  openAiKey,
  recordingLog,
  startGoogle,
  startOpenAi,
  TestTime,
} from './support/third-party.js'

const HOUR_MS = 3_600_000

async function openAi(t: Test, ...faults: Fault[]) {
  const service = await startOpenAi(t, ...faults)
  const time = new TestTime()
  const { log, lines } = recordingLog()
  const options = { apiKey: openAiKey, baseUrl: service.baseUrl, environment: time, log }
  return { service, time, lines, options, moderator: new OpenAiModerator(options) }
}

async function google(t: Test, ...faults: Fault[]) {
  const service = await startGoogle(t, ...faults)
  const time = new TestTime()
  const { log, lines } = recordingLog()
  const options = { apiKey: googleKey, baseUrl: service.baseUrl, environment: time, log }
  const translator = new GoogleTranslator(options)
  return { service, time, lines, options, translator, cache: new TranslationCache(translator, time) }
}

t.test('OpenAI is asked as its reference says, and each text gets its own verdict', async (t) => {
  const { service, moderator } = await openAi(t)
  t.strictSame(await moderator.review(['Good luck!', 'I will kill you', 'hola']), [
    { flagged: false, scores: {} },
    { flagged: true, scores: { violence: 0.96 } },
    { flagged: false, scores: {} },
  ])
  t.match(service.received, [
    {
      target: 'POST /moderations',
      headers: { authorization: 'Bearer sk-test', 'content-type': 'application/json' },
      body: { model: 'omni-moderation-latest', input: ['Good luck!', 'I will kill you', 'hola'] },
    },
  ])
})

t.test('one text that says nothing or is half a character does not spoil the review of the others', async (t) => {
  const { service, moderator } = await openAi(t)
  const verdicts = await moderator.review(['', 'kill \ud83d', ' \n', '👍 kill'])
  t.strictSame(
    verdicts.map(({ flagged }) => flagged),
    [false, true, false, true],
  )
  t.match(service.received, [{ body: { input: ['kill \ufffd', '👍 kill'] } }])
  t.strictSame(await moderator.review(['', ' ']), [verdicts[0], verdicts[0]])
  t.equal(service.received.length, 1, 'nothing to say, nothing to ask')
})

t.test('a service that is busy or broken is asked again, ever later, and no earlier than it says', async (t) => {
  const busy = { status: 429, body: { error: { message: 'Slow down', type: 'requests', code: 'rate_limit_exceeded' } } }
  const late = { ...busy, headers: { 'retry-after': '7' } }
  const { service, time, moderator, lines } = await openAi(t, busy, late, { status: 503 })
  const verdicts = moderator.review(['kill'])
  t.strictSame([await time.ring(), await time.ring(), await time.ring()], [500, 7_000, 2_000])
  t.match(await verdicts, [{ flagged: true }])
  t.equal(service.received.length, 4)
  t.same(lines, [], 'what passed by itself is not worth a line')

  time.pass(500) // dates have whole seconds
  const inFive = new Date(time.now() + 5_000).toUTCString()
  service.faults.push({ ...busy, headers: { 'retry-after': inFive } }, { ...busy, headers: { 'retry-after': 'soon' } })
  const later = moderator.review(['kill'])
  t.strictSame([await time.ring(), await time.ring()], [5_000, 1_000], 'a date is understood, nonsense is not obeyed')
  t.match(await later, [{ flagged: true }])
})

t.test('a service that stays broken is given up on: limited attempts, one line a minute', async (t) => {
  const { service, time, moderator, lines } = await openAi(t)
  const failing = async () => {
    service.faults.push(...Array<Fault>(4).fill({ status: 500 }))
    const outcome = t.rejects(moderator.review(['hi']), { name: 'ServiceError', isTemporary: true })
    t.strictSame([await time.ring(), await time.ring(), await time.ring()], [500, 1_000, 2_000])
    await outcome
  }
  await failing()
  await failing()
  t.equal(service.received.length, 8)
  t.match(lines, [{ msg: 'OpenAI does not do what it is asked', err: { message: /answered 500/ } }])
  t.equal(lines.length, 1)
  time.pass(60_000)
  await failing()
  t.equal(lines.length, 2)
})

t.test('what waiting does not mend is not asked again: keys, quotas, waits that are too long', async (t) => {
  const quota = { error: { message: 'Check your plan', type: 'insufficient_quota', code: 'insufficient_quota' } }
  const { service, moderator, options, time } = await openAi(t, { status: 429, body: quota })
  await t.rejects(
    moderator.review(['hi']),
    new ServiceError('OpenAI answered 429: insufficient_quota: Check your plan', false),
  )
  const stranger = new OpenAiModerator({ ...options, apiKey: 'sk-other' })
  await t.rejects(
    stranger.review(['hi']),
    new ServiceError('OpenAI answered 401: invalid_api_key: Incorrect API key', false),
  )
  service.faults.push({ status: 429, headers: { 'retry-after': '3600' } })
  await t.rejects(moderator.review(['hi']), { name: 'ServiceError', isTemporary: true, retryAfterMs: HOUR_MS })
  t.equal(service.received.length, 3)
  t.equal(time.timers, 0)
})

t.test('cut off, garbled, too few, elsewhere: never taken for an answer, and soon forgotten', async (t) => {
  const few = { results: [{ flagged: true, categories: {}, category_scores: {} }] }
  const faults: [string, Fault, RegExp][] = [
    ['half an answer', 'half an answer', /not reached: terminated/],
    ['hanging up', 'hang up', /not reached: fetch failed: /],
    ['no JSON', { raw: '<html>Bad gateway</html>' }, /unreadable answer/],
    ['other JSON', { status: 200, body: { ok: true } }, /unreadable answer/],
    ['fewer results than texts', { status: 200, body: few }, /not one result for each text/],
    ['a redirect', { status: 307, headers: { location: 'http://127.0.0.1:1/' } }, /not reached: .*redirect/],
  ]
  const { service, time, moderator } = await openAi(t)
  for (const [what, fault, message] of faults) {
    service.faults.push(...Array<Fault>(4).fill(fault))
    const outcome = t.rejects(moderator.review(['one', 'two']), { isTemporary: true, message }, what)
    for (const _ of [1, 2, 3]) await time.ring()
    await outcome
    service.faults.push(fault)
    const verdicts = moderator.review(['one', 'kill two'])
    await time.ring()
    t.match(await verdicts, [{ flagged: false }, { flagged: true }], `${what}, then well again`)
  }
})

t.test('silence, also in the middle of an answer, does not last for ever', async (t) => {
  for (const fault of ['silence', 'half an answer, then silence'] as const) {
    const { service, time, moderator, options } = await openAi(t, ...Array<Fault>(4).fill(fault))
    const impatient = new OpenAiModerator({ ...options, timeoutMs: 50 })
    const outcome = t.rejects(impatient.review(['hi']), { isTemporary: true, message: /not reached: .*timeout/ })
    for (const _ of [1, 2, 3]) await time.ring()
    await outcome
    service.faults.length = 0
    t.match(await moderator.review(['kill']), [{ flagged: true }])
  }
})

t.test('an answer without end is not read to its end', async (t) => {
  const { service, time, moderator } = await openAi(t)
  service.faults.push(...Array<Fault>(4).fill({ raw: ' '.repeat(2 * 1024 * 1024) }))
  const outcome = t.rejects(moderator.review(['hi']), { message: /larger than 1048576 bytes/ })
  for (const _ of [1, 2, 3]) await time.ring()
  await outcome
})

t.test('messages of a moment are reviewed in one call, more than fit in several, two at a time', async (t) => {
  const { service, time, moderator } = await openAi(t)
  const batcher = moderationBatcher(moderator, time)
  const alone = batcher.add('kill')
  t.equal(service.received.length, 0)
  time.pass(50)
  t.match(await alone, { flagged: true })
  const reviews = Promise.all(Array.from({ length: 100 }, (_, i) => batcher.add(i % 2 ? 'kill' : 'kiss')))
  t.match(batcher.gauges(), { waiting: 36, calls_in_flight: 2, calls_in_flight_max: 2, waiting_max: 5_000 })
  t.equal(await time.ring(), 50, 'what is left waits for company')
  t.strictSame(
    (await reviews).map(({ flagged }) => flagged),
    Array.from({ length: 100 }, (_, i) => i % 2 === 1),
  )
  t.match(
    service.received.map(({ body }) => (body as { input: string[] }).input.length),
    [1, 32, 32, 32, 4],
  )
})

t.test('Google is asked as its reference says', async (t) => {
  const { service, translator } = await google(t)
  t.strictSame(await translator.translate(['hola', '', 'adiós \udc00'], 'en'), [
    { text: 'en: hola', sourceLanguage: 'es' },
    { text: '', sourceLanguage: 'und' },
    { text: 'en: adiós \ufffd', sourceLanguage: 'es' },
  ])
  t.match(service.received, [
    {
      target: 'POST /language/translate/v2',
      headers: { 'x-goog-api-key': googleKey },
      body: { q: ['hola', 'adiós \ufffd'], target: 'en', format: 'text' },
    },
  ])
})

t.test('of Google’s quotas that of a minute passes, that of a day does not; nor does a wrong language', async (t) => {
  const perMinute = googleRefusal(403, 'User Rate Limit Exceeded', 'userRateLimitExceeded')
  const { service, time, translator } = await google(t, perMinute)
  const translated = translator.translate(['hola'], 'en')
  t.equal(await time.ring(), 500)
  t.match(await translated, [{ text: 'en: hola' }])
  service.faults.push(googleRefusal(403, 'Daily Limit Exceeded', 'dailyLimitExceeded'))
  await t.rejects(translator.translate(['hola'], 'en'), { isTemporary: false, message: /403: Daily Limit/ })
  await t.rejects(translator.translate(['hola'], 'xx'), { isTemporary: false, message: /400: Invalid Value/ })
  const count = service.received.length
  service.faults.push({ status: 200, body: { data: { translations: [{ translatedText: 'one' }] } } }, { status: 500 })
  const mended = translator.translate(['uno', 'dos'], 'en')
  t.strictSame([await time.ring(), await time.ring()], [500, 1_000], 'fewer translations than texts are none')
  t.strictSame([(await mended).length, service.received.length - count], [2, 3])
})

const message = (id: string, version = 0) => ({ id, version, text: `hola ${id}.${version}` })

t.test('many messages for many readers are one call a language, and no reader has another’s words', async (t) => {
  const { service, time, cache } = await google(t)
  const asked = ['en', 'pt', 'en'].flatMap((language) =>
    Array.from({ length: 40 }, (_, i) => ({ language, text: message(`m${i}`).text, id: `m${i}` })),
  )
  const answers = Promise.all(asked.map(({ id, language }) => cache.translate(message(id), language)))
  time.pass(20)
  t.strictSame(
    (await answers).map(({ text }) => text),
    asked.map(({ language, text }) => `${language}: ${text}`),
  )
  t.match(
    service.received.map(({ body }) => body),
    [
      { target: 'en', q: { length: 40 } },
      { target: 'pt', q: { length: 40 } },
    ],
  )
  t.equal(service.received.length, 2)
  await Promise.all(asked.map(({ id, language }) => cache.translate(message(id), language)))
  t.equal(service.received.length, 2, 'known by now')
  t.match(cache.gauges(), { entries: 80, waiting: 0, calls: 2, failed_calls: 0 })
})

t.test('who asks while the call is under way shares it; an edit is another message', async (t) => {
  const answers: ((texts: readonly string[]) => void)[] = []
  const calls: (readonly string[])[] = []
  const translator: Translator = {
    translate: (texts) => {
      calls.push(texts)
      return new Promise((resolve) => {
        answers.push((words) => resolve(words.map((text) => ({ text, sourceLanguage: 'es' }))))
      })
    },
  }
  const time = new TestTime()
  const cache = new TranslationCache(translator, time)
  const first = cache.translate(message('a'), 'en')
  time.pass(20)
  const second = cache.translate(message('a'), 'en')
  const edited = cache.translate(message('a', 1), 'en')
  time.pass(20)
  t.strictSame(calls, [['hola a.0'], ['hola a.1']])
  answers[1]?.(['edited'])
  t.equal((await edited).text, 'edited')
  answers[0]?.(['original'])
  t.strictSame([(await first).text, (await second).text], ['original', 'original'])
  t.equal((await cache.translate(message('a', 1), 'en')).text, 'edited')
  t.equal(calls.length, 2)
})

t.test('a failed call is not remembered, and says nothing of the service', async (t) => {
  const { service, time, cache, lines } = await google(t, googleRefusal(403, 'Secret reason', 'forbidden'))
  const failing = [cache.translate(message('a'), 'en'), cache.translate(message('b'), 'en')]
  const outcomes = Promise.allSettled(failing)
  time.pass(20)
  const [failed] = await outcomes
  t.match(failed, {
    reason: { code: 'translation_unavailable', kind: 'unavailable', cause: { message: /Secret reason/ } },
  })
  t.notMatch((failed as PromiseRejectedResult).reason.message, /Secret/)
  t.equal(lines.length, 1)
  const again = cache.translate(message('a'), 'en')
  time.pass(20)
  t.match(await again, { text: 'en: hola a.0' })
  t.match(
    service.received.map(({ body }) => body),
    [{ q: ['hola a.0', 'hola b.0'] }, { q: ['hola a.0'] }],
  )
})

t.test('translations remembered are limited by number and by size; the oldest is forgotten', async (t) => {
  const { service, time, translator } = await google(t)
  const limits = { ...defaultTranslationLimits, entriesMax: 2, charactersMax: 100 }
  const cache = new TranslationCache(translator, time, limits)
  const read = async (id: string, text = 'hola') => {
    const reading = cache.translate({ id, version: 0, text }, 'en')
    time.pass(20)
    await reading
  }
  for (const id of ['a', 'b', 'c', 'c', 'b']) await read(id)
  t.equal(service.received.length, 3)
  await read('a')
  t.equal(service.received.length, 4, 'forgotten')
  await read('long', 'x'.repeat(80))
  t.match(cache.gauges(), { entries: 2, entries_max: 2, characters_max: 100 })
  await read('longer', 'x'.repeat(60))
  t.equal(cache.gauges().entries, 1)
})
