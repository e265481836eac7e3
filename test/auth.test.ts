import { createHmac, createPublicKey } from 'node:crypto'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hash as argon2 } from '@node-rs/argon2'
import fc from 'fast-check'
import { decodeJwt, decodeProtectedHeader, exportJWK, generateKeyPair, importJWK, SignJWT } from 'jose'
import { generateSync } from 'otplib'
import t, { type Test } from 'tap'
import { KeySet } from '../gateway/auth/keys.js'
import { OneTimeCodes, sameHash } from '../gateway/auth/one-time-codes.js'
import { Passwords, passwordSchema } from '../gateway/auth/passwords.js'
import { SecretBox, SecretBoxError } from '../gateway/auth/secret-box.js'
import { Tokens } from '../gateway/auth/tokens.js'
import { enrolTotp, generateBackupCodes, hashBackupCode, matchBackupCode, matchTotpStep } from '../gateway/auth/totp.js'
import type { Principal } from '../gateway/http/toolkit/principal.js'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
const START_MS = Date.UTC(2026, 0, 1)
const ISSUER = 'https://api.example'
const AUDIENCE = 'members'
const MEMBER: Principal = { userId: '42', sessionId: 's1', role: 'member' }
const KEY_FILE = 'signing-keys.json'

function temporaryDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'auth-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

async function start(t: Test) {
  const time = { nowMs: START_MS }
  const clock = () => time.nowMs
  const directory = join(temporaryDirectory(t), 'keys')
  const keys = await KeySet.open({ directory, clock })
  const tokens = new Tokens({ signer: keys, keys, issuer: ISSUER, audience: AUDIENCE, clock })
  return { time, clock, directory, keys, tokens }
}

const unauthorized = { name: 'DomainError', kind: 'unauthorized', code: 'unauthorized' }
const expired = { name: 'DomainError', kind: 'unauthorized', code: 'token_expired' }

const base64url = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')

t.test('a token says what was issued, and the second look is synchronous', async (t) => {
  const { tokens, time } = await start(t)
  const issued = await tokens.issue(MEMBER, 7)
  t.equal(issued.accessExpiresAtMs, time.nowMs + 15 * MINUTE_MS)
  t.equal(issued.refreshExpiresAtMs, time.nowMs + 30 * DAY_MS)
  const first = tokens.verifyAccess(issued.accessToken)
  t.equal(tokens.verifyAccess(issued.accessToken), first, 'a check under way is shared')
  t.same(tokens.gauges(), { cacheEntries: 0, verificationsPending: 1 })
  t.same(await first, MEMBER)
  t.notOk(tokens.verifyAccess(issued.accessToken) instanceof Promise)
  t.same(tokens.verifyAccess(issued.accessToken), MEMBER)
  t.same(tokens.gauges(), { cacheEntries: 1, verificationsPending: 0 })
  t.same(await tokens.verifyRefresh(issued.refreshToken), { userId: '42', sessionId: 's1', generation: 7 })
})

t.test('forged tokens', async (t) => {
  const { tokens, directory, keys } = await start(t)
  const { accessToken, refreshToken } = await tokens.issue(MEMBER, 0)
  const kid = String(decodeProtectedHeader(accessToken).kid)
  const claims = decodeJwt(accessToken)
  const stored = JSON.parse(readFileSync(join(directory, KEY_FILE), 'utf8')).keys[0]
  const ourKey = await importJWK(stored.jwk, 'RS256')
  const attacker = await generateKeyPair('RS256')
  const ours = { alg: 'RS256', typ: 'at+jwt', kid }
  const signed = (payload: object, header = {}, key: Parameters<SignJWT['sign']>[0] = ourKey) =>
    new SignJWT({ ...payload }).setProtectedHeader({ ...ours, ...header }).sign(key)
  const refuse = (name: string, token: string) =>
    t.test(name, async (t) => {
      await t.rejects(Promise.resolve(tokens.verifyAccess(token)), unauthorized)
      await t.rejects(Promise.resolve(tokens.verifyAccess(token)), unauthorized, 'a refusal is not cached as a success')
    })

  t.same(await tokens.verifyAccess(await signed({ ...claims, role: 'admin' })), { ...MEMBER, role: 'admin' }, 'control')

  await refuse('alg none', `${base64url({ ...ours, alg: 'none' })}.${base64url(claims)}.`)
  const pem = createPublicKey({ key: stored.jwk, format: 'jwk' }).export({ type: 'spki', format: 'pem' })
  const unsigned = `${base64url({ ...ours, alg: 'HS256' })}.${base64url(claims)}`
  await refuse(
    'HS256 with our public key as the secret',
    `${unsigned}.${createHmac('sha256', pem).update(unsigned).digest('base64url')}`,
  )
  await refuse('the signature of another key under our kid', await signed(claims, {}, attacker.privateKey))
  await refuse(
    'its own key in the header',
    await signed(claims, { jwk: await exportJWK(attacker.publicKey) }, attacker.privateKey),
  )
  await refuse(
    'its own key behind a jku',
    await signed(claims, { kid: 'theirs', jku: 'https://evil.example/jwks' }, attacker.privateKey),
  )
  await refuse('an unknown kid', await signed(claims, { kid: 'unknown' }))
  await refuse('no kid', await signed(claims, { kid: undefined }))
  await refuse('a refresh token used as access token', refreshToken)
  await t.rejects(tokens.verifyRefresh(accessToken), unauthorized, 'an access token used as refresh token')
  await refuse('no typ', await signed(claims, { typ: undefined }))
  await refuse('another issuer', await signed({ ...claims, iss: 'https://other.example' }))
  await refuse('another audience', await signed({ ...claims, aud: 'partners' }))
  await refuse('no expiry', await signed({ ...claims, exp: undefined }))
  await refuse('an unknown role', await signed({ ...claims, role: 'root' }))
  await refuse('no session', await signed({ ...claims, sid: undefined }))
  await refuse('not yet valid', await signed({ ...claims, nbf: START_MS / 1000 + 6 }))
  await refuse(
    'changed claims under the old signature',
    accessToken.replace(/\.[^.]+\./, `.${base64url({ ...claims, role: 'admin' })}.`),
  )
  await refuse('endless', `${accessToken}${'A'.repeat(5_000)}`)
  await refuse('empty', '')
  t.ok(keys.verificationKey(kid))
})

t.test('a cached token is refused at the moment a fresh check refuses it', async (t) => {
  const { tokens, time, clock, keys } = await start(t)
  const { accessToken, refreshToken, accessExpiresAtMs } = await tokens.issue(MEMBER, 0)
  await tokens.verifyAccess(accessToken)
  time.nowMs = accessExpiresAtMs + 4_999
  t.same(tokens.verifyAccess(accessToken), MEMBER, 'within the leeway')
  const fresh = new Tokens({ signer: keys, keys, issuer: ISSUER, audience: AUDIENCE, clock })
  t.same(await fresh.verifyAccess(accessToken), MEMBER)
  time.nowMs = accessExpiresAtMs + 5_000
  await t.rejects(Promise.resolve(tokens.verifyAccess(accessToken)), expired)
  t.equal(tokens.gauges().cacheEntries, 0, 'and is dropped')
  await t.rejects(Promise.resolve(fresh.verifyAccess(accessToken)), expired)
  time.nowMs = START_MS + 30 * DAY_MS + 5_000
  await t.rejects(tokens.verifyRefresh(refreshToken), expired)
})

t.test('rotation: published before it signs (K2), old tokens live out their life (K3)', async (t) => {
  const { tokens, time, clock, keys, directory } = await start(t)
  const gateway = await KeySet.open({ directory, clock })
  const kidOf = (token: string) => decodeProtectedHeader(token).kid
  const publishedKids = (set: KeySet) => set.publicJwks().keys.map(({ kid }) => kid)
  const before = await tokens.issue(MEMBER, 0)
  const oldKid = kidOf(before.accessToken)

  const newKid = await keys.rotate()
  t.equal(await keys.rotate(), newKid, 'a second call does not stack another key')
  t.same(publishedKids(keys), [oldKid, newKid])
  t.notMatch(JSON.stringify(keys.publicJwks()), /"(d|p|q|dp|dq|qi)"/, 'nothing private is published')
  t.match(keys.publicJwks().keys[1], { kty: 'RSA', alg: 'RS256', use: 'sig' })
  time.nowMs += HOUR_MS - 1
  await keys.tick()
  const during = await tokens.issue(MEMBER, 1)
  t.equal(kidOf(during.accessToken), oldKid, 'still the old key')

  await gateway.tick()
  t.same(publishedKids(gateway), [oldKid, newKid], 'another gateway learns of it before it signs')
  time.nowMs += 1
  await keys.tick()
  const after = await tokens.issue(MEMBER, 2)
  t.equal(kidOf(after.accessToken), newKid)
  t.same(await tokens.verifyAccess(during.accessToken), MEMBER)
  const onGateway = new Tokens({ signer: gateway, keys: gateway, issuer: ISSUER, audience: AUDIENCE, clock })
  t.same(await onGateway.verifyAccess(after.accessToken), MEMBER)
  const [oldStored] = JSON.parse(readFileSync(join(directory, KEY_FILE), 'utf8')).keys
  t.match(oldStored, { kid: oldKid, status: 'retired' })
  t.notOk('d' in oldStored.jwk, 'a key that signs no more keeps no private half')

  time.nowMs = during.refreshExpiresAtMs + 4_999
  await keys.tick()
  t.equal((await tokens.verifyRefresh(during.refreshToken)).generation, 1, 'to its last moment')
  time.nowMs += 2 * HOUR_MS
  await keys.tick()
  t.same(publishedKids(keys), [newKid], 'then the old key is gone')
})

t.test('rotation comes by itself after 90 days', async (t) => {
  const { time, keys } = await start(t)
  time.nowMs += 90 * DAY_MS - 1
  await keys.tick()
  t.equal(keys.publicJwks().keys.length, 1)
  time.nowMs += 1
  await keys.tick()
  t.equal(keys.publicJwks().keys.length, 2)
  await Promise.all([keys.tick(), keys.tick(), keys.rotate()])
  t.equal(keys.publicJwks().keys.length, 2, 'once')
})

t.test('keys survive a restart and are closed to others', async (t) => {
  const { tokens, clock, directory } = await start(t)
  const { accessToken } = await tokens.issue(MEMBER, 0)
  t.equal(statSync(directory).mode & 0o777, 0o700)
  t.equal(statSync(join(directory, KEY_FILE)).mode & 0o777, 0o600)
  t.same(readdirSync(directory), [KEY_FILE], 'no temporary file stays')
  chmodSync(join(directory, KEY_FILE), 0o644)
  const keys = await KeySet.open({ directory, clock })
  t.equal(statSync(join(directory, KEY_FILE)).mode & 0o777, 0o600, 'closed again')
  const restarted = new Tokens({ signer: keys, keys, issuer: ISSUER, audience: AUDIENCE, clock })
  t.same(await restarted.verifyAccess(accessToken), MEMBER)
})

t.test('two gateways starting at once on an empty directory end with one key', async (t) => {
  const directory = temporaryDirectory(t)
  const open = () => KeySet.open({ directory, clock: () => START_MS })
  const [one, two] = await Promise.all([open(), open()])
  t.same(one.publicJwks(), two.publicJwks())
})

t.test('damaged keys stop the start instead of being replaced', async (t) => {
  const directory = temporaryDirectory(t)
  writeFileSync(join(directory, KEY_FILE), '{"keys":[]}')
  await t.rejects(KeySet.open({ directory, clock: () => START_MS }), { name: 'AssertionError' })
  writeFileSync(join(directory, KEY_FILE), '{"keys":[{"kid":')
  await t.rejects(KeySet.open({ directory, clock: () => START_MS }))
})

t.test('passwords', async (t) => {
  const passwords = await Passwords.create({ concurrencyMax: 1, waitingMax: 1 })
  const stored = await passwords.hash('Corréct-horse1')
  t.match(stored, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
  t.equal(await passwords.verify(stored, 'Corréct-horse1'.normalize('NFD')), true, 'composed on another keyboard')
  t.equal(await passwords.verify(stored, 'Correct-horse1'), false)
  t.equal(await passwords.verifyAgainstNothing('Correct-horse1'), false)
  t.equal(passwords.needsRehash(stored), false)
  t.equal(passwords.needsRehash(await argon2('x', { memoryCost: 4_096, timeCost: 1, parallelism: 1 })), true)

  const [running, waiting] = [passwords.verifyAgainstNothing('a'), passwords.verify(stored, 'b')]
  t.same(passwords.gauges(), { running: 1, waiting: 1 }, 'an unknown e-mail takes its turn like any other')
  await t.rejects(passwords.hash('c'), { kind: 'unavailable', code: 'busy', details: { retryAfterMs: 2_000 } })
  t.same(await Promise.all([running, waiting]), [false, false])
  await t.rejects(passwords.verify('not a hash', 'a'), 'a broken hash is an error, not a wrong password')
  t.same(passwords.gauges(), { running: 0, waiting: 0 }, 'and gives its slot back')
})

t.test('every broken password rule is named', async (t) => {
  const problems = (password: string) => passwordSchema.safeParse(password).error?.issues.map((issue) => issue.message)
  t.equal(problems('Sécurité 9!'), undefined)
  t.same(problems('abc'), [
    'Use at least 8 characters.',
    'Use at least one uppercase letter.',
    'Use at least one number.',
    'Use at least one symbol.',
  ])
  t.same(problems('Abcdefg 1'), ['Use at least one symbol.'], 'a space is not a symbol')
  t.same(problems(`Aa1!${'x'.repeat(253)}`), ['Use at most 256 characters.'])
})

t.test('authenticator codes: one step of drift, and the step is told so that it can be refused again', async (t) => {
  const { secret, uri, qrDataUrl } = await enrolTotp('Blak Jaks', 'jo@example.com')
  t.match(uri, /^otpauth:\/\/totp\/Blak%20Jaks:jo%40example\.com\?secret=[A-Z2-7]{32}&issuer=Blak%20Jaks$/)
  t.match(qrDataUrl, /^data:image\/png;base64,iVBOR/)
  const step = Math.floor(START_MS / 30_000)
  const code = generateSync({ secret, epoch: START_MS / 1000 })
  t.equal(matchTotpStep(secret, code, START_MS), step)
  t.equal(
    matchTotpStep(secret, `${code.slice(0, 3)} ${code.slice(3)}`, START_MS + 59_999),
    step,
    'typed late, same step',
  )
  t.equal(matchTotpStep(secret, code, START_MS - 30_000), step, 'a phone ahead of us')
  t.equal(matchTotpStep(secret, code, START_MS + 60_000), undefined)
  t.equal(matchTotpStep(secret, code, START_MS - 30_001), undefined)
  for (const wrong of ['', '12345', '1234567', 'abcdef', '１２３４５６']) {
    t.equal(matchTotpStep(secret, wrong, START_MS), undefined, `no throw on "${wrong}"`)
  }
})

t.test('a backup code matches once, for its owner, however it is typed', async (t) => {
  const codes = new OneTimeCodes(new Uint8Array(32).fill(7))
  const backupCodes = generateBackupCodes()
  t.equal(new Set(backupCodes).size, 10)
  for (const code of backupCodes) t.match(code, /^[0-9a-hjkmnp-tv-z]{4}-[0-9a-hjkmnp-tv-z]{4}-[0-9a-hjkmnp-tv-z]{2}$/)
  const hashes = backupCodes.map((code) => hashBackupCode(codes, '42', code))
  const third = String(backupCodes[2])
  t.equal(matchBackupCode(codes, '42', third, hashes), 2)
  t.equal(matchBackupCode(codes, '42', third.toUpperCase().replaceAll('-', ' ').replaceAll('0', 'O'), hashes), 2)
  t.equal(
    matchBackupCode(
      codes,
      '42',
      third,
      hashes.filter((_, index) => index !== 2),
    ),
    undefined,
    'used',
  )
  t.equal(matchBackupCode(codes, '43', third, hashes), undefined)
  t.equal(matchBackupCode(codes, '42', third.slice(0, -1), hashes), undefined)
})

t.test('a mailed code is stored as a keyed hash bound to its purpose', async (t) => {
  const codes = new OneTimeCodes(new Uint8Array(32).fill(7))
  const code = codes.generate()
  t.match(code, /^[0-9A-HJKMNP-TV-Z]{8}$/)
  const stored = codes.hash('reset-password:42', code)
  t.ok(codes.matches('reset-password:42', ` ${code.toLowerCase()} `, stored))
  t.notOk(codes.matches('verify-email:42', code, stored))
  t.notOk(codes.matches('reset-password:43', code, stored))
  t.notOk(new OneTimeCodes(new Uint8Array(32).fill(8)).matches('reset-password:42', code, stored), 'another key')
  t.ok(codes.matches('p', 'OIL00000', codes.hash('p', '01100000')), 'look-alikes are read as meant')
  t.notOk(sameHash('short', 'longer'), 'unequal lengths do not throw')
})

t.test('a sealed field opens only unaltered and for its purpose (E1, E2)', async (t) => {
  const box = new SecretBox(new Uint8Array(32).fill(1))
  const refused = (purpose: string, sealed: string, by = box) =>
    t.throws(() => by.open(purpose, sealed), SecretBoxError)
  const sealed = box.seal('totp:42', 'JBSWY3DP')
  t.match(sealed, /^v1\.[\w-]{16}\.[\w-]+\.[\w-]{22}$/)
  t.not(box.seal('totp:42', 'JBSWY3DP'), sealed, 'never the same twice')
  refused('tax-id:42', sealed)
  refused('totp:43', sealed)
  refused('totp:42', sealed, new SecretBox(new Uint8Array(32).fill(2)))
  refused('totp:42', sealed.replace('v1', 'v2'))
  refused('totp:42', sealed.slice(0, -6))
  refused('totp:42', '')
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.nat(), fc.base64String({ minLength: 4 }), (text, at, letters) => {
      const good = box.seal('p', text)
      if (box.open('p', good) !== text) return false
      const index = at % good.length
      const altered = good.slice(0, index) + letters.charAt(0) + good.slice(index + 1)
      if (altered === good) return true
      try {
        box.open('p', altered)
        return false
      } catch (error) {
        return error instanceof SecretBoxError
      }
    }),
  )
})

t.test('the box key survives a restart, can be set from outside, and gives each use its own key', async (t) => {
  const directory = join(temporaryDirectory(t), 'keys')
  const sealed = (await SecretBox.load({ directory })).seal('p', 'text')
  t.equal((await SecretBox.load({ directory })).open('p', sealed), 'text')
  t.equal(statSync(join(directory, 'box.key')).mode & 0o777, 0o600)
  t.equal(statSync(join(directory, 'box.key')).size, 32)
  const keyBase64 = readFileSync(join(directory, 'box.key')).toString('base64')
  const given = await SecretBox.load({ directory: 'not-made', keyBase64 })
  t.equal(given.open('p', sealed), 'text')
  await t.rejects(SecretBox.load({ directory, keyBase64: 'c2hvcnQ=' }), /SECRET_BOX_KEY must be 32 bytes/)
  t.notSame(given.deriveKey('one-time-codes'), given.deriveKey('other'))
  t.equal(given.deriveKey('one-time-codes').length, 32)
  writeFileSync(join(directory, 'box.key'), 'cut short')
  await t.rejects(SecretBox.load({ directory }), /must hold 32 bytes/)
})
