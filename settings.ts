/** Every setting, read once at start from the environment, with a clear message for each that is wrong. */
import { resolve } from 'node:path'
import { z } from 'zod'
import { batchContracts } from './batch-contracts.js'
import { defaultLimits } from './engine/limits.js'

const MiB = 1024 * 1024
const count = (fallback: number) => z.coerce.number().int().min(1).default(fallback)
const flag = z
  .enum(['true', 'false'])
  .default('false')
  .transform((text) => text === 'true')
const path = z
  .string()
  .transform((text) => resolve(text))
  .optional()
const list = z
  .string()
  .default('')
  .transform((text) =>
    text
      .split(',')
      .map((item) => item.trim())
      .filter(Boolean),
  )
const baseUrl = (fallback: string) =>
  z
    .url({ protocol: /^https?$/ })
    .default(fallback)
    .transform((text) => text.replace(/\/+$/, ''))

export const settingsSchema = z.object({
  HOST: z.string().default('127.0.0.1').describe('Address to listen on.'),
  PORT: z.coerce.number().int().min(0).max(65_535).default(8080).describe('Port to listen on; 0 takes a free one.'),
  DATA_DIR: z
    .string()
    .default('.data')
    .transform((path) => resolve(path))
    .describe('Journal, keys, mail, embedded Postgres.'),
  DATABASE_URL: z.url().optional().describe('A Postgres to use instead of the embedded one.'),
  REDIS_URL: z
    .url({ protocol: /^rediss?$/ })
    .optional()
    .describe('Redis (7 or newer) that joins gateways in other processes to the engine; without it there are none.'),
  REDIS_PREFIX: z
    .string()
    .regex(/^[\w:.-]{1,64}$/)
    .default('comptroller')
    .describe('Begins the names of channels in Redis; one for each engine that uses it.'),
  ADMIN_EMAIL: z.email().default('admin@example.com').describe('E-mail of the first administrator.'),
  ADMIN_PASSWORD: z
    .string()
    .min(8)
    .optional()
    .describe('Password of the first administrator; without it one is generated.'),
  LOG_LEVEL: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])
    .default('info')
    .describe('Log level.'),
  JOURNAL_SEGMENT_BYTES: count(64 * MiB).describe('Size at which a new journal segment begins.'),
  JOURNAL_RETAIN_BYTES: z.coerce
    .number()
    .int()
    .min(0)
    .default(256 * MiB)
    .describe('Applied journal kept for audits.'),
  JOURNAL_BACKLOG_BYTES_MAX: count(256 * MiB).describe('Unflushed journal past which inputs are refused.'),
  DISK_FREE_BYTES_MIN: z.coerce
    .number()
    .int()
    .min(0)
    .default(512 * MiB)
    .describe('Free disk space below which inputs are refused, and a start.'),
  DISK_CHECK_INTERVAL_MS: count(1_000).describe('How often free disk space is looked at.'),
  CACHED_ACTORS_MAX: count(defaultLimits.cachedActorsMax).describe('Members and accounts kept in memory.'),
  LAG_RECORDS_MAX: count(defaultLimits.lagRecordsMax).describe(
    'Records not yet in Postgres past which inputs get 503.',
  ),
  LOADING_INPUTS_MAX: count(defaultLimits.loadingInputsMax).describe(
    'Requests that may wait for a member to be loaded.',
  ),
  IDEMPOTENCY_ENTRIES_MAX: count(defaultLimits.idempotencyEntriesMax).describe('Idempotency keys kept in memory.'),
  TRUSTED_PROXIES: list.describe('Addresses or CIDR ranges whose X-Forwarded-For is believed, comma-separated.'),
  ALLOWED_ORIGINS: list.describe('Origins of other web pages that may call the API, comma-separated.'),
  RATE_LIMIT_LOOPBACK: flag.describe('Apply the limits per address to loopback clients too.'),
  RATE_LIMIT_SIGNUP_PER_MINUTE: count(60).describe('Sign-ups a minute and address.'),
  RATE_LIMIT_LOGIN_PER_MINUTE: count(60).describe('Logins a minute and address.'),
  RATE_LIMIT_ADDRESS_PER_SECOND: count(2_000).describe('Other requests a second and address.'),
  RATE_LIMIT_MEMBER_PER_SECOND: count(20).describe('Requests a second and member.'),
  RATE_LIMIT_MEMBER_BURST: count(100).describe('Requests a member may make at once.'),
  SOCKET_BACKPRESSURE_BYTES_MAX: count(512 * 1024).describe('Unsent bytes past which a slow socket is closed.'),
  SECRET_BOX_KEY: z
    .string()
    .optional()
    .describe('Base64 of 32 bytes that seal secrets at rest; else a file in DATA_DIR/keys.'),
  SIGNER_SOCKET: path.describe(
    'Socket of the signer, where it has a process of its own; else it runs in the engine’s.',
  ),
  SIGNER_POLICY: path.describe('File that says what the signer may sign.'),
  SIGNER_DIR: path.describe('Log, lock and stop switch of the signer; else DATA_DIR/signer.'),
  KEYSTORE_DIR: path.describe('Encrypted keys of wallets; else DATA_DIR/keystore.'),
  KEYSTORE_PASSWORD_FILE: path.describe('File with the password of the keystore.'),
  KEYSTORE_PASSWORD: z.string().optional().describe('The password of the keystore itself.'),
  PAYOUTS: z
    .enum(['local-evm', 'local-solana', 'evm', 'solana', 'off'])
    .default('local-evm')
    .describe('The chain that payouts go to: one that is brought up on this machine, a real one, or none.'),
  CHAIN_RPC_URLS: list.describe(
    'Nodes of a real chain, comma-separated, the preferred one first; two or more are best.',
  ),
  CHAIN_ID: z.string().optional().describe('EVM: the chain id (Polygon is 137). Solana: mainnet, devnet or testnet.'),
  CHAIN_TOKEN: z.string().optional().describe('Contract or mint of the token that is paid in.'),
  CHAIN_CONFIRMATIONS: count(10).describe('EVM: blocks after which a payout is final.'),
  CHAIN_POLL_INTERVAL_MS: count(500).describe('How often the chain is looked at while payouts are under way.'),
  CHAIN_STUCK_AFTER_MS: count(60_000).describe('Without being mined for so long, a payout is sent at higher fees.'),
  CHAIN_BATCH_CONTRACTS: batchContracts
    .optional()
    .describe('EVM: contracts that pay many at once, pool=address, comma-separated; or deploy, on a local chain.'),
  BREVO_API_KEY: z
    .string()
    .optional()
    .describe('Send mail through Brevo; without it mails are files in DATA_DIR/mail.'),
  MAIL_FROM: z.email().default('no-reply@example.com').describe('Sender of mails.'),
  OPENAI_API_KEY: z
    .string()
    .optional()
    .describe('Have messages reviewed by OpenAI after they are sent; without it nobody but people moderates.'),
  OPENAI_BASE_URL: baseUrl('https://api.openai.com/v1').describe('Where OpenAI’s API is, with its version.'),
  GOOGLE_TRANSLATE_API_KEY: z
    .string()
    .optional()
    .describe('Translate messages with Google Cloud Translation; without it nothing is translated.'),
  GOOGLE_TRANSLATE_BASE_URL: baseUrl('https://translation.googleapis.com').describe('Where Google’s API is.'),
  TRANSLATION_LANGUAGES: list
    .prefault('en,es,pt')
    .describe('Languages that messages are translated into, as Google names them, comma-separated.'),
  EMOTES: z
    .enum(['7tv', 'off'])
    .default('7tv')
    .describe('Load the emotes everybody has from 7TV every hour, or have none.'),
  SEVENTV_EMOTE_SET_ID: z
    .string()
    .regex(/^[0-9A-Za-z]+$/)
    .optional()
    .describe('A set of 7TV to use instead of its global one.'),
  HLS_URL_TEMPLATE: z
    .string()
    .regex(/^https?:\/\/\S*\{stream_key\}\S*$/, 'a web address with {stream_key} in it')
    .default('https://cdn.blakjaks.com/hls/{stream_key}.m3u8')
    .describe('Where the stream of a live event is played; {stream_key} stands for its key.'),
  SEVENTV_API_BASE_URL: baseUrl('https://7tv.io/v3').describe('Where 7TV’s API is, with its version.'),
})

export type Settings = z.output<typeof settingsSchema>

export class SettingsError extends Error {
  override readonly name = 'SettingsError'
}

/** A real chain needs to be named whole. */
function checkChain(settings: Settings, context: z.RefinementCtx): void {
  const { PAYOUTS, CHAIN_RPC_URLS, CHAIN_ID, CHAIN_TOKEN, SIGNER_SOCKET, SIGNER_POLICY } = settings
  checkBatchContracts(settings, context)
  if (PAYOUTS !== 'evm' && PAYOUTS !== 'solana') return
  const missing = (name: string) =>
    context.addIssue({ code: 'custom', path: [name], message: `PAYOUTS=${PAYOUTS} needs it` })
  if (CHAIN_RPC_URLS.length === 0) missing('CHAIN_RPC_URLS')
  if (CHAIN_ID === undefined) missing('CHAIN_ID')
  if (CHAIN_TOKEN === undefined) missing('CHAIN_TOKEN')
  if (SIGNER_SOCKET === undefined && SIGNER_POLICY === undefined) missing('SIGNER_POLICY')
}

function checkBatchContracts({ PAYOUTS, CHAIN_BATCH_CONTRACTS: asked }: Settings, context: z.RefinementCtx): void {
  if (asked === undefined || PAYOUTS === 'local-evm' || PAYOUTS === 'off') return
  if (PAYOUTS === 'evm' && asked !== 'deploy') return
  const message = PAYOUTS === 'evm' ? 'deploy is for local chains: see docs/payouts.md' : 'only EVM chains have them'
  context.addIssue({ code: 'custom', path: ['CHAIN_BATCH_CONTRACTS'], message })
}

/** Throws {@link SettingsError} naming every setting that is wrong. */
export function readSettings(environment: Readonly<Record<string, string | undefined>>): Settings {
  const given = Object.fromEntries(
    Object.entries(environment).filter(([, value]) => value !== undefined && value !== ''),
  )
  const parsed = settingsSchema.superRefine(checkChain).safeParse(given)
  if (parsed.success) return parsed.data
  const problems = parsed.error.issues.map(({ path, message }) => {
    const name = String(path[0])
    return `  ${name}=${name.includes('PASSWORD') || name.includes('KEY') ? '…' : (given[name] ?? '')}: ${message}`
  })
  throw new SettingsError(
    `These settings are wrong:\n${problems.join('\n')}\nEvery setting is listed in docs/operating.md.`,
  )
}
