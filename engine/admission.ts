/** Whether inputs from outside are taken. Who sees trouble coming closes it, and opens it when the trouble is over. */
import type { DomainError } from './errors.js'

export class Admission {
  #refusal: (() => DomainError) | undefined

  constructor(private readonly onChange: (isOpen: boolean) => void) {}

  /** What inputs are refused with at present. */
  get refusal(): DomainError | undefined {
    return this.#refusal?.()
  }

  /** From now on inputs are refused with what `refusal` says; what was accepted before goes on. */
  close(refusal: () => DomainError): void {
    this.#refusal = refusal
    this.onChange(false)
  }

  open(): void {
    this.#refusal = undefined
    this.onChange(true)
  }
}
