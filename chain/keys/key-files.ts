/** The folder of a keystore: one file per key, named after it. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createDurably, ensurePrivateFolder, hasCode } from './durable-file.js'
import { KeyError } from './errors.js'
import { damaged, formatKeyFile, KEY_NAME, type KeyDescription, parseKeyFile, type SealedKey } from './sealed-key.js'

const SUFFIX = '.key.json'

export const keyFilePath = (directory: string, name: string) => join(directory, `${name}${SUFFIX}`)

export function assertKeyName(name: string): void {
  if (KEY_NAME.test(name)) return
  throw new KeyError(
    'key_name_wrong',
    `"${name}" is no name for a key: use up to 63 lower-case letters, digits and hyphens, beginning with a letter or digit.`,
  )
}

async function keyNames(directory: string): Promise<string[]> {
  const files = await readdir(directory).catch((error: unknown) => {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  })
  return files
    .filter((file) => file.endsWith(SUFFIX))
    .map((file) => file.slice(0, -SUFFIX.length))
    .toSorted()
}

export const hasKeys = async (directory: string) => (await keyNames(directory)).length > 0

/** Names and addresses, by name; needs no password, and so believes what the files say. */
export async function listKeys(directory: string): Promise<KeyDescription[]> {
  const sealed = await Promise.all((await keyNames(directory)).map((name) => readKeyFile(directory, name)))
  return sealed.map(({ name, kind, address, created_at }) => ({ name, kind, address, created_at }))
}

/** Throws `key_missing` or `keystore_damaged`. */
export async function readKeyFile(directory: string, name: string): Promise<SealedKey> {
  assertKeyName(name)
  const file = keyFilePath(directory, name)
  const text = await readFile(file, 'utf8').catch(async (error: unknown) => {
    if (!hasCode(error, 'ENOENT')) throw error
    const names = await keyNames(directory)
    const others = names.length === 0 ? 'It is empty.' : `It has: ${names.join(', ')}.`
    throw new KeyError(
      'key_missing',
      `There is no key "${name}" in ${directory}. ${others} Make it with \`comptroller keys create\`.`,
    )
  })
  const sealed = parseKeyFile(text, file)
  if (sealed.name !== name) throw damaged(file, `it holds the key "${sealed.name}"`)
  return sealed
}

/** Throws `key_exists`; never replaces a key. */
export async function createKeyFile(directory: string, key: SealedKey): Promise<void> {
  await ensurePrivateFolder(directory)
  await createDurably(keyFilePath(directory, key.name), formatKeyFile(key)).catch((error: unknown) => {
    if (!hasCode(error, 'EEXIST')) throw error
    throw new KeyError(
      'key_exists',
      `There is a key "${key.name}" in ${directory} already, and keys are never replaced. Choose another name.`,
    )
  })
}
