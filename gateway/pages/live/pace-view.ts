export interface Recent {
  readonly step_seconds: number
  readonly scans: readonly number[]
}

export interface PaceElements {
  readonly bars: HTMLElement
  readonly perMinute: HTMLElement
  readonly peak: HTMLElement
}

const MINUTE_MS = 60_000
const format = new Intl.NumberFormat('en-US')

/** Scans of the last minutes as bars, the pace now and the highest of today, all worked out from the counter. */
export class PaceView {
  #stepMs = 5_000
  /** Scans by step, oldest first; the last one is running. */
  #steps: number[] = []
  #step = 0
  #peak = 0

  constructor(readonly elements: PaceElements) {}

  begin({ step_seconds, scans }: Recent, peakToday: number, nowMs: number): void {
    this.#stepMs = step_seconds * 1_000
    this.#steps = [...scans]
    this.#step = Math.floor(nowMs / this.#stepMs)
    this.#peak = peakToday
    this.elements.bars.replaceChildren(...scans.map(() => document.createElement('i')))
    this.draw(nowMs)
  }

  count(scans: number, nowMs: number): void {
    this.#advance(nowMs)
    const last = this.#steps.length - 1
    this.#steps[last] = (this.#steps[last] ?? 0) + scans
  }

  draw(nowMs: number): void {
    this.#advance(nowMs)
    const pace = this.#perMinute(nowMs)
    this.#peak = Math.max(this.#peak, pace)
    this.elements.perMinute.textContent = format.format(pace)
    this.elements.peak.textContent = format.format(this.#peak)
    const highest = Math.max(1, ...this.#steps)
    const { bars } = this.elements
    for (const [index, bar] of [...bars.children].entries()) {
      const height = ((this.#steps[index] ?? 0) / highest) * 100
      if (bar instanceof HTMLElement) bar.style.setProperty('--height', `${height.toFixed(1)}%`)
    }
    bars.setAttribute('aria-label', `Scans in the last five minutes; ${format.format(pace)} a minute now`)
  }

  /** The step that began a minute ago counts by the part of it that is still within the minute. */
  #perMinute(nowMs: number): number {
    const whole = MINUTE_MS / this.#stepMs
    const inStep = (nowMs % this.#stepMs) / this.#stepMs
    const oldest = this.#steps.at(-1 - whole) ?? 0
    return Math.round(this.#steps.slice(-whole).reduce((sum, scans) => sum + scans, 0) + oldest * (1 - inStep))
  }

  #advance(nowMs: number): void {
    const step = Math.floor(nowMs / this.#stepMs)
    const passed = Math.min(step - this.#step, this.#steps.length)
    if (passed <= 0) return
    this.#step = step
    this.#steps.splice(0, passed)
    this.#steps.push(...Array<number>(passed).fill(0))
  }
}
