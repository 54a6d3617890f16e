/**
 * What others got wrong: the weaknesses of validators for PostgreSQL (spec/validators.md §4) and the
 * lessons of published advisories (§10), each as a token or an answer that must not work here.
 */
import { describe, expect, it } from 'vitest'
import jwtInit from '../../validators/jwt.ts'
import { AuthorizationServer } from './support/authorization-server.ts'
import { expectNoPartOf, SETTINGS, useJwt } from './support/jwt-fixture.ts'
import { startValidator } from './support/run-validator.ts'
import { encode, signHmac, signingKey, signJws } from './support/signing-key.ts'

const jwt = useJwt()

describe('weaknesses of other validators', () => {
  it('Percona 1: a token of the same issuer for another application is refused', async () => {
    expect(await jwt.refusal(jwt.server.token({ aud: 'another-application' }))).toBe(
      'wrong_audience',
    )
  })
  it('Percona 2: a required scope without a slash is not dropped for an Azure issuer', async () => {
    await using server = await AuthorizationServer.start({ path: '/login.microsoftonline.com/t' })
    await using runner = await startValidator({
      init: jwtInit,
      settings: SETTINGS,
      issuers: [server.issuer],
    })
    const token = server.token({ scope: undefined, scp: 'other' })
    expect(await runner.run(token, { scope: ['db_access'] })).toMatchObject({
      code: 'insufficient_scope',
    })
  })
  it('Percona 3: an issuer is not Azure because its address contains that name', async () => {
    await using server = await AuthorizationServer.start({ path: '/login.microsoftonline.com/t' })
    await using runner = await startValidator({
      init: jwtInit,
      settings: SETTINGS,
      issuers: [server.issuer],
    })
    expect(await runner.run(server.token({ iss: 'https://sts.windows.net/t/' }))).toMatchObject({
      code: 'unknown_issuer',
    })
  })
  it('Percona 4: a token without an end is refused', async () => {
    expect(await jwt.refusal(jwt.server.token({ exp: undefined }))).toBe('missing_claim')
  })
  it('Percona 5 and 6: two hundred logins cost no request', async () => {
    await jwt.accepted(jwt.server.token())
    const before = jwt.server.total
    await Promise.all(Array.from({ length: 200 }, () => jwt.accepted(jwt.server.token())))
    expect(jwt.server.total).toBe(before)
  })
  it('Percona 7: a symmetric key in a key set verifies nothing', async () => {
    await using server = await AuthorizationServer.start()
    const k = Buffer.alloc(32, 7)
    server.jwks = { keys: [{ kty: 'oct', k: encode(k), kid: 'k1', alg: 'HS256' }] }
    await using runner = await startValidator({
      init: jwtInit,
      settings: SETTINGS,
      issuers: [server.issuer],
    })
    for (const secret of [k, encode(k)]) {
      const token = signHmac({ alg: 'HS256', kid: 'k1', typ: 'at+jwt' }, server.claims(), secret)
      expect(await runner.run(token)).toMatchObject({ code: 'alg_not_allowed' })
    }
  })
  it('Percona 8: a refusal names neither claims nor scopes of the token', async () => {
    const token = jwt.server.token({
      scope: 'secret-scope',
      'secret-name': 'secret-value',
      sub: undefined,
    })
    const result = await jwt.runner.run(token)
    expect(JSON.stringify([result, jwt.runner.lines])).not.toContain('secret-')
  })
  it('Percona 9: an identity that is an object or a number is none', async () => {
    expect(await jwt.refusal(jwt.server.token({ sub: { a: 1 } }))).toBe('identity_invalid')
    expect(await jwt.refusal(jwt.server.token({ sub: 123 }))).toBe('identity_invalid')
  })
  it('Percona 10: a key without a key id or a use spoils no other', async () => {
    await using server = await AuthorizationServer.start()
    const { kid: _, use: __, ...bare } = signingKey('ES256', 'x').jwk
    server.jwks = { keys: [bare, server.key.jwk] }
    await using runner = await startValidator({
      init: jwtInit,
      settings: SETTINGS,
      issuers: [server.issuer],
    })
    expect(await runner.run(server.token())).toMatchObject({ authorized: true })
  })
  it('UnAfraid: a token without the scope is refused, and its algorithm is not its own choice', async () => {
    expect(await jwt.refusal(jwt.server.token({ scope: undefined }))).toBe('insufficient_scope')
    const key = signingKey('RS512', jwt.server.key.kid)
    const token = signJws(
      { alg: 'RS512', kid: key.kid, typ: 'at+jwt' },
      jwt.server.claims(),
      key,
      'RS512',
    )
    expect(await jwt.refusal(token)).toBe('alg_not_allowed')
  })
  it('TantorLabs: a token nobody signed is refused, and no part of it is logged', async () => {
    const [header, payload] = jwt.server.token().split('.')
    const token = `${header}.${payload}.${encode('nobody')}`
    const result = await jwt.runner.run(token)
    expect(result.code).toBe('bad_signature')
    expectNoPartOf(token, [JSON.stringify(result), ...jwt.runner.lines])
  })
  it('TantorLabs: the last nested sub is not the identity', async () => {
    const claims = { ...jwt.server.claims(), z: { sub: 'admin' } }
    expect((await jwt.accepted(jwt.sign(jwt.header(), claims))).authnId).toBe('alice')
  })
  it('CNPG: an unverified token names nobody', async () => {
    const [header, payload] = jwt.server.token({ sub: 'admin' }).split('.')
    const result = await jwt.runner.run(`${header}.${payload}.${encode(Buffer.alloc(64))}`)
    expect(result).toMatchObject({ authorized: false })
    expect(result.authnId).toBeUndefined()
  })
  it('jalet: delegation without a claim for roles makes nobody anybody', async () => {
    await expect(
      jwt.runner.run(jwt.server.token(), { delegateIdentMapping: true, role: 'postgres' }),
    ).rejects.toMatchObject({ code: 'config_mismatch' })
    await expect(
      startValidator({
        init: jwtInit,
        settings: { ...SETTINGS, authorization: { mode: 'role_claim' } },
        issuers: [],
      }),
    ).rejects.toThrow('authorization.claim')
  })
  it('jalet: a token without sub has no identity, not an empty one', async () => {
    expect(await jwt.refusal(jwt.server.token({ sub: undefined }))).toBe('identity_invalid')
    expect(await jwt.refusal(jwt.server.token({ sub: '' }))).toBe('identity_invalid')
  })
  it('drdaeman: the only key is not used for another key id', async () => {
    expect(await jwt.refusal(jwt.server.token({}, { kid: 'another' }))).toBe('no_matching_key')
    expect(await jwt.refusal(jwt.server.token({}, { kid: undefined }))).toBe('no_matching_key')
  })
  it('proddata, too strict: a thumbprint, a key without alg and repeated entries are fine', async () => {
    await using server = await AuthorizationServer.start()
    const { alg: _, use: __, ...bare } = server.key.jwk
    server.jwks = { keys: [bare] }
    await using runner = await startValidator({
      init: jwtInit,
      settings: SETTINGS,
      issuers: [server.issuer],
    })
    const audience = 'https://db.example.com'
    const token = server.token({ aud: [audience, audience], scope: 'db db' }, { x5t: 'abc' })
    expect(await runner.run(token)).toMatchObject({ authorized: true })
  })
  it('CockroachDB: a login with known keys does not wait for one that fetches', async () => {
    await using slow = await AuthorizationServer.start()
    slow.overrides.set('', () => undefined)
    await using runner = await startValidator({
      init: jwtInit,
      settings: { ...SETTINGS, http: { ...SETTINGS.http, timeout: '500ms' } },
      issuers: [jwt.server.issuer, slow.issuer],
    })
    const stuck = runner.run(slow.token(), { issuer: slow.issuer })
    const rejected = expect(stuck).rejects.toMatchObject({ code: 'timeout' })
    expect(await runner.run(jwt.server.token())).toMatchObject({ authorized: true })
    await rejected
  })
})

describe('lessons of advisories', () => {
  it('CVE-2018-0114: a key in the header is not used', async () => {
    const own = signingKey('ES256', 'k1')
    const header = { alg: 'ES256', typ: 'at+jwt', kid: 'k1', jwk: own.jwk }
    expect(await jwt.refusal(signJws(header, jwt.server.claims(), own, 'ES256'))).toBe(
      'header_rejected',
    )
  })
  it('CVE-2020-26160: a list of audiences is not a way around the check', async () => {
    expect(await jwt.refusal(jwt.server.token({ aud: ['x', 'y'] }))).toBe('wrong_audience')
    expect(await jwt.refusal(jwt.server.token({ aud: [] }))).toBe('wrong_audience')
  })
  it('CVE-2020-28042: an empty signature is none', async () => {
    const [header, payload] = jwt.server.token().split('.')
    expect(await jwt.refusal(`${header}.${payload}.`)).toBe('bad_signature')
  })
  it('CVE-2024-53861: a part of the issuer is not the issuer', async () => {
    for (let length = 0; length < jwt.server.issuer.length; length += 3) {
      expect(await jwt.refusal(jwt.server.token({ iss: jwt.server.issuer.slice(0, length) }))).toBe(
        'unknown_issuer',
      )
    }
  })
  it('CVE-2025-30204: a hundred thousand dots cost nothing', async () => {
    const dots = `${jwt.server.token()}${'.'.repeat(10_000)}`
    expect(await jwt.refusal(dots)).toBe('malformed')
  })
  it('CVE-2026-35039: what was remembered for one token is not the answer for another', async () => {
    const alice = jwt.server.token({ sub: 'alice' })
    const bob = jwt.server.token({ sub: 'bob' })
    for (let i = 0; i < 3; i += 1) {
      expect((await jwt.accepted(alice)).authnId).toBe('alice')
      expect((await jwt.accepted(bob)).authnId).toBe('bob')
    }
    const [header, , signature] = alice.split('.')
    expect(await jwt.refusal([header, bob.split('.')[1], signature].join('.'))).toBe(
      'bad_signature',
    )
  })
  it('CVE-2026-35041: no setting takes a regular expression', async () => {
    const claim_rules = [{ path: '/sub', op: 'regex', value: '(a+)+$' }]
    await expect(
      startValidator({ init: jwtInit, settings: { ...SETTINGS, claim_rules }, issuers: [] }),
    ).rejects.toThrow('claim_rules.0')
  })
  it('CVE-2026-44459: infinite and falsy dates are no dates', async () => {
    for (const exp of [0, null, false, '']) {
      expect((await jwt.runner.run(jwt.server.token({ exp }))).authorized).toBe(false)
    }
    const text = JSON.stringify(jwt.server.claims({ exp: 0 })).replace('"exp":0', '"exp":1e999')
    expect(await jwt.refusal(jwt.sign(jwt.header(), text))).toBe('bad_claim_type')
  })
  it("CVE-2026-48523: the key's algorithm and the token's are the same one", async () => {
    await using server = await AuthorizationServer.start({ key: signingKey('RS256', 'k1') })
    await using runner = await startValidator({
      init: jwtInit,
      settings: SETTINGS,
      issuers: [server.issuer],
    })
    const token = signJws(
      { alg: 'PS256', kid: 'k1', typ: 'at+jwt' },
      server.claims(),
      server.key,
      'PS256',
    )
    expect(await runner.run(token)).toMatchObject({ code: 'no_matching_key' })
  })
  it('CVE-2023-3128: an e-mail address that nobody verified is no identity', async () => {
    await using runner = await startValidator({
      init: jwtInit,
      settings: { ...SETTINGS, identity: { claims: ['/email'] } },
      issuers: [jwt.server.issuer],
    })
    expect(await runner.run(jwt.server.token({ email: 'root@example.com' }))).toMatchObject({
      code: 'email_unverified',
    })
  })
  it('CVE-2024-45808: what a token says starts no line of its own in the log', async () => {
    await jwt.runner.run(jwt.server.token({}, { kid: 'a\nfatal: b' }))
    await jwt.runner.run(jwt.server.token({ sub: 'a\nfatal: b' }))
    expect(jwt.runner.lines.join('')).not.toContain('fatal: b')
  })
})
