/** What the client stands on: one connection at a time, made anew for each attempt. */
import { io } from 'socket.io-client'
import { asChatError, type ChatError, chatErrorOf, connectionLost, isRefusal, noAnswer } from './errors.js'

const ANSWER_TIMEOUT_MS = 10_000
const CONNECT_TIMEOUT_MS = 10_000

export interface WireListener {
  opened(): void
  said(event: string, data: unknown): void
  /** It is over, or never began: then a refusal says why, if the server gave a reason. */
  closed(refusal: ChatError | null): void
}

export interface Connection {
  /** Rejects with a ChatError: the server's refusal, `connection_lost` or `no_answer`. */
  ask(event: string, payload: object): Promise<unknown>
  close(): void
}

/** Opens a connection with a token; the listener hears of it from the next turn of the event loop on. */
export type Wire = (token: string, listener: WireListener) => Connection

/** Socket.IO: by WebSocket, or by polling where that does not get through. */
export function socketIoWire(url: string): Wire {
  return (token, listener) => {
    const socket = io(`${url}/social/ws`, {
      auth: { token },
      forceNew: true,
      reconnection: false,
      timeout: CONNECT_TIMEOUT_MS,
      ackTimeout: ANSWER_TIMEOUT_MS,
      transports: ['websocket', 'polling'],
      tryAllTransports: true,
    })
    let isOver = false
    const end = (refusal: ChatError | null) => {
      if (isOver) return
      isOver = true
      socket.disconnect()
      listener.closed(refusal)
    }
    socket.on('connect', () => listener.opened())
    socket.onAny((event: string, data: unknown) => {
      if (!isOver) listener.said(event, data)
    })
    socket.on('disconnect', () => end(null))
    socket.on('connect_error', (error) => {
      const data = 'data' in error ? error.data : undefined
      end(isRefusal(data) ? chatErrorOf(data) : null)
    })
    return {
      ask: async (event, payload) => {
        const answer: unknown = await socket.emitWithAck(event, payload).catch(() => {
          throw socket.connected ? noAnswer() : connectionLost()
        })
        const refusal = typeof answer === 'object' && answer !== null && 'error' in answer ? answer.error : undefined
        if (refusal !== undefined) throw isRefusal(refusal) ? chatErrorOf(refusal) : asChatError(refusal)
        return answer
      },
      close: () => {
        isOver = true
        socket.disconnect()
      },
    }
  }
}
