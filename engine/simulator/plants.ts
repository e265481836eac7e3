/** Bugs put into the real code for one run, to see that the checks catch them. */

import { RecentMessages } from '../../actors/chat/recent-messages.js'
import { CodeBook } from '../../actors/codes/code-book.js'
import { FactFeed } from '../../gateway/bus/fact-feed.js'
import { ChannelState } from '../../gateway/client/channel-state.js'
import { Commands } from '../../gateway/client/commands.js'
import { HeldEvents } from '../../gateway/client/held-events.js'
import { ChannelFeeds } from '../../gateway/sockets/channel-feeds.js'
import { Stream } from '../../gateway/sockets/stream.js'
import { FileJournal } from '../../persistence/journal/file-journal.js'
import type { JournalFiles } from '../../persistence/journal/files.js'
import { Alarms } from '../alarms.js'
import { Gate } from '../gate.js'
import { IdempotencyWindow } from '../idempotency.js'
import { Inbox } from '../inbox.js'
import { Residents } from '../residents.js'
import { Shard } from '../shard.js'
import { ShardState } from '../shard-state.js'
import { Turn } from '../turn.js'
import type { CheckName } from './catalogue.js'
import { ChatGateway, SimulatedSocket } from './chat-gateway.js'
import { SimulatedDisk } from './disk.js'
import { SimulatedPostgres } from './postgres.js'

export interface Plant {
  readonly bug: string
  /** The checks one of which must fail. */
  readonly caughtBy: readonly CheckName[]
  /** Puts the bug in; returns what takes it out. */
  plant(): () => void
}

/** Replaces a method on a prototype. `Function.prototype.call` on the original keeps private fields within reach. */
function replace<Class extends object, Name extends keyof Class>(
  prototype: Class,
  name: Name,
  make: (original: Class[Name]) => Class[Name],
): () => void {
  const original = prototype[name]
  prototype[name] = make(original)
  return () => {
    prototype[name] = original
  }
}

/** Changes what one process's disk does. */
const onDisk = (change: (files: JournalFiles) => Partial<JournalFiles>) => () =>
  replace(SimulatedDisk.prototype, 'filesOf', (original) => {
    return function filesOf(this: SimulatedDisk, life) {
      const files = original.call(this, life)
      return { ...files, ...change(files) }
    }
  })

const told: readonly CheckName[] = ['nothing is told before it is on the disk', 'what was told survives']
const journal: readonly CheckName[] = [...told, 'only planted damage is found', 'a record is read as it was written']

/** Whatever is missing, one of these sees it first. */
const databaseBehind: readonly CheckName[] = [
  'the database has every fact once',
  'the database has every key',
  'the database has every latest image',
  'the database has every posting once',
  'the database has what is pending',
  'a start can use what it finds',
  'the same inputs give the same records',
]

const chatOwes: readonly CheckName[] = ['a join gives exactly what is due', 'a gateway skips nothing']
const chatShows: readonly CheckName[] = ['a chat shows every message once, as it is', 'a chat has come back']

/** An actor takes each event of a type twice. */
const twice = (type: string) =>
  replace(Turn.prototype, 'step', (original) => {
    return function step(this: Turn, ref, event) {
      if (event.type === type) original.call(this, ref as never, event as never)
      return original.call(this, ref as never, event as never)
    }
  })

export const plants: Readonly<Record<string, Plant>> = {
  'ack-before-sync': {
    bug: 'outputs leave when their record is appended, not when it is on the disk',
    caughtBy: told,
    plant: () => replace(Gate.prototype, 'hold', () => (_seq, release) => release()),
  },
  'gate-out-of-order': {
    bug: 'every other output leaves after the one that follows it',
    caughtBy: ['subscribers hear every record in order'],
    plant: () => {
      const late = new WeakMap<Gate, () => void>()
      return replace(Gate.prototype, 'hold', (original) => {
        return function hold(this: Gate, seq, release) {
          const before = late.get(this)
          if (before === undefined) late.set(this, release)
          else {
            late.delete(this)
            original.call(this, seq, release)
            original.call(this, seq, before)
          }
        }
      })
    },
  },
  'read-ungated': {
    bug: 'a read does not wait until what it saw is on the disk',
    caughtBy: ['a read shows only what is on the disk', 'a chat shows only what is on the disk'],
    plant: () => replace(Shard.prototype, 'settled', () => () => Promise.resolve()),
  },
  'sync-retried': {
    bug: 'a failed sync is tried again, and the second one is believed',
    caughtBy: journal,
    plant: onDisk((files) => ({ datasync: (fd) => files.datasync(fd).catch(() => files.datasync(fd)) })),
  },
  'sync-skipped': {
    bug: 'a sync does nothing',
    caughtBy: journal,
    plant: onDisk(() => ({ datasync: async () => {} })),
  },
  'names-unsynced': {
    bug: 'a new segment is not made durable with its directory',
    caughtBy: journal,
    plant: onDisk(() => ({ syncDirectory: async () => {} })),
  },
  'short-write-believed': {
    bug: 'a short write is taken for a whole one',
    // Or what is written behind waits for bytes that never come.
    caughtBy: [...journal, 'liveness: everything comes to rest'],
    plant: onDisk((files) => ({
      write: (fd, bytes, position) => files.write(fd, bytes, position).then(() => bytes.length),
    })),
  },
  'journal-dropped-early': {
    bug: 'old segments are dropped before the database has them',
    caughtBy: ['only planted damage is found', 'liveness: everything comes to rest', 'what was told survives'],
    plant: () =>
      replace(FileJournal.prototype, 'truncate', (original) => {
        return function truncate(this: FileJournal) {
          return original.call(this, this.durableSeq)
        }
      }),
  },
  'rows-without-mark': {
    bug: 'rows are committed apart from the mark, so that a batch may be applied twice',
    caughtBy: ['only what is refused is parked', 'the database has every fact once'],
    plant: () =>
      replace(SimulatedPostgres.prototype, 'commit', (original) => {
        return function commit(this: SimulatedPostgres, changes, isAnswerLost) {
          original.call(this, isAnswerLost ? changes.slice(1) : changes, isAnswerLost)
        }
      }),
  },
  'mark-without-rows': {
    bug: 'the mark is committed apart from the rows, so that a batch may be skipped',
    caughtBy: databaseBehind,
    plant: () =>
      replace(SimulatedPostgres.prototype, 'commit', (original) => {
        return function commit(this: SimulatedPostgres, changes, isAnswerLost) {
          original.call(this, isAnswerLost ? changes.slice(0, 1) : changes, isAnswerLost)
        }
      }),
  },
  'alarm-lost': {
    bug: 'the last alarm that is due is forgotten',
    caughtBy: ['liveness: everything comes to rest', 'no alarm is lost'],
    plant: () =>
      replace(Alarms.prototype, 'takeDue', (original) => {
        return function takeDue(this: Alarms, now) {
          return original.call(this, now).slice(0, -1)
        }
      }),
  },
  'alarm-twice': {
    bug: 'an alarm is delivered twice, and nobody asks whether it still waits',
    caughtBy: ['nothing is delivered that is not due'],
    plant: () => {
      const undo = [
        replace(ShardState.prototype, 'isPending', () => () => true),
        replace(Alarms.prototype, 'takeDue', (original) => {
          return function takeDue(this: Alarms, now) {
            return original.call(this, now).flatMap((alarm) => [alarm, alarm])
          }
        }),
      ]
      return () => undo.forEach((back) => void back())
    },
  },
  'message-lost': {
    bug: 'messages that were told and not yet consumed are forgotten at a restart',
    caughtBy: ['no message is lost', 'messages that are due', 'liveness: everything comes to rest'],
    plant: () =>
      replace(Inbox.prototype, 'start', (original) => {
        return function start(this: Inbox) {
          this.state.messages.clear()
          original.call(this)
        }
      }),
  },
  'key-forgotten': {
    bug: 'every third idempotency key is not remembered',
    caughtBy: ['a key has one outcome', 'the same key gets the same answer'],
    plant: () => {
      let keys = 0
      return replace(IdempotencyWindow.prototype, 'remember', (original) => {
        return function remember(this: IdempotencyWindow, ...rest) {
          keys += 1
          if (keys % 3 !== 0) original.apply(this, rest)
        }
      })
    },
  },
  'key-not-looked-up': {
    bug: 'keys that memory has forgotten are taken for new ones',
    caughtBy: ['a key has one outcome', 'the same key gets the same answer'],
    plant: () =>
      replace(IdempotencyWindow.prototype, 'find', (original) => {
        return function find(this: IdempotencyWindow, ...rest) {
          const found = original.apply(this, rest)
          return found === 'unknown' ? 'absent' : found
        }
      }),
  },
  'evicted-forgotten': {
    bug: 'an evicted member is forgotten before the database has its last image',
    caughtBy: [
      'the same inputs give the same records',
      'memory is what the inputs lead to',
      'a scan is answered as the rules say',
    ],
    plant: () =>
      replace(Residents.prototype, 'applied', (original) => {
        return function applied(this: Residents, seq) {
          original.call(this, seq + 1_000)
        }
      }),
  },
  'random-in-turn': {
    bug: 'an id depends on more than its input',
    caughtBy: ['the same inputs give the same records'],
    plant: () => {
      let ids = 0
      return replace(Turn.prototype, 'newId', (original) => {
        return function newId(this: Turn) {
          ids += 1
          return original.call(this).slice(0, -6) + ids.toString(16).padStart(6, '0')
        }
      })
    },
  },
  'posting-dropped': {
    bug: 'a posting changes balances and is not journaled',
    caughtBy: ['balances are the sums of postings'],
    plant: () =>
      replace(Turn.prototype, 'post', (original) => {
        return function post(this: Turn, ...rest) {
          original.apply(this, rest)
          this.postings.pop()
        }
      }),
  },
  'scanned-code-forgotten': {
    bug: 'every fourth scanned code can be scanned again',
    caughtBy: [
      'tables are what the inputs lead to',
      'a scan is answered as the rules say',
      'a scan is accepted as the rules say',
      'the same inputs give the same records',
    ],
    plant: () =>
      replace(CodeBook.prototype, 'apply', (original) => {
        return function apply(this: CodeBook, delta) {
          if (delta.op !== 'scanned' || delta.row % 4 !== 0) original.call(this, delta)
        }
      }),
  },
  'message-not-restored': {
    bug: 'a start does not read back the message that changed last',
    caughtBy: ['tables are what the inputs lead to'],
    plant: () =>
      replace(RecentMessages.prototype, 'restoreChannel', (original) => {
        return function restoreChannel(this: RecentMessages, channelId, changed, latest) {
          original.call(this, channelId, changed.slice(0, -1), latest)
        }
      }),
  },
  'channel-offset-skipped': {
    bug: 'a message takes two places in its channel',
    caughtBy: ['channels are numbered without gap or double', 'a gateway skips nothing'],
    plant: () => twice('posted'),
  },
  'reaction-counted-twice': {
    bug: 'a reaction is counted twice',
    caughtBy: ['a reaction counts once'],
    plant: () => twice('reacted'),
  },
  'missed-events-skipped': {
    bug: 'a socket that comes back gets all but the first event it missed',
    caughtBy: ['a socket sees every scan'],
    plant: () =>
      replace(Stream.prototype, 'since', (original) => {
        return function since(this: Stream<unknown>, ...rest) {
          const missed = original.apply(this, rest)
          return missed === 'resync' ? missed : missed.slice(1)
        }
      }),
  },
  'feed-forgets': {
    bug: 'what is said in a channel while it is opened is forgotten',
    caughtBy: chatOwes,
    plant: () => replace(ChannelFeeds.prototype, 'since', () => () => []),
  },
  'join-before-room': {
    bug: 'a join is answered a moment before the room is entered',
    caughtBy: chatOwes,
    plant: () =>
      replace(SimulatedSocket.prototype, 'join', (original) => {
        return function join(this: SimulatedSocket, room) {
          const { now, wakeAt } = this.namespace.environment
          wakeAt(now() + 50, () => original.call(this, room))
        }
      }),
  },
  'held-events-dropped': {
    bug: 'a client drops what it hears while it joins',
    caughtBy: ['a chat shows what it was told of'],
    plant: () =>
      replace(HeldEvents.prototype, 'takeAll', (original) => {
        return function takeAll(this: HeldEvents) {
          original.call(this)
          return []
        }
      }),
  },
  'deleted-message-shown': {
    bug: 'a client that catches up keeps what was deleted meanwhile',
    caughtBy: chatShows,
    plant: () =>
      replace(ChannelState.prototype, 'catchUp', (original) => {
        return function catchUp(this: ChannelState, answer) {
          original.call(this, { ...answer, messages: answer.messages.filter((each) => each.deleted_at === null) })
        }
      }),
  },
  'answer-before-facts': {
    bug: 'a gateway gives out an answer before it was told what the answer has seen',
    caughtBy: [...chatOwes, ...chatShows],
    plant: () => replace(FactFeed.prototype, 'reached', () => () => undefined),
  },
  'gap-passed-over': {
    bug: 'a gateway that missed something for good lets its clients go on',
    caughtBy: [...chatOwes, ...chatShows, 'liveness: a chat comes back'],
    plant: () => replace(ChatGateway.prototype, 'dismissAll', () => () => {}),
  },
  'said-under-new-id': {
    bug: 'a client that heard no answer says it again as something new',
    caughtBy: ['what a client says is said once'],
    plant: () => {
      let asked = 0
      return replace(Commands.prototype, 'ask', (original) => {
        return function ask(this: Commands, event, payload) {
          const anew = event === 'message:send' ? { client_id: `anew ${++asked}` } : {}
          return original.call(this, event, { ...payload, ...anew }) as never
        }
      })
    },
  },
}
