/** The chat page: logs in, then shows channels over `/social/ws` until the session ends. */
import { ChatClient } from '../../client/chat-client.js'
import { logIn } from './login.js'
import { ChatPage } from './page.js'
import type { Session } from './session.js'

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
    try {
      because = await talk(session)
    } catch (error) {
      because = error instanceof Error ? error.message : String(error)
    }
  }
}

/** Resolves with why the session has ended. */
async function talk(session: Session): Promise<string> {
  const me = await session.me()
  const client = new ChatClient({ url: location.origin, token: () => session.token(), userId: me.id })
  const ended = new Promise<string>((resolve) => {
    client.on('state', (state) => {
      if (state.is === 'ended') resolve(state.code)
    })
  })
  const over = new AbortController()
  addEventListener('online', () => client.connect(), { signal: over.signal })
  addEventListener('offline', () => client.networkLost(), { signal: over.signal })
  const page = new ChatPage(client, session, me)
  page.begin()
  const code = await ended
  over.abort()
  client.disconnect()
  page.end()
  return ENDINGS[code] ?? 'The session has ended. Log in again.'
}

void main()
