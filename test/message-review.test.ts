// Hunts: a message that is never reviewed because the service was away or there were too many, one that is judged twice,
// a good text that is taken away for what it was before its edit, a queue without end (V1–V4).
import { setImmediate } from 'node:timers'
import t from 'tap'
import type { Message } from '../actors/chat/facts.js'
import { type Judgement, MessageReview, reviewLimits } from '../gateway/drivers/message-review.js'
import type { Verdict } from '../gateway/drivers/moderation.js'
import { ServiceError } from '../gateway/drivers/outside-service.js'
import {
  defaultTranslationLimits,
  TranslationCache,
  type TranslationStore,
} from '../gateway/drivers/translation-cache.js'
import { recordingLog, TestTime } from './support/third-party.js'

const author = { userId: 'u1', username: 'ann', tier: 'standard', isAdmin: false } as const
const clean: Verdict = { flagged: false, scores: {} }

function message(messageId: string, text: string, more: Partial<Message> = {}): Message {
  return {
    ...{ messageId, channelId: 'general', number: 1, author, text, language: null, replyTo: null, mentions: [] },
    ...{ media: { type: 'none', url: null, code: null }, clientId: null, postedAt: 1, editedAt: null, deletedAt: null },
    ...{ status: 'approved', reactions: {}, isPinned: false },
    ...more,
  }
}

/** A review whose service answers as told, and a chat that notes what it is told. */
function startReview(judgeFails = 0) {
  const time = new TestTime()
  const { log, lines } = recordingLog()
  const asked: (readonly string[])[] = []
  const judged: Judgement[] = []
  const messages = new Map<string, Message>()
  const service = { isUp: true }
  let failing = judgeFails
  const review = new MessageReview({
    moderator: {
      review: async (texts) => {
        asked.push(texts)
        if (!service.isUp) throw new ServiceError('away', true)
        return texts.map((text): Verdict => {
          if (/worst/.test(text)) return { flagged: true, scores: { 'hate/threatening': 0.97, hate: 0.4 } }
          return /bad/.test(text) ? { flagged: true, scores: { hate: 0.95 } } : clean
        })
      },
    },
    chat: {
      message: async (messageId) => messages.get(messageId) ?? null,
      judge: async (judgement) => {
        failing -= 1
        if (failing >= 0) throw new Error('the shard is overloaded')
        judged.push(judgement)
      },
    },
    environment: time,
    log,
  })
  const say = (messageId: string, text: string, more: Partial<Message> = {}) => {
    const said = message(messageId, text, more)
    messages.set(messageId, said)
    review.take(said)
  }
  return { time, lines, asked, judged, messages, service, review, say }
}

/** Lets everything happen that waits for no timer. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
}

async function pass(time: TestTime, ms: number): Promise<void> {
  await settle()
  time.pass(ms)
  await settle()
}

t.test(
  'flagged goes to the moderators, the worst away, the rest stands; who is above the rules is not read',
  async (t) => {
    const { time, asked, judged, review, say } = startReview()
    say('a', 'good')
    say('b', 'bad')
    say('c', 'worst')
    say('d', 'bad', { author: { ...author, isAdmin: true } })
    say('e', 'bad', { author: null })
    say('f', '  ')
    say('g', 'bad', { deletedAt: 2 })
    await pass(time, 50)
    t.same(asked, [['good', 'bad', 'worst']], 'in one call')
    t.same(judged, [
      { messageId: 'b', version: 0, verdict: 'flag', because: 'hate 0.95' },
      { messageId: 'c', version: 0, verdict: 'remove', because: 'hate/threatening 0.97, hate 0.40' },
    ])
    t.match(review.gauges(), { reviewed: 3, flagged: 1, removed: 1, given_up: 0, held: 0 })
  },
)

t.test('V4 a bad text edited into a good one is flagged, not taken away; what was deleted is left alone', async (t) => {
  const { time, judged, messages, say } = startReview()
  say('a', 'worst')
  messages.set('a', message('a', 'good', { editedAt: 7 }))
  say('b', 'worst')
  messages.set('b', message('b', 'worst', { deletedAt: 7 }))
  await pass(time, 50)
  t.match(judged, [{ messageId: 'a', version: 0, verdict: 'flag', because: /before it was edited/ }])
})

t.test('V2 while the service is away texts wait, and few ask; when it is back all are reviewed once', async (t) => {
  const { time, asked, judged, lines, review, service, say } = startReview()
  service.isUp = false
  say('first', 'bad')
  await pass(time, 50)
  for (let index = 0; index < 100; index++) say(`m${index}`, 'bad')
  say('m0', 'bad again', { editedAt: 5 })
  await pass(time, 50)
  t.equal(asked.length, 1, 'nobody asks before it is time')
  t.match(review.gauges(), { held: 101, reviewed: 0 })
  await pass(time, reviewLimits.retryFirstMs)
  await pass(time, 50)
  t.equal(asked[1]?.length, reviewLimits.probesAtOnce, 'a few find out')
  t.match(review.gauges(), { held: 101 })
  service.isUp = true
  await pass(time, reviewLimits.retryFirstMs * 2)
  for (let batch = 0; batch < 10; batch++) await pass(time, 50)
  t.match(review.gauges(), { held: 0, reviewed: 101, flagged: 101, given_up: 0, failures_in_a_row: 0 })
  t.equal(new Set(judged.map(({ messageId }) => messageId)).size, judged.length)
  t.match(
    judged.find(({ messageId }) => messageId === 'm0'),
    { version: 5 },
    'as it was edited meanwhile',
  )
  t.match(lines, [{ msg: /wait/ }, { msg: /again/ }], 'two lines in all')
  say('later', 'bad')
  await pass(time, 50)
  t.match(judged.at(-1), { messageId: 'later' })
})

t.test('V2 a verdict that the core could not take is brought again', async (t) => {
  const { time, judged, say } = startReview(1)
  say('a', 'bad')
  await pass(time, 50)
  t.same(judged, [])
  await pass(time, reviewLimits.retryFirstMs)
  await pass(time, 50)
  t.match(judged, [{ messageId: 'a' }])
})

t.test('V3 the queue is limited, the oldest is given up; so is what fails too often', async (t) => {
  const { time, review, service, say } = startReview()
  service.isUp = false
  say('first', 'bad')
  await pass(time, 50)
  for (let index = 0; index < reviewLimits.waitingMax; index++) say(`m${index}`, 'bad')
  t.match(review.gauges(), { held: reviewLimits.waitingMax, held_max: reviewLimits.waitingMax, given_up: 1 })

  const alone = startReview()
  alone.service.isUp = false
  alone.say('a', 'bad')
  for (let attempt = 0; attempt < reviewLimits.attemptsMax; attempt++) {
    await pass(alone.time, reviewLimits.retryMaxMs)
    await pass(alone.time, 50)
  }
  t.match(alone.review.gauges(), { held: 0, given_up: 1 })
  t.equal(alone.asked.length, reviewLimits.attemptsMax)
  alone.service.isUp = true
  alone.say('b', 'bad')
  await pass(alone.time, reviewLimits.retryMaxMs)
  await pass(alone.time, 50)
  t.match(alone.judged, [{ messageId: 'b' }], 'and the next is reviewed')
})

t.test('after the stop nothing is asked and nobody judged', async (t) => {
  const { time, asked, judged, review, say } = startReview()
  say('a', 'bad')
  review.stop()
  say('b', 'bad')
  await pass(time, 1_000)
  t.same([asked, judged], [[], []])
  t.equal(time.timers, 0)
})

t.test('R3 translations that were kept are not asked for; a store that fails is as good as none', async (t) => {
  const kept = new Map([['a.0.en', { text: 'kept', sourceLanguage: 'es' }]])
  let isBroken = false
  const store: TranslationStore = {
    find: async ({ id, version }, language) => {
      if (isBroken) throw new Error('Postgres is away')
      return kept.get(`${id}.${version}.${language}`) ?? null
    },
    keep: async ({ id, version }, language, translation) => {
      if (isBroken) throw new Error('Postgres is away')
      kept.set(`${id}.${version}.${language}`, translation)
    },
  }
  let asked = 0
  const translator = {
    translate: async (texts: readonly string[]) => {
      asked += texts.length
      return texts.map((text) => ({ text: `en: ${text}`, sourceLanguage: 'es' }))
    },
  }
  const time = new TestTime()
  const cache = new TranslationCache(translator, time, defaultTranslationLimits, store)
  const ask = async (id: string, version: number) => {
    const asking = cache.translate({ id, version, text: id }, 'en')
    await pass(time, 50)
    return (await asking).text
  }
  t.equal(await ask('a', 0), 'kept')
  t.equal(asked, 0)
  t.equal(await ask('a', 9), 'en: a', 'of an edit it is another one')
  t.match(kept.get('a.9.en'), { text: 'en: a' })
  isBroken = true
  t.equal(await ask('b', 0), 'en: b')
  t.match(cache.gauges(), { under_way: 0, keeping: 0 })

  const few = new TranslationCache(translator, time, { ...defaultTranslationLimits, underWayMax: 1 }, store)
  const first = few.translate({ id: 'x', version: 0, text: 'x' }, 'en')
  await t.rejects(few.translate({ id: 'y', version: 0, text: 'y' }, 'en'), { code: 'translation_busy' })
  await pass(time, 50)
  t.match(await first, { text: 'en: x' })
})
