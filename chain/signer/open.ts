/** Puts a signer together: the one in this process, or the client of the one that has its own. */
import type { Logger } from 'pino'
import { KeyRing } from '../keys/key-ring.js'
import { SignerClient } from './client.js'
import { SignerStartError } from './errors.js'
import type { SignerPlaces } from './places.js'
import { isLocalChain, type SignerPolicy } from './policy.js'
import { type LockFolder, SignerService, type SignerStatus } from './service.js'
import type { Signer } from './signer.js'

export { signerPlaces, signerSocketPath } from './places.js'

/** A signer with what its owner needs besides. */
export interface OpenSigner extends Signer {
  status(): SignerStatus | Promise<SignerStatus>
  close(): Promise<void>
}

/** `mayGenerate` says that a password may be made up, for local chains. */
export function openKeyRing(places: SignerPlaces, mayGenerate: boolean): KeyRing {
  return new KeyRing({
    directory: places.keystoreDirectory,
    password: places.keystorePassword,
    passwordFile: places.keystorePasswordFile,
    mayGenerate,
  })
}

/** The signer in this process. It takes over the keys. Throws `SignerStartError`, `KeyError`. */
export async function openSignerService(
  places: SignerPlaces,
  policy: SignerPolicy,
  log: Logger,
  lock: LockFolder,
  keys: KeyRing = openKeyRing(
    places,
    [...policy.values()].every(({ chain }) => isLocalChain(chain)),
  ),
): Promise<SignerService> {
  try {
    await refuseToyKeys(policy, keys)
    return await SignerService.open({
      directory: places.directory,
      policy,
      keys,
      log,
      lock,
      onClose: () => keys.close(),
    })
  } catch (error) {
    await keys.close()
    throw error
  }
}

/** The signer in a process of its own. */
export const openSignerClient = (socketPath: string) => new SignerClient({ socketPath })

/** Keys whose password lies beside them are for chains that only this machine knows. */
async function refuseToyKeys(policy: SignerPolicy, keys: KeyRing): Promise<void> {
  for (const [wallet, { chain, key }] of policy) {
    if (isLocalChain(chain) || !key.startsWith('keystore:')) continue
    const { isForLocalChains, directory } = await keys.keystore()
    if (!isForLocalChains) continue
    throw new SignerStartError(
      'keys_unfit',
      `The wallet "${wallet}" pays on ${chain}, and the keystore ${directory} has a generated password beside its keys, ` +
        'which protects nothing. Make keys in a new KEYSTORE_DIR with KEYSTORE_PASSWORD_FILE set.',
    )
  }
}
