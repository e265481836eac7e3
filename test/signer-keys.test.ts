// Hunts: a key that leaks, is lost or is replaced; a wrong password taken for damage or the reverse; an answer of a KMS
// that is believed although it was corrupted, is malleable or belongs to another key.
import { chmod, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { inspect } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { bytesToHex, numberToHex, recoverAddress } from 'viem'
import { AwsKms } from '../chain/keys/aws-kms.js'
import { GcpKms } from '../chain/keys/gcp-kms.js'
import { listKeys } from '../chain/keys/key-files.js'
import type { EvmKey, KeyProvider, SolanaKey } from '../chain/keys/key-provider.js'
import { KeyRing } from '../chain/keys/key-ring.js'
import { Keystore } from '../chain/keys/keystore.js'
import { parseDer } from '../chain/keys/kms-answers.js'
import { findPassword } from '../chain/keys/password.js'
import {
  awsNames,
  type FakeKms,
  type Fault,
  gcpNames,
  someDigest,
  startFakeAws,
  startFakeGcp,
  toDer,
} from './support/kms.js'
import { temporaryFolder } from './support/signer.js'

const HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0n
/** Of a generated password, so that scrypt is quick. */
const password = (text = 'correct horse battery') => ({ secret: Buffer.from(text), isGenerated: true })

async function evmKey(provider: KeyProvider, name: string): Promise<EvmKey> {
  const key = await provider.key(name)
  if (key.kind !== 'evm') throw new Error(`${name} is ${key.kind}`)
  return key
}
async function solanaKey(provider: KeyProvider, name: string): Promise<SolanaKey> {
  const key = await provider.key(name)
  if (key.kind !== 'solana') throw new Error(`${name} is ${key.kind}`)
  return key
}
async function signerOf(key: EvmKey, digest = someDigest) {
  const { r, s, yParity } = await key.signDigest(digest)
  const signature = { r: numberToHex(r, { size: 32 }), s: numberToHex(s, { size: 32 }), yParity }
  return { signer: await recoverAddress({ hash: bytesToHex(digest), signature }), isLow: s <= HALF_ORDER }
}

t.test('a keystore makes keys, opens them again and lists them without a password', async (t) => {
  const directory = join(await temporaryFolder(t), 'keys')
  const first = new Keystore({ directory, password: password() })
  const evm = await first.create('member', 'evm')
  const solana = await first.create('member-solana', 'solana')
  await first.close()

  t.match(await listKeys(directory), [evm, solana])
  t.match(evm, { name: 'member', kind: 'evm', address: /^0x[0-9a-fA-F]{40}$/ })
  t.equal((await stat(directory)).mode & 0o777, 0o700)
  for (const file of await readdir(directory)) t.equal((await stat(join(directory, file))).mode & 0o777, 0o600, file)

  const again = new Keystore({ directory, password: password() })
  const key = await evmKey(again, 'member')
  t.equal(key.address, evm.address)
  t.strictSame(await signerOf(key), { signer: evm.address, isLow: true })
  const ed25519 = await solanaKey(again, 'member-solana')
  t.equal(ed25519.address, solana.address)
  t.equal((await ed25519.signMessage(someDigest)).length, 64)
  t.strictSame(await again.ensure('member', 'evm'), evm)
  await t.rejects(again.create('member', 'evm'), { code: 'key_exists', message: /never replaced/ })
  await t.rejects(again.create('../member', 'evm'), { code: 'key_name_wrong' })
  await t.rejects(again.key('nobody'), { code: 'key_missing', message: /It has: member, member-solana/ })

  await again.close()
  await t.rejects(key.signDigest(someDigest), { code: 'keystore_closed' }, 'wiped')
  await t.rejects(ed25519.signMessage(someDigest), { code: 'keystore_closed' })
  await t.rejects(again.key('member'), { code: 'keystore_closed' })
})

t.test('every signature has its s in the lower half', async (t) => {
  const directory = await temporaryFolder(t)
  const keystore = new Keystore({ directory, password: password() })
  await keystore.create('k', 'evm')
  const key = await evmKey(keystore, 'k')
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 32, maxLength: 32 }), async (digest) => {
      const { signer, isLow } = await signerOf(key, digest)
      return isLow && signer === key.address
    }),
    { numRuns: 40 },
  )
  t.pass()
})

t.test('nothing that can be reached from a keystore shows a key', async (t) => {
  const directory = await temporaryFolder(t)
  const keystore = new Keystore({ directory, password: password() })
  await keystore.create('k', 'evm')
  await keystore.create('s', 'solana')
  for (const name of ['k', 's']) {
    const key = await keystore.key(name)
    const shown = inspect([key, keystore], { depth: 10, showHidden: true }) + JSON.stringify([key, keystore])
    t.notMatch(shown, /[0-9a-f]{64}|private|secret|horse/i)
    t.strictSame(Object.keys(key).toSorted().at(0), 'address')
    t.equal(Object.keys(key).length, 3)
  }
})

t.test('a wrong password and a damaged file are told apart', async (t) => {
  const directory = await temporaryFolder(t)
  const keystore = new Keystore({ directory, password: password() })
  await keystore.create('k', 'evm')
  const file = join(directory, 'k.key.json')
  const whole = await readFile(file, 'utf8')
  const open = (text = 'correct horse battery') => new Keystore({ directory, password: password(text) }).key('k')
  const mistyped = new Keystore({ directory, password: password('correct hrose battery') })
  await t.rejects(mistyped.create('l', 'evm'), { code: 'keystore_password_wrong' }, 'no key under another password')
  t.equal((await listKeys(directory)).length, 1)
  await t.rejects(open('incorrect horse'), { code: 'keystore_password_wrong', message: /KEYSTORE_PASSWORD_FILE/ })
  const ownWords = /"\w+":|[{}]|\s/
  await fc.assert(
    fc.asyncProperty(fc.nat(whole.length - 1), fc.constantFrom('0', 'a', '"', ' ', '\0'), async (at, letter) => {
      const damaged = whole.slice(0, at) + letter + whole.slice(at + 1)
      if (damaged === whole || ownWords.test(whole[at] ?? '')) return true
      await writeFile(file, damaged)
      const code = await open().then(
        () => 'opened',
        (error: { code: string }) => error.code,
      )
      return code === 'keystore_damaged'
    }),
    { numRuns: 60 },
  )
  await writeFile(file, whole.slice(0, 200))
  await t.rejects(open(), { code: 'keystore_damaged', message: /k\.key\.json is damaged.*backup/s })
  await writeFile(file, whole)
  await rename(file, join(directory, 'other.key.json'))
  await t.rejects(new Keystore({ directory, password: password() }).key('other'), { code: 'keystore_damaged' })
})

t.test('the password comes from a file or variable, and is made up for local chains only', async (t) => {
  const directory = join(await temporaryFolder(t), 'keys')
  const source = { directory, password: undefined, passwordFile: undefined, mayGenerate: false }
  await t.rejects(findPassword(source), { code: 'keystore_password_missing', message: /KEYSTORE_PASSWORD_FILE/ })
  await t.rejects(findPassword({ ...source, password: 'short' }), { message: /fewer than 12 characters/ })
  await t.rejects(findPassword({ ...source, passwordFile: '/nowhere/at/all' }), { message: /no such file/ })
  const generated = await findPassword({ ...source, mayGenerate: true })
  t.equal(generated.isGenerated, true)
  t.equal((await stat(join(directory, 'keystore.password'))).mode & 0o777, 0o600)
  t.strictSame(await findPassword(source), generated, 'found again')
  const given = join(directory, '..', 'given')
  await writeFile(given, 'a password in a file\n')
  t.strictSame(await findPassword({ ...source, passwordFile: given }), {
    secret: Buffer.from('a password in a file'),
    isGenerated: false,
  })
  const other = join(directory, '..', 'other')
  const keystore = new Keystore({ directory: other, password: password() })
  await keystore.create('k', 'evm')
  await t.rejects(findPassword({ ...source, directory: other, mayGenerate: true }), {
    code: 'keystore_password_missing',
  })
  const ring = new KeyRing({ ...source, directory: other, password: 'correct horse battery' })
  t.equal((await ring.key('keystore:k')).kind, 'evm')
  await t.rejects(ring.key('vault:k'), { code: 'key_missing', message: /keystore:, gcp-kms: or aws-kms:/ })
  await ring.close()
  await chmod(other, 0o700)
})

t.test('DER is taken in its one strict form only', async (t) => {
  fc.assert(
    fc.property(fc.bigInt(1n, HALF_ORDER * 2n), fc.bigInt(1n, HALF_ORDER * 2n), (r, s) => {
      const parsed = parseDer(toDer(r, s))
      return parsed?.r === r && parsed.s === s
    }),
  )
  fc.assert(
    fc.property(fc.bigInt(1n, HALF_ORDER), fc.nat(7), fc.nat(255), (r, at, byte) => {
      const der = toDer(r, r)
      if (der[at] === byte) return true
      const changed = Buffer.from(der)
      changed[at] = byte
      const parsed = parseDer(changed)
      return parsed === null || toDer(parsed.r, parsed.s).equals(changed)
    }),
  )
  const bad = [
    '',
    '30',
    '3006020101020101ff',
    '3007020200010201 01',
    '300602018102 0101',
    '3006020100020101',
    '3080020101020101',
  ]
  for (const hex of bad) t.equal(parseDer(Buffer.from(hex.replaceAll(' ', ''), 'hex')), null, hex)
})

/** What must hold for both clouds. */
async function huntKms(
  t: Tap,
  kms: FakeKms,
  names: { evm: string; solana: string; rsa: string },
  open: () => KeyProvider,
) {
  const provider = open()
  const key = await evmKey(provider, names.evm)
  t.equal(key.address, kms.evmAddress, 'the address follows from the public key')
  for (const fault of [null, 'high_s'] as const) {
    kms.fault = fault
    t.strictSame(await signerOf(key), { signer: key.address, isLow: true }, `${fault}`)
  }
  const ed25519 = await solanaKey(provider, names.solana)
  kms.fault = null
  t.equal((await ed25519.signMessage(someDigest)).length, 64)
  const refused: [Fault, string][] = [
    ['other_key', 'kms_answer_wrong'],
    ['signature_corrupted', 'kms_answer_wrong'],
    ['other_name', 'kms_answer_wrong'],
    ['unavailable', 'kms_unavailable'],
  ]
  for (const [fault, code] of refused) {
    kms.fault = fault
    await t.rejects(key.signDigest(someDigest), { name: 'KeyError', code }, `${fault}, secp256k1`)
    await t.rejects(ed25519.signMessage(someDigest), { name: 'KeyError', code }, `${fault}, ed25519`)
  }
  kms.fault = 'no_der'
  await t.rejects(key.signDigest(someDigest), { code: 'kms_answer_wrong', message: /DER/ })
  kms.fault = 'public_key_corrupted'
  await t.rejects(open().key(names.evm), { code: 'kms_answer_wrong', message: /public key/ })
  kms.fault = 'unavailable'
  await t.rejects(open().key(names.evm), { code: 'kms_unavailable', message: /credentials/ })
  kms.fault = null
  await t.rejects(provider.key(names.rsa), { code: 'key_unfit' })
  t.strictSame(await signerOf(key), { signer: key.address, isLow: true }, 'and afterwards all is well')
  return { key, ed25519 }
}
type Tap = typeof t

t.test('Google Cloud KMS', async (t) => {
  const kms = await startFakeGcp()
  const clients: ReturnType<typeof kms.client>[] = []
  t.teardown(async () => {
    await Promise.all(clients.map((client) => client.close()))
    await kms.close()
  })
  const open = () => {
    const client = kms.client()
    clients.push(client)
    return new GcpKms(client)
  }
  const { key, ed25519 } = await huntKms(t as Tap, kms, gcpNames, open)
  kms.fault = 'request_corrupted'
  await t.rejects(key.signDigest(someDigest), { code: 'kms_answer_wrong', message: /did not receive/ })
  await t.rejects(ed25519.signMessage(someDigest), { code: 'kms_answer_wrong', message: /did not receive/ })
  t.ok(kms.calls.every(({ authorization }) => authorization.startsWith('Bearer ')))
})

t.test('AWS KMS', async (t) => {
  const kms = await startFakeAws()
  const clients: ReturnType<typeof kms.client>[] = []
  t.teardown(async () => {
    for (const client of clients) client.destroy()
    await kms.close()
  })
  const open = () => {
    const client = kms.client()
    clients.push(client)
    return new AwsKms(client)
  }
  await huntKms(t as Tap, kms, awsNames, open)
  t.equal((await evmKey(open(), awsNames.alias)).address, kms.evmAddress, 'by its alias')
  t.ok(kms.calls.every(({ authorization }) => /^AWS4-HMAC-SHA256 Credential=.*Signature=/.test(authorization)))
})
