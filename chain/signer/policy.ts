/** What a signer may sign, per wallet: from its own file, never from a request. */
import { readFile } from 'node:fs/promises'
import { TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID } from '@solana/spl-token'
import { PublicKey } from '@solana/web3.js'
import { type Address, getAddress, isAddress } from 'viem'
import { z } from 'zod'
import { SignerStartError } from './errors.js'
import type { WalletName } from './signer.js'

/** Amounts in minor units of the wallet's asset. Each may be reached and not passed. */
export interface SpendingLimits {
  readonly payout: bigint
  /** To one payee, in a day of UTC. */
  readonly destinationDay: bigint
  /** In any 60 minutes. */
  readonly hour: bigint
  /** In a day of UTC. */
  readonly day: bigint
}

interface AnyWalletPolicy {
  /** As in CAIP-2. */
  readonly chain: string
  /** Where its key is: `keystore:NAME`, `gcp-kms:NAME`, `aws-kms:NAME`. */
  readonly key: string
  readonly limits: SpendingLimits
  /** Different transactions that may be signed for one payout, the first included. */
  readonly signaturesMax: number
}

export interface EvmWalletPolicy extends AnyWalletPolicy {
  readonly kind: 'evm'
  readonly chainId: number
  /** The ERC-20 it pays in; null for the chain's own coin. */
  readonly token: Address | null
  /** The most a transaction may cost: gas times fee, in wei. */
  readonly feeMax: bigint
  /** The contract through which it may pay many at once; null when it may not. */
  readonly batchContract: Address | null
}

export interface SolanaMint {
  readonly address: PublicKey
  readonly decimals: number
  readonly program: PublicKey
}

export interface SolanaWalletPolicy extends AnyWalletPolicy {
  readonly kind: 'solana'
  /** The SPL token it pays in; null for SOL. */
  readonly mint: SolanaMint | null
  /** The most a transaction may pay for priority, in lamports. */
  readonly feeMax: bigint
  /** How long after one transaction of a payout another may be signed: less than a blockhash lives, in milliseconds. */
  readonly resignAfterMs: number
}

export type WalletPolicy = EvmWalletPolicy | SolanaWalletPolicy
export type SignerPolicy = ReadonlyMap<WalletName, WalletPolicy>

export const PAYOUT_ID_CHARACTERS_MAX = 128
const SIGNATURES_MAX_DEFAULT = 16
const RESIGN_AFTER_MS_DEFAULT = 45_000
const tokenPrograms = {
  token: TOKEN_PROGRAM_ID,
  'token-2022': TOKEN_2022_PROGRAM_ID,
} as const
/** Chains that only this machine knows. */
const LOCAL_CHAINS = /^(eip155:(31337|1337)|solana:(local|localnet|dev))$/

export const isLocalChain = (chain: string) => LOCAL_CHAINS.test(chain)

const amount = z
  .string()
  .regex(/^[0-9]{1,38}$/, 'must be a whole number in minor units, in quotes')
  .transform(BigInt)
const anyWallet = {
  key: z.string().regex(/^(keystore|gcp-kms|aws-kms):.+/, 'must begin with keystore:, gcp-kms: or aws-kms:'),
  limits: z
    .strictObject({ payout: amount, destination_day: amount, hour: amount, day: amount })
    .transform(({ destination_day: destinationDay, ...rest }): SpendingLimits => ({ destinationDay, ...rest })),
  fee_max: amount,
  signatures_max: z.number().int().min(1).max(100).default(SIGNATURES_MAX_DEFAULT),
}
const evmAddress = z
  .string()
  .refine((text) => isAddress(text), 'must be a checksummed address')
  .transform((text) => getAddress(text))
const evmWallet = z
  .strictObject({
    ...anyWallet,
    chain: z.string().regex(/^eip155:[1-9][0-9]{0,14}$/),
    asset: z.union([z.literal('native'), z.strictObject({ token: evmAddress })]),
    batch_contract: evmAddress.nullable().default(null),
  })
  .refine(({ asset, batch_contract }) => batch_contract === null || asset !== 'native', {
    path: ['batch_contract'],
    message: 'pays in tokens only',
  })
  .transform(
    ({ chain, key, limits, asset, fee_max, signatures_max, batch_contract }): EvmWalletPolicy => ({
      kind: 'evm',
      chain,
      chainId: Number(chain.slice('eip155:'.length)),
      key,
      limits,
      signaturesMax: signatures_max,
      token: asset === 'native' ? null : asset.token,
      feeMax: fee_max,
      batchContract: batch_contract,
    }),
  )
const publicKey = z.string().transform((text, context) => {
  try {
    return new PublicKey(text)
  } catch {
    context.addIssue({ code: 'custom', message: 'must be an address in base58' })
    return z.NEVER
  }
})
const solanaWallet = z
  .strictObject({
    ...anyWallet,
    chain: z.string().regex(/^solana:[\w-]{1,64}$/),
    asset: z.union([
      z.literal('native'),
      z.strictObject({
        mint: publicKey,
        decimals: z.number().int().min(0).max(18),
        program: z.enum(['token', 'token-2022']).default('token'),
      }),
    ]),
    resign_after_ms: z.number().int().min(0).max(3_600_000).default(RESIGN_AFTER_MS_DEFAULT),
  })
  .transform(
    ({ asset, fee_max, signatures_max, resign_after_ms, ...rest }): SolanaWalletPolicy => ({
      kind: 'solana',
      ...rest,
      signaturesMax: signatures_max,
      mint:
        asset === 'native'
          ? null
          : { address: asset.mint, decimals: asset.decimals, program: tokenPrograms[asset.program] },
      feeMax: fee_max,
      resignAfterMs: resign_after_ms,
    }),
  )
const policyFile = z.strictObject({
  wallets: z.record(z.string().min(1).max(64), z.looseObject({ chain: z.string() })),
})

/** What a policy file says (`docs/payouts.md`). Throws `policy_wrong`, naming every place that is. */
export function parsePolicy(json: unknown, file: string): SignerPolicy {
  const parsed = policyFile.safeParse(json)
  if (!parsed.success) throw wrongPolicy(file, describe('', parsed.error))
  const policy = new Map<WalletName, WalletPolicy>()
  const problems: string[] = []
  for (const [name, wallet] of Object.entries(parsed.data.wallets)) {
    const schema = wallet.chain.startsWith('solana:') ? solanaWallet : evmWallet
    const result = schema.safeParse(wallet)
    if (result.success) policy.set(name, result.data)
    else problems.push(...describe(`wallets.${name}.`, result.error))
  }
  if (problems.length > 0) throw wrongPolicy(file, problems)
  return policy
}

export async function readPolicy(file: string): Promise<SignerPolicy> {
  let json: unknown
  try {
    json = JSON.parse(await readFile(file, 'utf8'))
  } catch (error) {
    throw wrongPolicy(file, [`  it cannot be read: ${error instanceof Error ? error.message : String(error)}`])
  }
  return parsePolicy(json, file)
}

const describe = (prefix: string, error: z.ZodError) =>
  error.issues.map(({ path, message }) => `  ${prefix}${path.join('.')}: ${message}`)

const wrongPolicy = (file: string, problems: readonly string[]) =>
  new SignerStartError(
    'policy_wrong',
    `The signer's policy ${file} is wrong:\n${problems.join('\n')}\nCorrect it; nothing is signed before it is right.`,
  )
