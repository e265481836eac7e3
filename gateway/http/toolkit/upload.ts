import type { HttpResponse } from 'uWebSockets.js'
import { Readable } from 'node:stream'

const UPLOAD_BUFFER_BYTES_MAX = 256 * 1024

/**
 * A request body as a stream: while the reader lags, the connection is paused and the sender waits.
 * The owner calls `release` before `res` stops being valid.
 */
export class UploadStream extends Readable {
  private paused = false
  private released = false

  constructor(private readonly res: HttpResponse) {
    super({ highWaterMark: UPLOAD_BUFFER_BYTES_MAX })
    this.on('error', () => {}) // a handler that stopped reading must not bring the process down
  }

  /** Takes a chunk from uWS, whose memory is gone after this call. */
  receive(chunk: ArrayBuffer, isLast: boolean): void {
    if (this.released || this.destroyed) return
    const wanted = chunk.byteLength === 0 || this.push(Buffer.from(chunk.slice(0)))
    if (isLast) {
      this.push(null)
    } else if (!wanted) {
      this.paused = true
      this.res.pause() // again for every chunk already under way, or uWS would count this as the sender idling
    } else {
      this.res.pause() // restarts uWS's clock, which cuts whoever sends less than 16 KB a second
      this.res.resume()
    }
  }

  /** Stops touching the connection, letting it run again when it is still there. */
  release(connected: boolean): void {
    if (this.paused && connected) this.res.resume()
    this.paused = false
    this.released = true
  }

  override _read(): void {
    if (!this.paused || this.released) return
    this.paused = false
    this.res.resume()
  }
}
