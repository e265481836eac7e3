// Hunts: a signer behind a socket that answers otherwise than one in the process, a socket others may open, a caller
// that hangs or is lied to when the signer is killed, and keys that command line or settings give away.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { recoverTransactionAddress } from 'viem'
import { SignerClient } from '../chain/signer/client.js'
import { SignerServer } from '../chain/signer/server.js'
import type { SigningRequest } from '../chain/signer/signer.js'
import { root, until } from './support/server.js'
import { policyJson, type Scope, SignerBench, silent, temporaryFolder } from './support/signer.js'

const cli = join(root, 'dist', 'cli.js')

async function listen(t: Scope, bench: SignerBench) {
  const service = await bench.open()
  const socketPath = join(bench.folder, 'socket', 's.sock')
  const server = await SignerServer.start(service, socketPath, silent)
  const client = new SignerClient({ socketPath, reconnectPatienceMs: 300 })
  t.teardown(async () => {
    await client.close()
    await server.stop()
  })
  return { service, server, client, socketPath }
}

t.test('through the socket everything is the same: signatures, refusals, their codes', async (t) => {
  const bench = await SignerBench.create(t)
  const { service, client, socketPath } = await listen(t, bench)
  t.equal((await stat(socketPath)).mode & 0o777, 0o600)
  t.equal((await stat(join(bench.folder, 'socket'))).mode & 0o777, 0o700)
  for (const wallet of ['member', 'spl']) t.equal(await client.address(wallet), await service.address(wallet))
  const requests = [bench.evm('p', 0), bench.spl('q')]
  t.strictSame(await client.sign(requests), await service.sign(requests))
  t.strictSame(await client.sign([]), [])
  const wrong = [
    bench.evm('r', 0),
    bench.evm('p', 0, { amount: 99n }),
    { ...requests[0], payoutId: '' },
    { ...requests[0], wallet: 'x' },
  ]
  for (const request of wrong as SigningRequest[]) {
    const here = await service.sign([request]).catch((error: unknown) => error)
    await t.rejects(client.sign([request]), here as Error)
  }
  await t.rejects(client.address('x'), { name: 'SignerRefused', code: 'wallet_unknown' })
  const many = Array.from({ length: 257 }, (_, index) => bench.evm(`m${index}`, index + 10))
  await t.rejects(client.sign(many), { name: 'SignerRefused', code: 'batch_too_large' })
  t.match(await client.status(), { ...service.status() })
})

t.test('what is no request of ours is answered, and harms nobody', async (t) => {
  const bench = await SignerBench.create(t)
  const { client, socketPath } = await listen(t, bench)
  const ask = (method: string, path: string, body: string) =>
    new Promise<number | undefined>((resolve, reject) => {
      const sent = request({ socketPath, method, path }, (response) => {
        response.resume()
        resolve(response.statusCode)
      })
      sent.once('error', reject)
      sent.end(body)
    })
  t.equal(await ask('POST', '/v1/sign', 'no json'), 400)
  t.equal(await ask('POST', '/v1/sign', '{"requests":[{"wallet":"member"}]}'), 400)
  t.equal(await ask('POST', '/v1/sign', JSON.stringify({ requests: [{ ...bench.evm('p', 0), amount: '1.5' }] })), 400)
  t.equal(await ask('GET', '/v1/key', ''), 400)
  t.equal(await ask('POST', '/v1/sign', 'x'.repeat(3_000_000)).catch(() => 422), 422)
  t.equal((await client.sign([bench.evm('p', 0)])).length, 1)
})

t.test('two servers never share a socket, and a dead one is replaced', async (t) => {
  const bench = await SignerBench.create(t)
  const { service, socketPath } = await listen(t, bench)
  await t.rejects(SignerServer.start(service, socketPath, silent), { code: 'socket_in_use', message: /another signer/ })
  await t.rejects(SignerServer.start(service, join(bench.folder, 'x'.repeat(100)), silent), { message: /103 bytes/ })
  const file = join(bench.folder, 'socket', 'file')
  await writeFile(file, '')
  await t.rejects(SignerServer.start(service, file, silent), { code: 'socket_in_use', message: /no socket/ })
  await t.rejects(SignerServer.start(service, join(tmpdir(), 's.sock'), silent), { message: /others enter/ })
})

t.test('a signer that does not answer: the caller learns it in time, and what to do', async (t) => {
  const folder = await temporaryFolder(t)
  const socketPath = join(folder, 's.sock')
  const client = new SignerClient({ socketPath, callTimeoutMs: 100, reconnectPatienceMs: 50 })
  t.teardown(() => client.close())
  const unreachable = { name: 'SignerUnavailable', code: 'signer_unreachable', message: /comptroller signer/ }
  await t.rejects(client.address('member'), unreachable)
  const mute: Server = createServer((socket) => socket.resume()).listen(socketPath)
  await once(mute, 'listening')
  await t.rejects(client.address('member'), { name: 'SignerUnavailable', code: 'signer_timeout', message: /100 ms/ })
  mute.close()
  const liar = createServer((socket) => socket.resume().end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}'))
  await once(liar.listen(socketPath), 'listening')
  await t.rejects(client.address('member'), { code: 'signer_answer_wrong' })
  liar.close()
})

/** A command of ours, as a process. */
function run(
  env: NodeJS.ProcessEnv,
  args: readonly string[],
): { child: ChildProcess; said: () => string; code: Promise<number | null> } {
  const child = spawn(process.execPath, [cli, ...args], { env: { PATH: process.env.PATH, ...env } })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
  }
  return { child, said: () => said, code: once(child, 'close').then(([code]) => code) }
}

t.test('comptroller keys and signer: made, started, killed, started again, stopped', async (t) => {
  const folder = await temporaryFolder(t)
  const env = {
    DATA_DIR: folder,
    KEYSTORE_PASSWORD: 'a password of the command line',
    SIGNER_POLICY: join(folder, 'policy.json'),
    SIGNER_SOCKET: join(folder, 'run', 's.sock'),
  }
  const finished = async (args: readonly string[], more: NodeJS.ProcessEnv = {}) => {
    const process = run({ ...env, ...more }, args)
    return { code: await process.code, said: process.said() }
  }
  const expect = async (args: string, code: number, said: RegExp, more: NodeJS.ProcessEnv = {}) =>
    t.match(await finished(args.split(' '), more), { code, said }, args)
  const policyOf = (key: string) => JSON.stringify({ wallets: { member: { ...policyJson.wallets.member, key } } })
  await expect('keys list', 0, /No keys in .*keys create/)
  const made = await finished(['keys', 'create', 'member', '--kind', 'evm'])
  const address = /0x[0-9a-fA-F]{40}/.exec(made.said)?.[0] ?? ''
  t.match(made, { code: 0, said: /Back up this folder/ })
  const bad = join(folder, 'bad.json')
  await writeFile(bad, policyOf('member'))
  await writeFile(env.SIGNER_POLICY, policyOf('keystore:member'))
  await Promise.all([
    expect('keys list', 0, new RegExp(`^member  evm     ${address}`)),
    expect('keys create member --kind evm', 1, /^There is a key "member"/),
    expect('keys create m --kind evm', 1, /--local/, { KEYSTORE_PASSWORD: '' }),
    expect('signer', 1, /password does not open/, { KEYSTORE_PASSWORD: 'another password' }),
  ])
  await Promise.all([
    expect('keys --help', 0, /create[\s\S]*list/),
    expect('keys create m --kind btc', 1, /Allowed choices are evm, solana/),
    expect('signer', 1, /^SIGNER_POLICY names no file/, { SIGNER_POLICY: '' }),
    expect('signer', 1, /policy[\s\S]*wallets\.member\.key: must begin with keystore:/, { SIGNER_POLICY: bad }),
  ])

  const client = new SignerClient({ socketPath: env.SIGNER_SOCKET, reconnectPatienceMs: 300 })
  t.teardown(() => client.close())
  const start = async () => {
    const signer = run(env, ['signer'])
    t.teardown(async () => void signer.child.kill('SIGKILL'))
    await until('the signer listens', () => signer.said().includes('The signer listens at'))
    return signer
  }
  const bench = await SignerBench.create(t)
  const payout = bench.evm('p', 0)
  const first = await start()
  t.match(first.said(), new RegExp(`member: ${address} on eip155:137`))
  const [raw = ''] = await client.sign([payout])
  t.equal(await recoverTransactionAddress({ serializedTransaction: raw as `0x02${string}` }), address)
  await expect('signer', 1, /two signers must never/)

  first.child.kill('SIGKILL')
  await first.code
  await t.rejects(client.sign([payout]), { code: 'signer_unreachable' }, 'killed: a clear error, soon')
  const second = await start()
  t.strictSame(await client.sign([payout]), [raw], 'started again: the same signature')
  await t.rejects(client.sign([bench.evm('q', 0)]), { name: 'SignerRefused', code: 'nonce_taken' })

  await expect('signer stop --reason drill', 0, /signs nothing from now on/)
  await t.rejects(client.sign([payout]), { name: 'SignerRefused', code: 'stopped' })
  await expect('signer resume', 0, /signs again/)
  t.equal((await client.sign([payout])).length, 1)

  second.child.kill('SIGTERM')
  t.equal(await second.code, 0, second.said())
  await t.rejects(stat(env.SIGNER_SOCKET), { code: 'ENOENT' })
  for (const shown of [second.said(), made.said, await readFile(join(folder, 'signer', 'signatures.log'), 'utf8')]) {
    t.notMatch(shown, /a password of/)
  }
})

t.test('keys whose password was made up sign for local chains only', async (t) => {
  const folder = await temporaryFolder(t)
  const env = { DATA_DIR: folder, SIGNER_POLICY: join(folder, 'policy.json') }
  const made = run(env, ['keys', 'create', 'member', '--kind', 'evm', '--local'])
  t.equal(await made.code, 0, made.said())
  t.match(made.said(), /local chains only/)
  const { member } = policyJson.wallets
  await writeFile(env.SIGNER_POLICY, JSON.stringify({ wallets: { member: { ...member, key: 'keystore:member' } } }))
  const signer = run(env, ['signer'])
  t.equal(await signer.code, 1)
  t.match(signer.said(), /generated password beside its keys/)
})
