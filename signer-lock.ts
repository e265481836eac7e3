import { signerLocked } from './chain/signer/errors.js'
import { lockDirectory } from './persistence/directory-lock.js'

/** One signer per folder (S4), locked as the journal is. */
export function lockSigner(directory: string): Promise<() => Promise<void>> {
  return lockDirectory(directory, {
    role: 'signer',
    held: (pid, lockFile) => signerLocked(directory, pid, lockFile),
  })
}
