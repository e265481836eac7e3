/** The keys of all providers under one roof: `keystore:NAME`, `gcp-kms:NAME`, `aws-kms:NAME`. */
import type { AwsKms } from './aws-kms.js'
import { KeyError } from './errors.js'
import type { GcpKms } from './gcp-kms.js'
import type { KeyProvider, SigningKey } from './key-provider.js'
import { Keystore } from './keystore.js'
import { findPassword, type PasswordSource } from './password.js'

export class KeyRing implements KeyProvider {
  #keystore: Promise<Keystore> | undefined
  #gcp: Promise<GcpKms> | undefined
  #aws: Promise<AwsKms> | undefined

  constructor(private readonly source: PasswordSource) {}

  /** Opened when it is needed first; throws `keystore_password_missing`. */
  keystore(): Promise<Keystore> {
    this.#keystore ??= findPassword(this.source).then(
      (password) => new Keystore({ directory: this.source.directory, password }),
    )
    return this.#keystore
  }

  async key(uri: string): Promise<SigningKey> {
    const [, provider, name = ''] = /^([a-z-]+):(.+)$/.exec(uri) ?? []
    if (provider === 'keystore') return (await this.keystore()).key(name)
    if (provider === 'gcp-kms') return (await this.#gcpKms()).key(name)
    if (provider === 'aws-kms') return (await this.#awsKms()).key(name)
    throw new KeyError(
      'key_missing',
      `"${uri}" names no key: it must begin with keystore:, gcp-kms: or aws-kms:, and then the name there.`,
    )
  }

  async close(): Promise<void> {
    const opened = await Promise.allSettled([this.#keystore, this.#gcp, this.#aws])
    await Promise.all(opened.map((provider) => (provider.status === 'fulfilled' ? provider.value?.close() : undefined)))
  }

  /** The clients of the clouds take long to load, so only who uses them waits for it. */
  #gcpKms(): Promise<GcpKms> {
    this.#gcp ??= import('./gcp-kms.js').then(({ openGcpKms }) => openGcpKms())
    return this.#gcp
  }

  #awsKms(): Promise<AwsKms> {
    this.#aws ??= import('./aws-kms.js').then(({ openAwsKms }) => openAwsKms())
    return this.#aws
  }
}
