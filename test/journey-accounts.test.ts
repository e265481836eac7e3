// Hunts, over HTTP against the whole server: a sign-up field nobody checks, a session that outlives its end, a code that
// works twice, a lock that does not hold, a secret that is told.
import { generateSync } from 'otplib'
import t from 'tap'
import { Client, form, logInAdmin, type Member, mailed, mailsTo, newKey, PASSWORD, signUp } from './support/members.js'
import { Deployment, until } from './support/server.js'

const site = await Deployment.started(t)
const anyone = new Client(site)

const logIn = (member: Member, more: object = {}) => anyone.post('/v1/auth/login', { ...member.account, ...more })
const meOf = (token: string) => new Client(site, token).get('/v1/users/me')
const yearsAgo = (years: number, days = 0) => {
  const now = new Date()
  const date = new Date(Date.UTC(now.getUTCFullYear() - years, now.getUTCMonth(), now.getUTCDate() + days))
  return date.toISOString().slice(0, 10)
}
const MEMBER_KEYS = [
  'id',
  'member_id',
  'name',
  'email',
  'username',
  'language',
  'tier',
  'tier_status',
  'wallet_address',
  'member_since',
  'email_verified',
  'two_factor_enabled',
  'is_admin',
  'is_active',
]

t.test('BJ-AUTH-01, 07, 10, 12, BJ-MID-01: signing up answers with the member and tokens', async (t) => {
  const address = { line1: '1 Main St', city: 'Reno', state: 'NV', zip_code: '89501' }
  const full = form('ann', { username: 'ann.e', phone: '+1 775 555 0100', address, language: 'de' })
  const { status, body } = await anyone.post('/v1/auth/signup', full)
  t.equal(status, 201)
  t.same(Object.keys(body).sort(), ['access_token', 'expires_in', 'refresh_token', 'user'])
  t.ok(body.expires_in > 890 && body.expires_in <= 900, 'BJ-AUTH-13: 15 minutes')
  t.same(Object.keys(body.user), MEMBER_KEYS)
  const expected = { member_id: 'BJ-0002-ST', username: 'ann.e', tier: 'standard', language: 'de', is_admin: false }
  t.match(body.user, { ...expected, email_verified: false, is_active: true, name: 'ann Example' })
  const me = await meOf(body.access_token)
  t.same(me.body, body.user, 'BJ-USER-01')

  const { body: plain } = await anyone.post('/v1/auth/signup', form('plain', { full_name: 'Ann E' }))
  t.match(plain.user, { language: 'en', member_id: 'BJ-0003-ST', wallet_address: null })
  t.not(plain.user.username.toLowerCase(), 'ann.e', 'a suggested username is a free one')
  const suggestion = await anyone.get('/v1/auth/username-suggestion?full_name=Zoe%20Quill')
  t.match(suggestion.body.username, /^[a-z0-9_.-]{3,50}$/i)
})

t.test('BJ-AUTH-08, BJ-T54: each wrong field of a sign-up is named', async (t) => {
  const refuse = async (more: object, code: string, field: string) => {
    const { status, body } = await anyone.post('/v1/auth/signup', form('bea', more))
    const fields = [body.field, ...(body.errors ?? []).map((error: { field: string }) => error.field)]
    t.match({ status, code: body.code }, { status: 422, code }, JSON.stringify(more))
    t.ok(fields.includes(field), `${field} is named`)
  }
  for (const password of ['Sh0rt!', 'nouppercase1!', 'NoNumber!', 'NoSymbol11', '']) {
    await refuse({ password }, 'invalid_input', 'password')
  }
  await refuse({ email: 'no-address' }, 'invalid_input', 'email')
  await refuse({ full_name: ' ' }, 'invalid_input', 'full_name')
  await refuse({ full_name: undefined }, 'invalid_input', 'full_name')
  await refuse({ username: 'a b' }, 'invalid_input', 'username')
  await refuse({ date_of_birth: '17.05.1990' }, 'invalid_input', 'date_of_birth')
  await refuse({ date_of_birth: '1990-02-30' }, 'invalid_input', 'date_of_birth')
  await refuse({ address: { line1: 'x' } }, 'invalid_input', 'address.city')
  await refuse({ date_of_birth: yearsAgo(21, 1) }, 'under_age', 'date_of_birth')
  await refuse({ email: 'ANN@example.com' }, 'email_taken', 'email')
  await refuse({ username: 'ANN.E' }, 'username_taken', 'username')
  const birthday = await anyone.post('/v1/auth/signup', form('birthday', { date_of_birth: yearsAgo(21) }))
  t.equal(birthday.status, 201, 'on the 21st birthday')
  const broken = await anyone.post('/v1/auth/signup', '{"email":')
  t.match(broken, { status: 400, body: { code: 'malformed_json' } })
})

t.test('a sign-up repeated with its key makes one member, and its key is good for nothing else', async (t) => {
  const key = newKey()
  const first = await anyone.post('/v1/auth/signup', form('cleo'), { key })
  const again = await anyone.post('/v1/auth/signup', form('cleo'), { key })
  t.same([first.status, again.status], [201, 201])
  t.equal(again.body.user.id, first.body.user.id)
  const other = await anyone.post('/v1/auth/signup', form('cleo2'), { key })
  t.match(other, { status: 409, body: { code: 'idempotency_conflict' } })
  const mails = await mailsTo(site, 'cleo@example.com')
  t.equal(mails.length, 1, 'and one mail')
})

t.test(
  'BJ-AUTH-02, 03, 06, 13, BJ-T45: tokens are refreshed once each, and an ended session is over at once',
  async (t) => {
    const dora = await signUp(site, 'dora')
    for (const wrong of [{ password: 'Wrong!2026' }, { email: 'nobody@example.com' }]) {
      const { status, body } = await logIn(dora, wrong)
      t.match({ status, body }, { status: 401, body: { code: 'credentials_invalid' } })
    }
    const { body: login } = await logIn(dora, { email: 'Dora@Example.com' })
    t.same(Object.keys(login).sort(), ['access_token', 'expires_in', 'refresh_token'])
    const refresh = (token: string) => anyone.post('/v1/auth/refresh', { refresh_token: token })
    const second = await refresh(login.refresh_token)
    t.equal(second.status, 200)
    const third = await refresh(second.body.refresh_token)
    t.equal((await meOf(third.body.access_token)).status, 200)
    t.match(await refresh(login.refresh_token), { status: 401, body: { code: 'session_ended' } }, 'used before')
    t.match(await meOf(third.body.access_token), { status: 401, body: { code: 'session_ended' } }, 'so all is over')
    t.match(await refresh(third.body.refresh_token), { status: 401, body: { code: 'session_ended' } })
    t.match(await refresh(login.access_token), { status: 401, body: { code: 'unauthorized' } }, 'no refresh token')

    const { body: again } = await logIn(dora)
    const out = await new Client(site, again.access_token).post('/v1/auth/logout')
    t.same(out.body, { success: true })
    t.match(await meOf(again.access_token), { status: 401, body: { code: 'session_ended' } })
    t.match(await refresh(again.refresh_token), { status: 401, body: { code: 'session_ended' } })
  },
)

t.test('BJ-AUTH-17, 18: one phone and one browser are logged in, a second one ends the first', async (t) => {
  const eli = await signUp(site, 'eli')
  const { body: desktop } = await logIn(eli, { device: 'desktop' })
  const { body: phone } = await logIn(eli, { device: 'mobile' })
  t.match(await meOf(eli.token), { status: 401, body: { code: 'session_ended' } }, 'the phone he signed up with')
  t.equal((await meOf(desktop.access_token)).status, 200)
  await logIn(eli, { device: 'desktop' })
  t.equal((await meOf(desktop.access_token)).status, 401)
  t.equal((await meOf(phone.access_token)).status, 200)
})

t.test('BJ-GW-02: no token, a wrong token and a member where an administrator is needed', async (t) => {
  const member = await signUp(site, 'finn')
  t.match(await anyone.get('/v1/users/me'), { status: 401, body: { code: 'unauthorized' } })
  t.match(await meOf('nonsense'), { status: 401, body: { code: 'unauthorized' } })
  t.match(await meOf(member.refreshToken), { status: 401, body: { code: 'unauthorized' } }, 'no access token')
  t.match(await member.get('/v1/admin/qr/batches'), { status: 403, body: { code: 'admin_only' } })
  const admin = await logInAdmin(site)
  t.match((await admin.get('/v1/users/me')).body, { is_admin: true, member_id: 'BJ-0001-ST' })
  const jwks = await anyone.get('/.well-known/jwks.json')
  t.match(jwks.body.keys[0], { kty: 'RSA', alg: 'RS256', d: undefined }, 'BJ-AUTH-14: public keys only')
})

t.test('BJ-AUTH-04, 05, 22, 23: a mailed code sets a new password once and logs everyone out', async (t) => {
  const gus = await signUp(site, 'gus')
  const { email } = gus.account
  const ask = (address: string) => anyone.post('/v1/auth/reset-password', { email: address })
  const confirm = (code: string, password: string) =>
    anyone.post('/v1/auth/reset-password/confirm', { email, code, password })
  const known = await ask(email)
  const unknown = await ask('nobody@example.com')
  t.same([known.status, known.text], [202, unknown.text], 'the answer does not tell whether the address is known')
  const { code = '' } = await mailed(site, email, 'reset-password')
  t.match(await confirm('WRONGCOD', 'Changed!2026'), { status: 422, body: { code: 'code_invalid', field: 'code' } })
  t.match(await confirm(code, 'weak'), { status: 422, body: { errors: [{ field: 'password' }] } })
  t.equal((await confirm(code.toLowerCase(), 'Changed!2026')).status, 200)
  t.match(await confirm(code, 'Again!2026'), { status: 422, body: { code: 'code_invalid' } }, 'it works once')
  t.match(await meOf(gus.token), { status: 401, body: { code: 'session_ended' } })
  t.equal((await logIn(gus)).status, 401, 'the old password')
  t.equal((await logIn(gus, { password: 'Changed!2026' })).status, 200)
  await mailed(site, email, 'password-changed')

  for (let request = 2; request <= 4; request++) t.equal((await ask(email)).status, 202)
  await mailed(site, email, 'reset-password', 3)
  await ask('dora@example.com')
  await mailed(site, 'dora@example.com', 'reset-password')
  const resets = (await mailsTo(site, email)).filter(({ template }) => template === 'reset-password')
  t.equal(resets.length, 3, 'no more than three in an hour')
})

t.test('BJ-AUTH-09, BJ-TIER-08, BJ-USER-02, 03, 05: e-mail is verified, and again when it changes', async (t) => {
  const hal = await signUp(site, 'hal')
  const verify = (code: string) => hal.post('/v1/auth/verify-email', { code })
  const { code = '', text } = await mailed(site, 'hal@example.com', 'verify-email')
  t.notMatch(text, /hal Example/, 'what a stranger chose is in no mail')
  t.match(await verify('00000000'), { status: 422, body: { code: 'code_invalid' } })
  t.equal((await verify(code)).status, 200)
  t.match((await hal.get('/v1/users/me')).body, { email_verified: true })

  const change = (body: object) => hal.put('/v1/users/me/profile', body)
  t.match(await change({ username: 'Dora' }), { status: 422, body: { code: 'username_taken', field: 'username' } })
  t.match(await change({ email: 'dora@example.com' }), { status: 422, body: { code: 'email_taken', field: 'email' } })
  const changed = await change({ full_name: 'Hal Nine', username: 'hal9', email: 'hal9@example.com' })
  t.match(changed.body, { name: 'Hal Nine', username: 'hal9', email: 'hal9@example.com', email_verified: false })
  t.equal((await verify(code)).status, 422, 'the code for the old address')
  await hal.post('/v1/auth/verify-email/request')
  const second = await mailed(site, 'hal9@example.com', 'verify-email', 2)
  t.equal((await verify(second.code ?? '')).status, 200)
  t.equal((await signUp(site, 'hal')).user.username, 'hal', 'the names he left are free')

  const { body: profile } = await hal.get('/v1/users/me/profile')
  t.match(profile, { username: 'hal9', tier_badge: 'standard', avatar_url: null, stats: { lifetime_scans: 0 } })
  const { body: stats } = await hal.get('/v1/users/me/stats')
  t.same(profile.stats, stats)
  const progress = { current_tier: 'standard', current_count: 0, next_tier: 'vip', next_tier_threshold: 7 }
  t.match(stats, { tier_progress: progress, quarter: /^\d{4}-Q[1-4]$/, lifetime_comps: 0, gold_chips: 0 })
})

t.test('BJ-AUTH-20, 21: two-factor login with the authenticator or a backup code, each good once', async (t) => {
  const ida = await signUp(site, 'ida')
  const codeAt = (secret: string, ahead = 0) => generateSync({ secret, epoch: Math.floor(Date.now() / 1000) + ahead })
  t.match(await ida.post('/v1/users/me/2fa', { password: 'Wrong!2026' }), { status: 401 })
  const { status, body: begun } = await ida.post('/v1/users/me/2fa', { password: PASSWORD })
  t.equal(status, 201)
  t.match(begun, { otpauth_uri: /^otpauth:\/\/totp\//, qr_code: /^data:image\/png;base64,/ })
  t.equal(new Set(begun.backup_codes).size, 10)
  t.equal((await logIn(ida)).status, 200, 'begun is not enabled')
  const { body: session } = await logIn(ida)
  ida.token = session.access_token
  t.match(await ida.post('/v1/users/me/2fa/enable', { totp: '000000' }), { status: 422, body: { field: 'totp' } })
  const first = codeAt(begun.secret)
  t.equal((await ida.post('/v1/users/me/2fa/enable', { totp: first })).status, 200)
  t.match((await ida.get('/v1/users/me')).body, { two_factor_enabled: true })
  t.match(await ida.post('/v1/users/me/2fa', { password: PASSWORD }), {
    status: 409,
    body: { code: 'two_factor_enabled' },
  })

  t.match(await logIn(ida), { status: 401, body: { code: 'totp_required', field: 'totp' } })
  t.match(await logIn(ida, { totp: first }), { status: 401, body: { code: 'totp_invalid' } }, 'used to enable it')
  t.equal((await logIn(ida, { totp: codeAt(begun.secret, 30) })).status, 200)
  const [backup] = begun.backup_codes
  t.equal((await logIn(ida, { totp: backup.toUpperCase() })).status, 200)
  t.match(await logIn(ida, { totp: backup }), { status: 401, body: { code: 'totp_invalid' } })
  const { body: last } = await logIn(ida, { totp: begun.backup_codes[1] })
  ida.token = last.access_token
  t.equal((await ida.post('/v1/users/me/2fa/disable', { password: PASSWORD })).status, 200)
  t.equal((await logIn(ida)).status, 200)
})

t.test('BJ-AUTH-15: ten failures lock the account, a new password opens it', async (t) => {
  const jo = await signUp(site, 'joe')
  const wrong = { password: 'Wrong!2026' }
  for (let failure = 1; failure <= 10; failure++) t.equal((await logIn(jo, wrong)).status, 401, `failure ${failure}`)
  const locked = await logIn(jo)
  t.match(locked, { status: 429, body: { code: 'account_locked' } }, 'the right password')
  const retryAfter = Number(locked.headers.get('retry-after'))
  t.ok(retryAfter > 3_500 && retryAfter <= 3_600, `an hour: ${retryAfter} s`)
  t.equal((await jo.get('/v1/users/me')).status, 200, 'who is in stays in')
  await mailed(site, jo.account.email, 'account-locked')
  await anyone.post('/v1/auth/reset-password', { email: jo.account.email })
  const { code } = await mailed(site, jo.account.email, 'reset-password')
  const changed = { email: jo.account.email, password: 'Opened!2026' }
  await anyone.post('/v1/auth/reset-password/confirm', { ...changed, code })
  t.equal((await logIn(jo, changed)).status, 200)
})

t.test('BJ-AUTH-23: changing the password logs every device out', async (t) => {
  const kim = await signUp(site, 'kim')
  const { body: desktop } = await logIn(kim, { device: 'desktop' })
  const change = (current: string) =>
    kim.post('/v1/auth/change-password', { current_password: current, password: 'Newer!2026' })
  t.match(await change('Wrong!2026'), { status: 401, body: { code: 'credentials_invalid' } })
  t.equal((await change(PASSWORD)).status, 200)
  for (const token of [kim.token, desktop.access_token]) {
    t.match(await meOf(token), { status: 401, body: { code: 'session_ended' } })
  }
  t.equal((await logIn(kim, { password: 'Newer!2026' })).status, 200)
})

t.test('what was told is in Postgres, and no secret is in it or in the log', async (t) => {
  const sql = await site.database(t)
  const rowOf = async (email: string) => (await sql`select * from users where email = ${email}`)[0]
  const hal = await until('the change of profile is written behind', () => rowOf('hal9@example.com'))
  t.match(hal, { full_name: 'Hal Nine', username: 'hal9', email_verified: true, tier: 'standard' })
  await until('the last password change', async () => {
    const [row] = await sql`select count(*)::int as n from account_events e join users u on u.id = e.user_id
      where u.email = 'kim@example.com' and e.kind like '%password%'`
    return row?.n > 0
  })
  const [ann] = await sql`select * from users where username = 'ann.e'`
  t.match(ann, { member_id: 'BJ-0002-ST', city: 'Reno', phone: '+1 775 555 0100', country: 'US' })
  t.notMatch(site.output, /!2026|eyJ|"level":(50|60)/, 'no password, no token, no error in the log')
})
