/** `comptroller`: the command line. Run `comptroller --help`. */
import { Command, Option } from 'commander'
import pino from 'pino'
import { KeyError } from './chain/keys/errors.js'
import { SignerStartError } from './chain/signer/errors.js'
import { ApiClient, CliError, findServer } from './cli/api.js'
import { exportCodesTo, generateCodes, importFeedbackFrom } from './cli/codes.js'
import { exitCodeOf } from './cli/exit-codes.js'
import { inspectJournal, repairJournalOf, verifyJournalOf } from './cli/journal.js'
import { count } from './cli/options.js'
import { listParkedRows, retryAllParkedRows, retryParkedRow, showParkedRow } from './cli/parked.js'
import { runTraffic } from './cli/traffic.js'
import { DomainError } from './engine/errors.js'
import { DiskShortError } from './persistence/disk-guard.js'
import { JournalDamagedError, JournalLockedError } from './persistence/journal/errors.js'
import { readSettings, SettingsError } from './settings.js'

const settings = () => readSettings(process.env)

const url = new Option('--url <url>', 'the server; by default the one that runs on DATA_DIR')

async function adminApi(options: { url?: string }): Promise<ApiClient> {
  const { DATA_DIR, ADMIN_EMAIL, ADMIN_PASSWORD } = settings()
  const api = new ApiClient(options.url ?? (await findServer(DATA_DIR)))
  await api.logInAsAdmin(DATA_DIR, ADMIN_EMAIL, ADMIN_PASSWORD)
  return api
}

const program = new Command('comptroller')
  .description('The real-time core of a loyalty platform: it counts, decides and pays.')
  .version('0.1.0')
  .showHelpAfterError('(run with --help for what it takes)')
  .addHelpText('after', '\nSettings come from the environment (PORT, DATA_DIR, …): see docs/operating.md.')

program
  .command('start')
  .description('start the server; everything it needs is embedded')
  .action(async () => {
    // The whole server takes half a second to load; the commands that do without it answer at once.
    const { start } = await import('./cli/start.js')
    return start(settings())
  })

program
  .command('gateway')
  .description('serve sockets for an engine in another process that has the same Redis')
  .option('--redis <url>', 'the Redis that joins them; REDIS_URL by default')
  .option('--port <n>', 'port to listen on, 0 takes a free one; PORT by default')
  .option('--host <address>', 'address to listen on; HOST by default')
  .action(async (options: { redis?: string; port?: string; host?: string }) => {
    const { runGateway } = await import('./cli/gateway.js')
    return runGateway(options)
  })

program
  .command('seed')
  .description('fill the data of a stopped server with members and active codes')
  .option('--users <n>', 'members to add', count)
  .option('--codes <n>', 'active codes to add', count)
  .action(async ({ users = 0, codes = 0 }: { users?: number; codes?: number }) => {
    const { seed } = await import('./cli/seed.js')
    return seed(settings(), users, codes)
  })

program
  .command('traffic')
  .description('send realistic scans to a running server at a fixed rate, and show live numbers')
  .option('--rate <n>', 'scans a second', count, 50)
  .option('--seconds <n>', 'how long', count, 60)
  .addOption(url)
  .action(async (options: { rate: number; seconds: number; url?: string }) =>
    runTraffic(await adminApi(options), options),
  )

const journal = program.command('journal').description('look into the journal of DATA_DIR')
journal
  .command('inspect')
  .description('list segments, or with --from the records themselves as JSON lines')
  .option('--from <seq>', 'first record to print', count)
  .option('--limit <n>', 'records to print', count, 20)
  .action((options: { from?: number; limit: number }) => inspectJournal(settings().DATA_DIR, options))
journal
  .command('verify')
  .description('check every byte; exits with 1 and names the position when something is damaged')
  .action(() => verifyJournalOf(settings().DATA_DIR))
journal
  .command('repair')
  .description('cut off a batch a crash left half-written, of a stopped server; refuses anything else')
  .option('--yes', 'do it; without it, only what it would do is told')
  .action((options: { yes?: boolean }) => repairJournalOf(settings().DATA_DIR, options))

const codes = program.command('codes').description('batches of codes, through the API of a running server')
codes
  .command('generate')
  .description('generate a batch and wait until it is complete')
  .requiredOption('--quantity <n>', 'how many', count)
  .option('--name <text>', 'name of the batch', 'batch')
  .option('--sku <sku>', 'product', 'SPEARMINT-3MG')
  .addOption(url)
  .action(async (options: { quantity: number; name: string; sku: string; url?: string }) => {
    const { quantity, name, sku } = options
    const batch = await generateCodes(await adminApi(options), { name, quantity, product_sku: sku })
    process.stdout.write(`${batch}\n`)
  })
codes
  .command('export')
  .description('write the codes of a batch as CSV')
  .argument('<batch>', 'its number', count)
  .option('--out <file>', 'a file instead of standard output')
  .addOption(url)
  .action(async (batch: number, options: { out?: string; url?: string }) =>
    exportCodesTo(await adminApi(options), batch, options.out),
  )
codes
  .command('import')
  .description("activate the codes in the manufacturer's CSV")
  .argument('<file>', 'CSV with a column `code`')
  .addOption(url)
  .action(async (file: string, options: { url?: string }) => {
    const result = await importFeedbackFrom(await adminApi(options), file)
    process.stdout.write(`${JSON.stringify(result)}\n`)
  })

const parked = program.command('parked').description('rows that Postgres refused, through the API of a running server')
parked
  .command('list')
  .description('list them as JSON lines, oldest first')
  .option('--resolved', 'those that were written after all')
  .addOption(url)
  .action(async (options: { resolved?: boolean; url?: string }) =>
    listParkedRows(await adminApi(options), options.resolved ? 'resolved' : 'parked'),
  )
parked
  .command('show')
  .description('one of them, with its contents')
  .argument('<id>', 'its number', count)
  .addOption(url)
  .action(async (id: number, options: { url?: string }) => showParkedRow(await adminApi(options), id))
parked
  .command('retry')
  .description('write one after all, or --all; exits with 1 if any stays parked')
  .argument('[id]', 'its number', count)
  .option('--all', 'every one, oldest first')
  .addOption(url)
  .action(async (id: number | undefined, options: { all?: boolean; url?: string }) => {
    if ((id === undefined) === (options.all !== true)) throw new CliError('Name one row by its number, or say --all.')
    const api = await adminApi(options)
    return id === undefined ? retryAllParkedRows(api) : retryParkedRow(api, id)
  })

const keys = program.command('keys').description('keys of wallets, in the encrypted keystore (KEYSTORE_DIR)')
keys
  .command('create')
  .description('make a key and tell its address; the key itself is never shown')
  .argument('<name>', 'lower-case letters, digits and hyphens')
  .addOption(new Option('--kind <kind>', 'the chain it is for').choices(['evm', 'solana']).makeOptionMandatory())
  .option('--local', 'for local chains: without a password set, make one up and keep it beside the keys')
  .action(async (name: string, options: { kind: 'evm' | 'solana'; local?: boolean }) => {
    const { createKey } = await import('./cli/keys.js')
    return createKey(settings(), name, options)
  })
keys
  .command('list')
  .description('names and addresses')
  .action(async () => {
    const { printKeys } = await import('./cli/keys.js')
    return printKeys(settings())
  })

const signer = program
  .command('signer')
  .description(
    'run the signer in a process of its own: SIGNER_POLICY says what it signs, SIGNER_SOCKET where it listens',
  )
  .action(async () => {
    const { runSigner } = await import('./cli/signer.js')
    return runSigner(settings())
  })
signer
  .command('stop')
  .description('refuse every request from now on, until `signer resume`')
  .option('--reason <text>', 'noted in the file that is the switch', 'by hand')
  .action(async ({ reason }: { reason: string }) => {
    const { stopSigning } = await import('./cli/signer.js')
    return stopSigning(settings(), reason)
  })
signer
  .command('resume')
  .description('sign again')
  .action(async () => {
    const { resumeSigning } = await import('./cli/signer.js')
    return resumeSigning(settings())
  })

/** Expected failures are told in a sentence; anything else is a bug and shows its stack. */
function report(error: unknown): void {
  const ofJournal = [DiskShortError, JournalDamagedError, JournalLockedError]
  const expected = [CliError, SettingsError, DomainError, KeyError, SignerStartError, ...ofJournal]
  if (expected.some((type) => error instanceof type)) process.stderr.write(`${(error as Error).message}\n`)
  else pino(pino.destination(2)).fatal(error)
  process.exit(exitCodeOf(error))
}

try {
  await program.parseAsync()
} catch (error) {
  report(error)
}
