/** `comptroller keys create|list`: the keys of wallets, in the encrypted keystore. */
import { listKeys } from '../chain/keys/key-files.js'
import type { SigningKey } from '../chain/keys/key-provider.js'
import { type SignerSettings, signerPlaces } from '../chain/signer/places.js'

export interface CreateKeyOptions {
  readonly kind: SigningKey['kind']
  /** Whether a password may be generated, beside the keys. */
  readonly local?: boolean
}

/** Makes a key and tells its address; the key itself is never shown. */
export async function createKey(settings: SignerSettings, name: string, options: CreateKeyOptions): Promise<void> {
  const places = signerPlaces(settings)
  const { openKeyRing } = await import('../chain/signer/open.js')
  const ring = openKeyRing(places, options.local === true)
  try {
    const keystore = await ring.keystore()
    const { address, kind } = await keystore.create(name, options.kind)
    const warning = keystore.isForLocalChains
      ? '  Its password lies beside it: use it for local chains only.\n'
      : '  Back up this folder and, elsewhere, its password: without both the money of the wallet is lost.\n'
    process.stdout.write(
      `Made the key "${name}" (${kind}) in ${places.keystoreDirectory}\n  Address: ${address}\n` +
        `  In the signer's policy: "key": "keystore:${name}"\n${warning}`,
    )
  } finally {
    await ring.close()
  }
}

/** Names and addresses; needs no password. */
export async function printKeys(settings: SignerSettings): Promise<void> {
  const { keystoreDirectory } = signerPlaces(settings)
  const keys = await listKeys(keystoreDirectory)
  if (keys.length === 0) {
    process.stdout.write(`No keys in ${keystoreDirectory}. Make one with \`comptroller keys create <name>\`.\n`)
    return
  }
  const widest = Math.max(...keys.map(({ name }) => name.length))
  for (const { name, kind, address, created_at } of keys) {
    process.stdout.write(`${name.padEnd(widest)}  ${kind.padEnd(6)}  ${address.padEnd(44)}  made ${created_at}\n`)
  }
}
