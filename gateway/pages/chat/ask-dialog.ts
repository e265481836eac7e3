/** Asks why something is to be done, and for how long. */
import { element, make, show } from './dom.js'

export interface Question {
  readonly title: string
  /** What the button does. */
  readonly does: string
  /** By value, as they are shown; none where nothing is asked of that. */
  readonly lengths?: Readonly<Record<string, string>>
}

export interface Reason {
  readonly because: string
  readonly length: string
}

/** Null when it was thought better of. */
export function askWhy({ title, does, lengths = {} }: Question): Promise<Reason | null> {
  const dialog = element('ask', HTMLDialogElement)
  const form = element('ask-form', HTMLFormElement)
  const because = element('ask-because', HTMLTextAreaElement)
  const length = element('ask-length', HTMLSelectElement)
  element('ask-title').textContent = title
  element('ask-do').textContent = does
  because.value = ''
  show(element('ask-length-field'), Object.keys(lengths).length > 0)
  length.replaceChildren(...Object.entries(lengths).map(([value, text]) => optionOf(value, text)))
  const asked = new AbortController()
  const { signal } = asked
  return new Promise((resolve) => {
    form.addEventListener(
      'submit',
      (event) => {
        event.preventDefault()
        const reason = because.value.trim()
        if (reason === '') return
        resolve({ because: reason, length: length.value })
        dialog.close()
      },
      { signal },
    )
    element('ask-cancel').addEventListener('click', () => dialog.close(), { signal })
    dialog.addEventListener(
      'close',
      () => {
        asked.abort()
        resolve(null)
      },
      { signal },
    )
    dialog.showModal()
  })
}

function optionOf(value: string, text: string): HTMLOptionElement {
  const option = make('option', { text })
  option.value = value
  return option
}
