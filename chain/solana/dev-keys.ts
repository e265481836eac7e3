import { DomainError } from '../../engine/errors.js'

export const MAINNET_GENESIS_HASH = '5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d'

/** Throws `dev_key` for a key made for development on the Solana that has real money. */
export function assertNotDevKey(genesisHash: string, address: string, isDevelopmentKey: boolean): void {
  if (genesisHash !== MAINNET_GENESIS_HASH || !isDevelopmentKey) return
  throw new DomainError(
    'invalid',
    'dev_key',
    `${address} is a key for development and this is Solana's mainnet, with real money. Configure another key.`,
  )
}
