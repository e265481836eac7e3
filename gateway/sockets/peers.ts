/**
 * What the processes that serve `/social/ws` tell each other through the adapter: who types. Hints only (X3): what is
 * lost is lost.
 */
import { type ChatEventData, chatEventSchemas } from './chat-events.js'
import type { SocketNamespace } from './client-out.js'
import type { SocketLog } from './metrics.js'

export interface PeersOptions {
  readonly namespace: SocketNamespace
  readonly log: SocketLog
  readonly onTyping: (typing: ChatEventData<'typing'>) => void
}

export class Peers {
  constructor(private readonly options: PeersOptions) {
    const { namespace, log, onTyping } = options
    namespace.on('peer:typing', (data: unknown) => {
      const parsed = chatEventSchemas.typing.safeParse(data)
      // Whatever comes over Redis must not end the process.
      if (parsed.success) onTyping(parsed.data)
      else log.error({ err: parsed.error }, 'what another process told could not be read')
    })
  }

  tellTyping(typing: ChatEventData<'typing'>): void {
    this.options.namespace.serverSideEmit('peer:typing', typing)
  }
}
