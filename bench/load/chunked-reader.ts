const LF = 10
const CR = 13
const SEMICOLON = 59
const SPACE = 32
/** Digits of a chunk size; eight hexadecimal digits are 4 GB. */
const SIZE_DIGITS_MAX = 8

type Expecting = 'size' | 'extension' | 'data' | 'data-end' | 'trailer-start' | 'trailer'

/** Finds the data in a chunked body (RFC 9112, 7.1), wherever the packets cut it. */
export class ChunkedReader {
  done = false
  private expecting: Expecting = 'size'
  private size = 0
  private digits = 0

  reset(): void {
    this.done = false
    this.startChunk()
  }

  /** Calls `onData` for every stretch of data; returns the end of what it consumed, -1 when malformed. */
  read(input: Buffer, start: number, length: number, onData: (from: number, to: number) => void): number {
    let at = start
    while (at < length && !this.done) {
      if (this.expecting === 'data') {
        const end = Math.min(length, at + this.size)
        onData(at, end)
        this.size -= end - at
        if (this.size === 0) this.expecting = 'data-end'
        at = end
      } else if (!this.readByte(input[at++] ?? 0)) return -1
    }
    return at
  }

  /** One byte of what surrounds the data; false when it must not be there. */
  private readByte(byte: number): boolean {
    switch (this.expecting) {
      case 'size':
        return this.readSize(byte)
      case 'extension':
        if (byte === LF) this.expecting = this.size > 0 ? 'data' : 'trailer-start'
        return true
      case 'data-end':
        if (byte === LF) this.startChunk()
        return byte === LF || byte === CR
      case 'trailer-start':
        if (byte === LF) this.done = true
        else if (byte !== CR) this.expecting = 'trailer'
        return true
      default:
        if (byte === LF) this.expecting = 'trailer-start'
        return true
    }
  }

  private readSize(byte: number): boolean {
    const digit = hexDigit(byte)
    if (digit >= 0) {
      this.size = this.size * 16 + digit
      this.digits++
      return this.digits <= SIZE_DIGITS_MAX
    }
    if (this.digits === 0) return false
    if (byte === LF) this.expecting = this.size > 0 ? 'data' : 'trailer-start'
    else if (byte === CR || byte === SEMICOLON || byte === SPACE) this.expecting = 'extension'
    else return false
    return true
  }

  private startChunk(): void {
    this.expecting = 'size'
    this.size = 0
    this.digits = 0
  }
}

function hexDigit(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48
  const letter = byte | 32
  return letter >= 97 && letter <= 102 ? letter - 87 : -1
}
