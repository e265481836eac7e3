/** What gateways and their engine tell each other of who is where. */
import { z } from 'zod'
import { roomKinds } from '../sockets/attendance.js'

export const CHANGES_PER_REPORT_MAX = 2_000
/** A gateway that said nothing for so long is gone, and whoever was there with it. Three beats. */
export const GATEWAY_SILENCE_MAX_MS = 10_000
export const REPORT_BEAT_MS = 3_000

const kind = z.enum(roomKinds)
/** The name is null when the member has left. */
const change = z.tuple([kind, z.string(), z.string(), z.string().nullable()])
export type AttendanceChange = z.output<typeof change>

export const reportSchema = z.object({
  gateway: z.string().min(1).max(64),
  /** All that was told before is void. */
  isWhole: z.boolean(),
  changes: z.array(change).max(CHANGES_PER_REPORT_MAX),
})
export type AttendanceReport = z.output<typeof reportSchema>

/** How many are in a room over all processes. Of two totals of one run of the engine the higher `number` is the later. */
export const totalSchema = z.object({
  kind,
  key: z.string(),
  number: z.int(),
  count: z.number(),
  sample: z.array(z.string()),
})
export type RoomTotal = z.output<typeof totalSchema>

export const receiptSchema = z.object({
  /** False when everything is to be told anew. */
  isKnown: z.boolean(),
  /** Of the rooms that changed. */
  totals: z.array(totalSchema),
})
export type AttendanceReceipt = z.output<typeof receiptSchema>

export const roomName = (roomKind: RoomTotal['kind'], key: string) => `${roomKind}:${key}`
