/** Puts a signer together: the one in this process, or the client of the one that has its own. */
import { join } from 'node:path'
import type { Logger } from 'pino'
import { KeyRing } from '../keys/key-ring.js'
import { SignerClient } from './client.js'
import { SignerStartError } from './errors.js'
import { isLocalChain, type SignerPolicy } from './policy.js'
import { SignerService, type SignerStatus } from './service.js'
import type { Signer } from './signer.js'

/** A signer with what its owner needs besides. */
export interface OpenSigner extends Signer {
  status(): SignerStatus | Promise<SignerStatus>
  close(): Promise<void>
}

export interface SignerPlaces {
  /** Log, lock and stop switch: SIGNER_DIR. */
  readonly directory: string
  /** KEYSTORE_DIR. */
  readonly keystoreDirectory: string
  readonly keystorePassword: string | undefined
  readonly keystorePasswordFile: string | undefined
}

export interface SignerSettings {
  readonly DATA_DIR: string
  readonly SIGNER_DIR?: string | undefined
  readonly SIGNER_SOCKET?: string | undefined
  readonly KEYSTORE_DIR?: string | undefined
  readonly KEYSTORE_PASSWORD?: string | undefined
  readonly KEYSTORE_PASSWORD_FILE?: string | undefined
}

export function signerPlaces(settings: SignerSettings): SignerPlaces {
  return {
    directory: settings.SIGNER_DIR ?? join(settings.DATA_DIR, 'signer'),
    keystoreDirectory: settings.KEYSTORE_DIR ?? join(settings.DATA_DIR, 'keystore'),
    keystorePassword: settings.KEYSTORE_PASSWORD,
    keystorePasswordFile: settings.KEYSTORE_PASSWORD_FILE,
  }
}

/** Where the signer's process listens when SIGNER_SOCKET does not say. */
export const signerSocketPath = (settings: SignerSettings) =>
  settings.SIGNER_SOCKET ?? join(signerPlaces(settings).directory, 'socket', 'signer.sock')

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
  keys: KeyRing = openKeyRing(
    places,
    [...policy.values()].every(({ chain }) => isLocalChain(chain)),
  ),
): Promise<SignerService> {
  try {
    await refuseToyKeys(policy, keys)
    return await SignerService.open({ directory: places.directory, policy, keys, log, onClose: () => keys.close() })
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
