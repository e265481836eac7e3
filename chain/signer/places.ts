/** Where a signer keeps what it has, by the settings. */
import { join } from 'node:path'

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
