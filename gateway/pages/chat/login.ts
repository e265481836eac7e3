/** The form one logs in with. */
import { asChatError } from '../../client/errors.js'
import { element, show } from './dom.js'
import { Session } from './session.js'
import { lengthOf } from './texts.js'

const TWO_FACTOR = new Set(['totp_required', 'totp_invalid'])

/** Resolves with the session of whoever has logged in; says first why one has to. */
export function logIn(because: string): Promise<Session> {
  const form = element('login-form', HTMLFormElement)
  const email = element('email', HTMLInputElement)
  const password = element('password', HTMLInputElement)
  const code = element('totp', HTMLInputElement)
  const trouble = element('login-trouble')
  const submit = element('log-in', HTMLButtonElement)
  trouble.textContent = because
  show(element('login'), true)
  show(element('chat'), false)
  if (email.value === '') email.focus()
  else password.focus()
  return new Promise((resolve) => {
    const tried = async (event: SubmitEvent) => {
      event.preventDefault()
      trouble.textContent = ''
      submit.disabled = true
      try {
        const totp = code.value.trim()
        const credentials = { email: email.value.trim(), password: password.value }
        const session = await Session.begin(totp === '' ? credentials : { ...credentials, totp })
        form.removeEventListener('submit', tried)
        password.value = ''
        code.value = ''
        show(element('login'), false)
        show(element('chat'), true)
        resolve(session)
      } catch (cause) {
        const { code: why, message, retryAfterMs } = asChatError(cause)
        trouble.textContent = retryAfterMs === null ? message : `${message} Try again in ${lengthOf(retryAfterMs)}.`
        if (TWO_FACTOR.has(why)) {
          show(element('totp-field'), true)
          code.focus()
        }
      } finally {
        submit.disabled = false
      }
    }
    form.addEventListener('submit', tried)
  })
}
