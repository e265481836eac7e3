/** What is done to messages and members over HTTP: reports by anybody, the rest by moderators. Rejects with ChatErrors. */
import type { ChatMessage } from '../../client/channel-state.js'
import type { ChatClient } from '../../client/chat-client.js'
import { askWhy } from './ask-dialog.js'

const LENGTHS = { '1h': 'One hour', '24h': 'One day', '7d': 'One week' }

export class Deeds {
  constructor(private readonly client: Pick<ChatClient, 'request'>) {}

  /** Each resolves with what is to be told of it; null when that is nothing. */
  async report({ id, user }: ChatMessage): Promise<string | null> {
    const title = `Report the message of ${user?.username ?? 'BlakJaks'} to the moderators`
    const reason = await askWhy({ title, does: 'Report' })
    if (reason === null) return null
    await this.client.request('POST', `/v1/social/messages/${id}/report`, { because: reason.because })
    return 'Reported. A moderator will look at it.'
  }

  async timeOut({ user }: ChatMessage): Promise<string | null> {
    if (user === null) return null
    const reason = await askWhy({ title: `Time out ${user.username}`, does: 'Time out', lengths: LENGTHS })
    if (reason === null) return null
    await this.client.request('POST', `/v1/admin/social/users/${user.id}/timeout`, reason)
    return `${user.username} is timed out.`
  }

  async takeAway({ id }: ChatMessage): Promise<null> {
    await this.client.request('DELETE', `/v1/admin/social/messages/${id}`)
    return null
  }

  async pin({ id }: ChatMessage, on: boolean): Promise<null> {
    await this.client.request(on ? 'POST' : 'DELETE', `/v1/admin/social/messages/${id}/pin`)
    return null
  }
}
