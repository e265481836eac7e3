/** The password of a keystore: from the environment or a file; for local chains a generated one, beside the keys. */
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createDurably, ensurePrivateFolder, hasCode } from './durable-file.js'
import { KeyError } from './errors.js'
import { hasKeys } from './key-files.js'

const PASSWORD_CHARACTERS_MIN = 12
const GENERATED_FILE = 'keystore.password'

export interface KeystorePassword {
  readonly secret: Buffer
  /** Whether it lies beside the keys, where it protects nothing: good for local chains only. */
  readonly isGenerated: boolean
}

export interface PasswordSource {
  /** Of the keystore. */
  readonly directory: string
  /** KEYSTORE_PASSWORD. */
  readonly password: string | undefined
  /** KEYSTORE_PASSWORD_FILE. */
  readonly passwordFile: string | undefined
  /** Whether one may be generated when none is given and no key exists yet. */
  readonly mayGenerate: boolean
}

/** Throws `keystore_password_missing`. */
export async function findPassword(source: PasswordSource): Promise<KeystorePassword> {
  const { password, passwordFile } = source
  if (password !== undefined) return given(password, 'KEYSTORE_PASSWORD')
  if (passwordFile !== undefined) return given(await readGiven(passwordFile), passwordFile)
  const file = join(source.directory, GENERATED_FILE)
  const beside = (await readIfThere(file)) ?? (source.mayGenerate ? await generate(source.directory, file) : undefined)
  if (beside !== undefined && beside !== '') return { secret: Buffer.from(beside), isGenerated: true }
  throw missing(
    `No password for the keystore in ${source.directory}. Set KEYSTORE_PASSWORD_FILE (or KEYSTORE_PASSWORD); ` +
      `for keys of local chains \`comptroller keys create --local\` makes one up, in ${file}.`,
  )
}

function given(text: string, where: string): KeystorePassword {
  if (text.length < PASSWORD_CHARACTERS_MIN) {
    throw missing(
      `The keystore password in ${where} has fewer than ${PASSWORD_CHARACTERS_MIN} characters. Use a longer one.`,
    )
  }
  return { secret: Buffer.from(text), isGenerated: false }
}

async function readGiven(file: string): Promise<string> {
  const text = await readIfThere(file)
  if (text === undefined) throw missing(`KEYSTORE_PASSWORD_FILE names ${file}, and there is no such file. Create it.`)
  return text
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return (await readFile(file, 'utf8')).trimEnd()
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

/** The password is durable before the first key is; beside keys that are there already it would open none of them. */
async function generate(directory: string, file: string): Promise<string | undefined> {
  if (await hasKeys(directory)) return undefined
  await ensurePrivateFolder(directory)
  await createDurably(file, `${randomBytes(32).toString('base64url')}\n`).catch((error: unknown) => {
    if (!hasCode(error, 'EEXIST')) throw error
  })
  return readIfThere(file)
}

const missing = (message: string) => new KeyError('keystore_password_missing', message)
