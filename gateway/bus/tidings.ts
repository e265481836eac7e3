/** What the engine tells its gateways, in order: facts, and what only one process can number or count. */
import type { Fact } from '../../engine/fact.js'
import type { PersonalEntry } from '../sockets/client-out.js'
import type { InsightTiding } from '../sockets/insights-state.js'
import type { RoomTotal } from './attendance-messages.js'

export type Tiding =
  | { readonly kind: 'fact'; readonly fact: Fact }
  | { readonly kind: 'insight'; readonly tiding: InsightTiding }
  | { readonly kind: 'personal'; readonly userId: string; readonly entry: PersonalEntry }
  | { readonly kind: 'attendance'; readonly total: RoomTotal }
