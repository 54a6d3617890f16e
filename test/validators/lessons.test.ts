/**
 * What others got wrong: every weakness of the validators for PostgreSQL in spec/validators.md §4, as a token,
 * a document or a setting that must not work here. Published advisories (§10): `advisories.test.ts`.
 */
import { describe, expect, it, vi } from 'vitest'
import compositeInit from '../../validators/composite.ts'
import introspectionInit from '../../validators/introspection.ts'
import jwtInit from '../../validators/jwt.ts'
import { AuthorizationServer, json } from './support/authorization-server.ts'
import { expectNoPartOf, SETTINGS, useJwt } from './support/jwt-fixture.ts'
import { type Runner, startValidator } from './support/run-validator.ts'
import { encode, signHmac, signingKey, signJws } from './support/signing-key.ts'

const jwt = useJwt()
const OURS = { init: jwtInit, settings: SETTINGS, issuers: [] }
/** A `jwt` of its own, for what must not be shared. */
const start = (server: AuthorizationServer, more: object = {}): Promise<Runner> =>
  startValidator({ ...OURS, settings: { ...SETTINGS, ...more }, issuers: [server.issuer] })

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
  it('Percona 5: a key set larger than eight kilobytes is kept, too', async () => {
    await using server = await AuthorizationServer.start()
    const certificate = 'A'.repeat(9_000)
    server.jwks = { keys: [{ ...server.key.jwk, x5c: [certificate] }] }
    await using runner = await start(server)
    for (let i = 0; i < 5; i += 1) {
      expect(await runner.run(server.token())).toMatchObject({ authorized: true })
    }
    expect(server.count('/jwks')).toBe(1)
  })
  it('Percona 6: no plain HTTP, no document of another issuer, no endless body', async () => {
    await expect(startValidator({ ...OURS, issuers: ['http://as.example'] })).rejects.toThrow(
      'http://as.example',
    )
    await using mixed = await AuthorizationServer.start()
    mixed.metadata = { ...mixed.metadata, issuer: 'https://other.example' }
    await using first = await start(mixed)
    await expect(first.run(mixed.token())).rejects.toMatchObject({ code: 'provider_bad_response' })
    await using endless = await AuthorizationServer.start()
    endless.overrides.set('/jwks', (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(`{"keys":[${'0,'.repeat(1_000_000)}0]}`)
    })
    await using second = await start(endless)
    await expect(second.run(endless.token())).rejects.toMatchObject({
      code: 'provider_bad_response',
    })
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
  it('UnAfraid: the network is not needed for a login, and nobody is named in the log', async () => {
    await using server = await AuthorizationServer.start()
    await using runner = await start(server)
    await runner.run(server.token())
    server.fail()
    const before = server.total
    expect(await runner.run(server.token({ sub: 'carol' }))).toMatchObject({ authorized: true })
    expect(server.total).toBe(before)
    expect(runner.lines.join('\n')).not.toContain('carol')
  })
  it('UnAfraid: a token that grants no role is not made one that the client asks for', async () => {
    const request = {
      role: 'admin',
      options: { role_claim: ['roles'] },
      delegateIdentMapping: true,
    }
    expect(await jwt.refusal(jwt.server.token(), request)).toBe('role_not_granted')
  })
  it('UnAfraid: nothing of the environment changes a setting', async () => {
    const names = [
      'AUDIENCES',
      'OAUTH_AUDIENCE',
      'PGBEARER_AUDIENCES',
      'HTTPS_PROXY',
      'https_proxy',
    ]
    for (const name of names) {
      vi.stubEnv(name, 'http://127.0.0.1:1')
    }
    await using server = await AuthorizationServer.start()
    await using runner = await start(server)
    expect(await runner.run(server.token())).toMatchObject({ authorized: true })
    expect(await runner.run(server.token({ aud: 'http://127.0.0.1:1' }))).toMatchObject({
      code: 'wrong_audience',
    })
    vi.unstubAllEnvs()
  })
  it('TantorLabs: a token that has expired, or of another issuer, is refused', async () => {
    expect(await jwt.refusal(jwt.server.token({ iat: 1, exp: 2 }))).toBe('expired')
    expect(await jwt.refusal(jwt.server.token({ iss: 'https://other.example' }))).toBe(
      'unknown_issuer',
    )
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
  it('CNPG: a nested or an earlier member is neither the issuer nor the user', async () => {
    const claims = jwt.server.claims({ iss: 'https://other.example' })
    const nested = { x: { iss: jwt.server.issuer, sub: 'admin' }, ...claims }
    expect(await jwt.refusal(jwt.sign(jwt.header(), nested))).toBe('unknown_issuer')
    const twice = JSON.stringify(jwt.server.claims()).replace('{', '{"sub":"admin",')
    expect(await jwt.refusal(jwt.sign(jwt.header(), twice))).toBe('malformed')
  })
  it('CNPG: a yes is not a text somewhere in the answer of the provider', async () => {
    await using server = await AuthorizationServer.start()
    server.metadata = { ...server.metadata, introspection_endpoint: `${server.issuer}/introspect` }
    const answers = [
      { active: false, note: '{"active": true}' },
      { active: false, x: { active: true } },
      { x: { active: true } },
      { active: 'true' },
    ]
    await using runner = await startValidator({
      init: introspectionInit,
      settings: {
        ...SETTINGS,
        client_auth: { method: 'bearer', client_id: 'db', token: { file: 'secret' } },
      },
      issuers: [server.issuer],
      files: { secret: 's' },
    })
    for (const [index, answer] of answers.entries()) {
      server.overrides.set('/introspect', (_request, response) =>
        json(response, { ...server.claims(), ...answer }),
      )
      expect(await runner.run(`an-opaque-token-number-${index}`)).toMatchObject({
        authorized: false,
        code: 'token_inactive',
      })
    }
  })
  it('CNPG: an outage of the provider is none of the logins', async () => {
    await using server = await AuthorizationServer.start()
    await using runner = await start(server)
    await runner.run(server.token())
    server.fail()
    expect(await runner.run(server.token())).toMatchObject({ authorized: true })
  })
  it('jalet: many connections fetch the keys once, and a new key works with its first token', async () => {
    await using server = await AuthorizationServer.start()
    await using runner = await start(server)
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        expect(await runner.run(server.token())).toMatchObject({ authorized: true })
      }),
    )
    expect(server.count('/jwks')).toBe(1)
    server.rotate('k2')
    expect(await runner.run(server.token())).toMatchObject({ authorized: true })
    expect(server.count('/jwks')).toBe(2)
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
  it('drdaeman: the check of the issuer cannot be turned off', async () => {
    for (const name of ['check_issuer', 'verify_issuer', 'skip_issuer_check']) {
      const settings = { ...SETTINGS, [name]: false }
      await expect(startValidator({ ...OURS, settings })).rejects.toThrow(
        `${name}: unknown setting`,
      )
    }
    // What may be left out may not be somebody else's.
    await using server = await AuthorizationServer.start()
    await using runner = await start(server, { allow_missing_issuer: true })
    expect(await runner.run(server.token({ iss: undefined }))).toMatchObject({ authorized: true })
    for (const iss of ['https://other.example', '', null]) {
      expect(await runner.run(server.token({ iss }))).toMatchObject({ code: 'unknown_issuer' })
    }
  })
  it('proddata: each issuer has audiences of its own', async () => {
    await using a = await AuthorizationServer.start()
    await using b = await AuthorizationServer.start()
    const branch = ({ issuer }: AuthorizationServer, audience: string): object => ({
      issuer,
      jwt: { ...SETTINGS, audiences: [audience], identity: { format: 'issuer_qualified' } },
    })
    await using runner = await startValidator({
      init: compositeInit,
      settings: { issuers: [branch(a, 'for-a'), branch(b, 'for-b')] },
      issuers: ['https://rule.example'],
    })
    expect(await runner.run(a.token({ aud: 'for-a' }))).toMatchObject({ authorized: true })
    expect(await runner.run(a.token({ aud: 'for-b' }))).toMatchObject({ code: 'wrong_audience' })
  })
  it('proddata, too strict: connections that come while the keys are fetched wait for them', async () => {
    await using server = await AuthorizationServer.start()
    await using runner = await start(server, { prefetch: 'off' })
    const results = await Promise.all(Array.from({ length: 30 }, () => runner.run(server.token())))
    expect(results.every(({ authorized }) => authorized)).toBe(true)
    expect(server.count('/jwks')).toBe(1)
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
  it('CockroachDB: a token for another audience costs no check of its signature', async () => {
    const [header, payload] = jwt.server.token({ aud: 'other' }).split('.')
    expect(await jwt.refusal(`${header}.${payload}.${encode(Buffer.alloc(64))}`)).toBe(
      'wrong_audience',
    )
  })
})
