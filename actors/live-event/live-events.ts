/** The live events of a program: their actors, commands and queries. */
import type { ActorType } from '../../engine/actor.js'
import { liveEventCommands } from './commands.js'
import { liveEvent, liveProgramme } from './machine.js'
import { liveEventQueries } from './queries.js'
import type { LiveEventRules } from './rules.js'

export function createLiveEvents(rules: LiveEventRules) {
  return {
    actors: [liveEvent, liveProgramme] as readonly ActorType[],
    commands: liveEventCommands(rules),
    queries: liveEventQueries(),
  }
}
