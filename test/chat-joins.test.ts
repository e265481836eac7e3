// A join is answered from what was published here and from what the engine says, and either may be ahead of the other:
// these tests hunt for the message that falls between the two, comes twice, or comes as it was before.

import fc from 'fast-check'
import t from 'tap'
import type { Message } from '../actors/chat/facts.js'
import { type Changed, ChannelFeeds } from '../gateway/sockets/channel-feeds.js'
import { missedSince } from '../gateway/sockets/join-answer.js'

const CHANNEL = 'general'
const KEPT_MAX = 8

/** Only what the order of things depends on: `text` says which change it is. */
const changed = (id: number, offset: number): Changed => ({
  offset,
  message: { messageId: `m${id}`, number: id, text: `${offset}` } as Message,
})

/** What came after an offset, each message once as it is at `upTo`, in the order they changed. */
function truth(history: readonly Changed[], after: number, upTo: number): readonly Changed[] {
  const latest = new Map<string, Changed>()
  for (const each of history) {
    if (each.offset > upTo) break
    latest.delete(each.message.messageId)
    if (each.offset > after) latest.set(each.message.messageId, each)
  }
  return [...latest.values()]
}

const seen = (messages: readonly Changed[] | null) => messages?.map(({ offset, message }) => [offset, message.text])

t.test('X1 a join has everything since a position once, whether the engine or what was published is ahead', (t) => {
  const ids = fc.array(fc.nat(6), { minLength: 1, maxLength: 30 })
  const cuts = fc.record({ client: fc.nat(30), asked: fc.nat(30), answered: fc.nat(30), published: fc.nat(30) })
  let served = 0
  fc.assert(
    fc.property(ids, cuts, fc.option(fc.nat(30), { nil: null }), (some, cut, lost) => {
      const history = some.map((id, index) => changed(id, index + 1))
      const at = (wanted: number) => Math.min(wanted, history.length)
      const feeds = new ChannelFeeds(KEPT_MAX)
      const publish = (from: number, to: number) => {
        for (const { offset, message } of history.slice(from, to))
          if (offset !== lost) feeds.take(CHANNEL, offset, message)
      }
      publish(0, at(cut.asked))
      const offset = at(cut.client)
      const after = feeds.covers(CHANNEL, offset) ? (feeds.offsetOf(CHANNEL) ?? offset) : offset
      // The engine knows what was published, and more may be published before its answer is here.
      const upTo = Math.max(at(cut.answered), at(cut.asked), offset)
      publish(at(cut.asked), at(cut.published))
      const messages = truth(history, after, upTo)
      const missed = missedSince(feeds, offset, { channel: CHANNEL, after, upTo, messages })
      if (missed === null) return true
      served += 1
      const now = Math.max(upTo, feeds.offsetOf(CHANNEL) ?? 0)
      return JSON.stringify(seen(missed)) === JSON.stringify(seen(truth(history, offset, now)))
    }),
    { numRuns: 5_000 },
  )
  t.ok(served > 2_000, `${served} were answered`)
  t.end()
})

t.test('X1 what nobody can know is not made up', (t) => {
  const feeds = new ChannelFeeds(KEPT_MAX)
  t.notOk(feeds.covers(CHANNEL, 0), 'nothing was published')
  for (const offset of [1, 2, 5, 6]) feeds.take(CHANNEL, offset, changed(offset, offset).message)
  t.notOk(feeds.covers(CHANNEL, 3), 'after a gap')
  t.ok(feeds.covers(CHANNEL, 4))
  t.notOk(feeds.covers(CHANNEL, 7), 'a position ahead of what was published')
  t.equal(missedSince(feeds, 1, { channel: CHANNEL, after: 2, upTo: 2, messages: [] }), null)
  t.end()
})
