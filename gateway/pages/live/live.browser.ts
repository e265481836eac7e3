/** The live page: follows `/insights/live` and shows it. */
import { io } from 'socket.io-client'
import { CounterView } from './counter-view.js'
import { type FeedItem, FeedView } from './feed-view.js'
import { Follower, type Position, type Resumed } from './follower.js'
import { type Milestone, MilestonesView } from './milestones-view.js'
import { PaceView, type Recent } from './pace-view.js'

interface Snapshot extends Position {
  readonly at: string
  readonly counter: { readonly value: number }
  readonly feed: readonly FeedItem[]
  readonly peak_today: number
  readonly recent: Recent
  readonly milestones: readonly Milestone[]
}

const REDRAW_EVERY_MS = 500
const RESUME_TIMEOUT_MS = 5_000
const RECONNECT_MS_MAX = 5_000

function element(id: string): HTMLElement {
  const found = document.getElementById(id)
  if (found === null) throw new Error(`the page has no #${id}`)
  return found
}

const counter = new CounterView(element('count'), element('count-spoken'))
const milestones = new MilestonesView(element('milestones'))
const pace = new PaceView({ bars: element('bars'), perMinute: element('per-minute'), peak: element('peak') })
const feed = new FeedView(element('feed'))

/** How much this computer's clock is ahead of the server's. */
let clockAheadMs = 0
const serverNow = () => Date.now() - clockAheadMs
let scans = 0

const socket = io('/insights/live', {
  transports: ['websocket', 'polling'],
  tryAllTransports: true,
  reconnectionDelayMax: RECONNECT_MS_MAX,
})

const follower = new Follower<FeedItem>({
  show: (items, instead) => feed.show(items, instead, serverNow()),
  resume: (from) => socket.timeout(RESUME_TIMEOUT_MS).emitWithAck('resume', from) as Promise<Resumed<FeedItem>>,
})

function showScans(value: number): void {
  scans = value
  counter.show(value)
  milestones.show(value)
}

function showState(state: 'live' | 'connecting', text: string): void {
  element('state').dataset.state = state
  element('state-text').textContent = text
}

socket.on('snapshot', (snapshot: Snapshot) => {
  clockAheadMs = Date.now() - Date.parse(snapshot.at)
  milestones.begin(snapshot.milestones)
  showScans(snapshot.counter.value)
  pace.begin(snapshot.recent, snapshot.peak_today, serverNow())
  follower.connected({ epoch: snapshot.epoch, offset: snapshot.offset, items: snapshot.feed })
  showState('live', 'Live')
})

socket.on('counter', ({ value }: { value: number }) => {
  pace.count(Math.max(0, value - scans), serverNow())
  showScans(value)
})

socket.on('feed', (item: FeedItem) => follower.receive(item))

socket.on('disconnect', (reason) => {
  showState('connecting', 'Reconnecting…')
  if (reason === 'io server disconnect') socket.connect()
})

socket.io.on('reconnect_attempt', () => showState('connecting', navigator.onLine ? 'Reconnecting…' : 'Offline'))

setInterval(() => {
  if (document.hidden) return
  pace.draw(serverNow())
  feed.age(serverNow())
}, REDRAW_EVERY_MS)
