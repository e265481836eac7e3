/**
 * AES-256-GCM for fields at rest (BJ-T55): TOTP secrets, tax ids, tokens of other services.
 *
 * E1 A sealed text opens only under the purpose it was sealed for.
 * E2 Anything altered is refused as a whole; nothing is returned unauthenticated.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { assert } from '../../engine/assert.js'
import { createPrivateFile, makePrivateDirectory, readPrivateFile } from './private-files.js'

const ALGORITHM = 'aes-256-gcm'
const VERSION = 'v1'
const KEY_BYTES = 32
const IV_BYTES = 12
const TAG_BYTES = 16
const KEY_FILE = 'box.key'

/** What was to be opened is altered, sealed for another purpose, or sealed under another key. */
export class SecretBoxError extends Error {
  override readonly name = 'SecretBoxError'
}

export interface SecretBoxOptions {
  /** Where the key file is, or is made when neither it nor a key is given. */
  readonly directory: string
  /** The setting SECRET_BOX_KEY: 32 bytes in base64. It takes the place of the file. */
  readonly keyBase64?: string
}

export class SecretBox {
  readonly #key: Uint8Array

  constructor(key: Uint8Array) {
    assert(key.length === KEY_BYTES, `a secret box key has ${KEY_BYTES} bytes`)
    this.#key = key
  }

  static async load(options: SecretBoxOptions): Promise<SecretBox> {
    if (options.keyBase64 !== undefined) {
      const key = Buffer.from(options.keyBase64, 'base64')
      if (key.length !== KEY_BYTES) throw new Error(`SECRET_BOX_KEY must be ${KEY_BYTES} bytes in base64`)
      return new SecretBox(key)
    }
    const path = join(options.directory, KEY_FILE)
    await makePrivateDirectory(options.directory)
    if ((await readPrivateFile(path)) === undefined) await createPrivateFile(path, randomBytes(KEY_BYTES))
    const key = await readPrivateFile(path)
    if (key?.length !== KEY_BYTES) throw new Error(`${path} must hold ${KEY_BYTES} bytes`)
    return new SecretBox(key)
  }

  /** `v1.<iv>.<ciphertext>.<tag>`, each base64url. `purpose` names the field, and best its owner: `totp:42`. */
  seal(purpose: string, plaintext: string): string {
    const iv = randomBytes(IV_BYTES)
    const cipher = createCipheriv(ALGORITHM, this.#key, iv, { authTagLength: TAG_BYTES })
    cipher.setAAD(Buffer.from(purpose)) // E1
    const ciphertext = Buffer.concat([cipher.update(plaintext, 'utf8'), cipher.final()])
    return [VERSION, ...[iv, ciphertext, cipher.getAuthTag()].map((part) => part.toString('base64url'))].join('.')
  }

  /** The plaintext; throws {@link SecretBoxError} when the text was not sealed here for this purpose. */
  open(purpose: string, sealed: string): string {
    const [version, ...texts] = sealed.split('.')
    const parts = texts.map((text) => Buffer.from(text, 'base64url'))
    const isCanonical = parts.length === 3 && parts.every((part, at) => part.toString('base64url') === texts[at])
    const [iv, ciphertext, tag] = parts
    if (version !== VERSION || !isCanonical || iv?.length !== IV_BYTES || !ciphertext || tag?.length !== TAG_BYTES) {
      throw new SecretBoxError('not a sealed text')
    }
    const decipher = createDecipheriv(ALGORITHM, this.#key, iv, { authTagLength: TAG_BYTES })
    decipher.setAAD(Buffer.from(purpose)) // E1
    decipher.setAuthTag(tag)
    try {
      return Buffer.concat([decipher.update(ciphertext), decipher.final()]).toString('utf8') // E2
    } catch {
      throw new SecretBoxError(`a sealed text for ${purpose} did not open`)
    }
  }

  /** 32 bytes for another use, from which neither the box's key nor any other use's key can be told. */
  deriveKey(use: string): Uint8Array {
    return new Uint8Array(hkdfSync('sha256', this.#key, new Uint8Array(0), `comptroller:${use}`, KEY_BYTES))
  }
}
