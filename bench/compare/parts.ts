/** The parts of `npm run bench`, in the order they run. A new one is an entry here. */
import { fanOutPart, fanOutPlans } from './fan-out-part.js'
import { scanPart } from './scan-part.js'
import { scanPlans } from './scan-plan.js'
import type { Section } from './section.js'
import { writeBehindPart, writeBehindPlan } from './write-behind-part.js'

export interface Part {
  readonly name: string
  readonly says: string
  /** Whether it runs unless parts are named. */
  readonly runs: 'always' | 'when long'
  /** Works in an empty folder of its own that is removed afterwards. */
  readonly run: (folder: string, isQuick: boolean) => Promise<Section>
}

export const parts: readonly Part[] = [
  {
    name: 'scan',
    says: 'scans against the conventional stack and the ceiling',
    runs: 'always',
    run: (folder, isQuick) => scanPart(folder, isQuick ? scanPlans.quick : scanPlans.whole),
  },
  {
    name: 'fan-out',
    says: 'a room of the chat against raw uWebSockets.js and plain Socket.IO',
    runs: 'always',
    run: (folder, isQuick) => fanOutPart(folder, isQuick ? fanOutPlans.quick : fanOutPlans.whole),
  },
  {
    name: 'write-behind',
    says: '15,000 scans a second for five minutes',
    runs: 'when long',
    run: (folder, isQuick) =>
      writeBehindPart(folder, isQuick ? { ratePerSecond: 2_000, seconds: 10 } : writeBehindPlan),
  },
]
