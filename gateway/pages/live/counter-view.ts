const GLIDE_MS = 350
/** From this many characters on the number is set smaller. */
const LONG_TEXT = 10
const SPOKEN_EVERY_MS = 10_000

const format = new Intl.NumberFormat('en-US')
const still = matchMedia('(prefers-reduced-motion: reduce)')

/** The big number: glides to each new value; screen readers get it now and then, not at every tick. */
export class CounterView {
  #shown: number | undefined
  #from = 0
  #target = 0
  #startedAt = 0
  #gliding = false
  #spokenAt = Number.NEGATIVE_INFINITY

  constructor(
    readonly visible: HTMLElement,
    readonly spoken: HTMLElement,
  ) {}

  show(value: number): void {
    if (this.#shown === undefined || still.matches || document.hidden) {
      this.#set(value)
      return
    }
    this.#from = this.#shown
    this.#target = value
    this.#startedAt = performance.now()
    if (this.#gliding) return
    this.#gliding = true
    requestAnimationFrame(() => this.#glide())
  }

  #glide(): void {
    const passed = Math.min(1, (performance.now() - this.#startedAt) / GLIDE_MS)
    const eased = 1 - (1 - passed) ** 3
    this.#set(Math.round(this.#from + (this.#target - this.#from) * eased))
    this.#gliding = passed < 1
    if (this.#gliding) requestAnimationFrame(() => this.#glide())
  }

  #set(value: number): void {
    if (value === this.#shown) return
    this.#shown = value
    const text = format.format(value)
    this.visible.textContent = text
    this.visible.classList.toggle('long', text.length >= LONG_TEXT)
    if (performance.now() - this.#spokenAt < SPOKEN_EVERY_MS) return
    this.#spokenAt = performance.now()
    this.spoken.textContent = text
  }
}
