/** The conventional stack's server as a process of its own. */
import { answerCalls } from '../chat/calls.js'
import { type ConventionalOptions, openConventional } from './app.js'

export type ServerCalls = {
  /** Returns the URL. */
  listen: (options: ConventionalOptions) => Promise<string>
  pid: () => number
}

answerCalls({
  listen: async (options: ConventionalOptions) => (await openConventional(options)).url,
  pid: () => process.pid,
} satisfies ServerCalls)
