/** Whether a text was signed with the key of an address, as wallets sign texts (BJ-WAL-01). */
import { createPublicKey, verify } from 'node:crypto'
import { PublicKey } from '@solana/web3.js'
import { getAddress, isHex, verifyMessage } from 'viem'

/** What every ed25519 key begins with in its standard form (RFC 8410). */
const ED25519_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')
const ED25519_SIGNATURE_BYTES = 64

/** EVM: EIP-191, as `personal_sign` does it. Solana: ed25519 over the text, in base64. Never throws. */
export async function isSignedBy(chain: string, address: string, text: string, signature: string): Promise<boolean> {
  try {
    if (chain.startsWith('solana:')) return isSignedOnSolana(address, text, signature)
    if (!isHex(signature)) return false
    return await verifyMessage({ address: getAddress(address), message: text, signature })
  } catch {
    return false
  }
}

function isSignedOnSolana(address: string, text: string, signature: string): boolean {
  const bytes = Buffer.from(signature, 'base64')
  if (bytes.length !== ED25519_SIGNATURE_BYTES) return false
  const der = Buffer.concat([ED25519_PREFIX, new PublicKey(address).toBytes()])
  return verify(null, Buffer.from(text), createPublicKey({ key: der, format: 'der', type: 'spki' }), bytes)
}
