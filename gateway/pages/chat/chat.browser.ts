/** The chat page: logs in, then shows channels over `/social/ws` until the session ends. */
import { ChatClient } from '../../client/chat-client.js'
import { logIn } from './login.js'
import { ChatPage } from './page.js'
import type { Me } from './session.js'

const ENDINGS: Readonly<Record<string, string>> = {
  logout: 'You are logged out.',
  other_device: 'You logged in somewhere else.',
  password_changed: 'The password was changed. Log in with the new one.',
  suspended: 'This account is suspended.',
}

async function main(): Promise<void> {
  let because = ''
  for (;;) {
    const session = await logIn(because)
    const client = new ChatClient({ url: location.origin, token: () => session.token() })
    const ended = new Promise<string>((resolve) => {
      client.on('state', (state) => {
        if (state.is === 'ended') resolve(state.code)
      })
    })
    const onOnline = () => client.connect()
    const onOffline = () => client.networkLost()
    addEventListener('online', onOnline)
    addEventListener('offline', onOffline)
    const page = new ChatPage(client, session)
    try {
      page.begin((await client.get('/v1/users/me')) as Me)
      because = ENDINGS[await ended] ?? 'The session has ended. Log in again.'
    } catch (error) {
      because = error instanceof Error ? error.message : String(error)
    }
    removeEventListener('online', onOnline)
    removeEventListener('offline', onOffline)
    client.disconnect()
    page.end()
  }
}

void main()
