/** Everything clients may say on `/social/ws`. */
import { z } from 'zod'
import { messageBody } from '../chat.js'

const channel = z.string().min(1).max(64)
const id = z.string().min(1).max(64)

export const MESSAGES_DEFAULT = 50
const MESSAGES_MAX = 100

export const joinInput = z.object({
  channel,
  /** Where the client stands; both or none. */
  epoch: z.string().max(128).optional(),
  offset: z.int().nonnegative().optional(),
  /** So many messages when the position is not given, or not known any more. */
  limit: z.int().min(0).max(MESSAGES_MAX).default(MESSAGES_DEFAULT),
})
export const inChannel = z.object({ channel })
export const sendInput = messageBody.extend({ channel })
export const editInput = z.object({ id, text: z.string().max(12_000) })
export const onMessage = z.object({ id })
export const reactInput = z.object({ id, emoji: z.string().min(1).max(20), on: z.boolean().default(true) })
export const readInput = z.object({ channel, offset: z.int().nonnegative() })
