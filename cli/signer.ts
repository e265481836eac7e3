/** `comptroller signer`: the signer in a process of its own, and its stop switch. */
import pino from 'pino'
import { type SignerSettings, signerPlaces, signerSocketPath } from '../chain/signer/places.js'
import { isStopped, pullStopSwitch, releaseStopSwitch, stopFilePath } from '../chain/signer/stop-switch.js'
import { lockSigner } from '../signer-lock.js'
import { CliError } from './api.js'

const STOP_TIMEOUT_MS = 15_000

export interface SignerProcessSettings extends SignerSettings {
  readonly SIGNER_POLICY?: string | undefined
  readonly LOG_LEVEL: string
}

/** Signs until SIGTERM or SIGINT; then what is in hand is answered first. */
export async function runSigner(settings: SignerProcessSettings): Promise<void> {
  if (settings.SIGNER_POLICY === undefined) {
    throw new CliError(
      'SIGNER_POLICY names no file. Write the policy of the signer (docs/payouts.md) and name it there.',
    )
  }
  // They take half a second to load, which stopping it must not wait for.
  const [{ openSignerService }, { readPolicy }, { SignerServer }] = await Promise.all([
    import('../chain/signer/open.js'),
    import('../chain/signer/policy.js'),
    import('../chain/signer/server.js'),
  ])
  const log = pino({ level: settings.LOG_LEVEL, name: 'signer' })
  const policy = await readPolicy(settings.SIGNER_POLICY)
  const places = signerPlaces(settings)
  const service = await openSignerService(places, policy, log, lockSigner)
  const server = await SignerServer.start(service, signerSocketPath(settings), log).catch(async (error: unknown) => {
    await service.close()
    throw error
  })
  let isAsked = false
  const stop = (signal: string) => {
    if (isAsked) return
    isAsked = true
    log.info({ signal }, 'stopping')
    setTimeout(() => process.exit(1), STOP_TIMEOUT_MS).unref()
    void server.stop().then(async () => {
      await service.close()
      log.info('stopped')
      process.exit(0)
    })
  }
  process.on('SIGTERM', () => stop('SIGTERM'))
  process.on('SIGINT', () => stop('SIGINT'))

  const lines = [`The signer listens at ${server.socketPath}`]
  for (const [wallet, { chain }] of policy) lines.push(`${wallet}: ${await service.address(wallet)} on ${chain}`)
  if (isStopped(places.directory)) lines.push('It is stopped and refuses everything: comptroller signer resume')
  process.stdout.write(`\n  ${lines.join('\n  ')}\n\n`)
}

/** From here on every request is refused, by a signer that runs and by one that is started. */
export async function stopSigning(settings: SignerSettings, reason: string): Promise<void> {
  const { directory } = signerPlaces(settings)
  const isNew = await pullStopSwitch(directory, reason)
  const what = isNew ? 'The signer signs nothing from now on' : 'The signer was stopped already'
  process.stdout.write(`${what} (${stopFilePath(directory)}). To go on: comptroller signer resume\n`)
}

export async function resumeSigning(settings: SignerSettings): Promise<void> {
  const isReleased = await releaseStopSwitch(signerPlaces(settings).directory)
  process.stdout.write(isReleased ? 'The signer signs again.\n' : 'The signer was not stopped.\n')
}
