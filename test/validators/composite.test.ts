/** `composite`: many issuers, sealed from each other, and all-of. */
import type { ValidatorResult } from 'pgbearer/validator'
import { describe, expect, it } from 'vitest'
import composite from '../../validators/composite.ts'
import { AuthorizationServer, json } from './support/authorization-server.ts'
import { type Runner, startValidator } from './support/run-validator.ts'
import { signingKey, signJws } from './support/signing-key.ts'

const HTTP = { ca: 'ca.pem', egress: 'any' }
const AUDIENCES = ['https://db.example.com']
const qualified = { identity: { format: 'issuer_qualified' } }
const jwt = (more: Record<string, unknown> = {}): Record<string, unknown> => ({
  audiences: AUDIENCES,
  http: HTTP,
  ...qualified,
  ...more,
})
const introspection = (more: Record<string, unknown> = {}): Record<string, unknown> => ({
  ...jwt(more),
  client_auth: { method: 'bearer', client_id: 'db', token: { file: 'secret' } },
})

const start = (settings: Record<string, unknown>, rule = 'https://rule.example'): Promise<Runner> =>
  startValidator({ init: composite, settings, issuers: [rule], files: { secret: 's' } })

describe('routing', () => {
  it('gives each token to the policy of its issuer, and keeps their names apart', async () => {
    await using a = await AuthorizationServer.start()
    await using b = await AuthorizationServer.start()
    await using runner = await start({
      issuers: [
        { issuer: a.issuer, jwt: jwt() },
        { issuer: b.issuer, jwt: jwt() },
      ],
    })
    const first = await runner.run(a.token())
    const second = await runner.run(b.token())
    expect(first.authorized && second.authorized).toBe(true)
    expect(first.authnId).not.toBe(second.authnId)
  })

  it('refuses a token that names one issuer and is signed by another, whatever its key id', async () => {
    await using a = await AuthorizationServer.start()
    await using b = await AuthorizationServer.start()
    b.key = signingKey('ES256', 'only-b')
    b.jwks = { keys: [b.key.jwk] }
    await using runner = await start({
      issuers: [
        { issuer: a.issuer, jwt: jwt() },
        { issuer: b.issuer, jwt: jwt() },
      ],
    })
    expect(await runner.run(b.token({ iss: a.issuer }))).toMatchObject({ code: 'no_matching_key' })
    b.key = { ...b.key, kid: 'k1' }
    expect(await runner.run(b.token({ iss: a.issuer }))).toMatchObject({ code: 'bad_signature' })
  })

  it('refuses an unknown issuer and everything that is no JWT without asking anybody', async () => {
    await using a = await AuthorizationServer.start()
    await using stranger = await AuthorizationServer.start()
    await using runner = await start({
      issuers: [{ issuer: a.issuer, jwt: jwt({ prefetch: 'required' }) }],
    })
    const before = a.total
    for (const iss of [
      stranger.issuer,
      `${a.issuer}/`,
      undefined,
      [a.issuer],
      { a: 1 },
      'constructor',
      '__proto__',
    ]) {
      expect(await runner.run(stranger.token({ iss }))).toMatchObject({ code: 'unknown_issuer' })
    }
    expect(await runner.run('an-opaque-token-of-somebody')).toMatchObject({ code: 'malformed' })
    expect(await runner.run(`${a.token()}.x`)).toMatchObject({ code: 'malformed' })
    expect(a.total).toBe(before)
    expect(stranger.total).toBe(0)
  })

  it('does not try another policy after a refusal', async () => {
    await using a = await AuthorizationServer.start()
    a.overrides.set('/introspect', (_request, response) =>
      json(response, { active: true, ...a.claims() }),
    )
    await using runner = await start({
      issuers: [{ issuer: a.issuer, jwt: jwt() }],
      opaque: {
        issuer: a.issuer,
        introspection: introspection({ endpoint: `${a.issuer}/introspect` }),
      },
      allow_identity_overlap: true,
    })
    expect(await runner.run(a.token({ aud: 'other' }))).toMatchObject({ code: 'wrong_audience' })
    expect(a.count('/introspect')).toBe(0)
    expect(await runner.run('an-opaque-token-of-a')).toMatchObject({ authorized: true })
  })

  it('tells two policies of one issuer apart by the claim that is configured', async () => {
    await using a = await AuthorizationServer.start()
    const policy = (value: string): Record<string, unknown> => ({
      issuer: a.issuer,
      select_by: { claim: 'aud', value },
      jwt: jwt({
        audiences: [value],
        identity: { claims: [{ path: '/sub', prefix: `${value}:` }] },
      }),
    })
    await using runner = await start({ issuers: [policy('one'), policy('two')] })
    expect(await runner.run(a.token({ aud: 'one' }))).toMatchObject({ authnId: 'one:alice' })
    expect(await runner.run(a.token({ aud: ['x', 'two'] }))).toMatchObject({ authnId: 'two:alice' })
    expect(await runner.run(a.token({ aud: ['one', 'two'] }))).toMatchObject({
      code: 'unknown_issuer',
    })
    expect(await runner.run(a.token({ aud: 'three' }))).toMatchObject({ code: 'unknown_issuer' })
  })
})

describe('settings', () => {
  const issuers = (...tables: Record<string, unknown>[]): Record<string, unknown> => ({
    issuers: tables.map((table, i) => ({
      issuer: `https://${i}.example`,
      jwt: { ...jwt(), prefetch: 'off', ...table },
    })),
  })
  it("refuse issuers that can name each other's users", async () => {
    for (const identity of [
      {},
      { claims: ['/email'] },
      { format: 'template', template: '{sub}:{x}' },
    ]) {
      await expect(start(issuers({ identity }, {}))).rejects.toThrow('could be the same')
    }
    const prefixed = (prefix: string): Record<string, unknown> => ({
      identity: { claims: [{ path: '/sub', prefix }] },
    })
    await expect(start(issuers(prefixed('a:'), prefixed('a:b:')))).rejects.toThrow(
      'could be the same',
    )
    await using _ = await start(issuers(prefixed('a:'), prefixed('b:')))
    await using allowed = await start({
      ...issuers({ identity: {} }, {}),
      allow_identity_overlap: true,
    })
    expect(allowed.lines.join('\n')).toContain('allow_identity_overlap')
  })
  it('refuse the same issuer twice without a way to tell tokens apart', async () => {
    const one = { issuer: 'https://a.example', jwt: jwt() }
    await expect(start({ issuers: [one, one] })).rejects.toThrow('appears 2 times')
    const by = { ...one, select_by: { claim: 'aud', value: 'x' } }
    await expect(start({ issuers: [by, by] })).rejects.toThrow('appears 2 times')
  })
  it('name a mistake inside the table of a policy, and leave nothing running', async () => {
    await expect(start(issuers({}, { audience: 'x' }))).rejects.toThrow('unknown setting')
    await expect(start({ issuers: [{ issuer: 'https://a.example' }] })).rejects.toThrow('needs jwt')
    await expect(start({ issuers: [] })).rejects.toThrow('issuers')
  })
})

describe('a preset inside', () => {
  const guid = (digit: string): string => `${digit.repeat(8)}-2222-3333-4444-555555555555`
  const entra = (digit: string, identity: unknown): Record<string, unknown> => ({
    issuer: `https://login.microsoftonline.com/${guid(digit)}/v2.0`,
    jwt: {
      preset: { name: 'entra', tenant_id: guid(digit) },
      audiences: AUDIENCES,
      prefetch: 'off',
      ...(identity === undefined ? {} : { identity }),
    },
  })
  it('decides what identities begin with, whatever else the table says', async () => {
    // The template of the preset is used, and the prefix is not.
    const ignored = (prefix: string): unknown => ({ claims: [{ path: '/oid', prefix }] })
    await expect(
      start({ issuers: [entra('1', ignored('one:')), entra('2', ignored('two:'))] }),
    ).rejects.toThrow('could be the same')
    const used = (prefix: string): unknown => ({ template: `${prefix}{tid}:{oid}` })
    await using _ = await start({ issuers: [entra('1', used('one:')), entra('2', used('two:'))] })
  })
  it('that gives each identity a beginning of its own needs no other', async () => {
    const ci = { preset: 'gitlab-ci', audiences: AUDIENCES, prefetch: 'off' }
    const other = jwt({ prefetch: 'off', identity: { claims: [{ path: '/sub', prefix: 'b:' }] } })
    const issuers = [
      { issuer: 'https://gitlab.example', jwt: ci },
      { issuer: 'https://b.example', jwt: other },
    ]
    await using _ = await start({ issuers })
    await expect(
      start({ issuers: [...issuers, { issuer: 'https://other.example', jwt: ci }] }),
    ).rejects.toThrow('could be the same')
  })
  it('that is none is named with its issuer', async () => {
    const issuers = [{ issuer: 'https://a.example', jwt: { preset: 'kecloak' } }]
    await expect(start({ issuers })).rejects.toThrow(
      'issuer "https://a.example", jwt: preset: must be one of',
    )
  })
  it('of Entra, version 1: the branch has the issuer that the tokens name', async () => {
    const tenant = '11111111-2222-3333-4444-555555555555'
    const issuer = `https://sts.windows.net/${tenant}/`
    const key = signingKey('RS256', 'k1')
    const v1 = (preset: Record<string, unknown>): Record<string, unknown> => ({
      issuers: [
        { issuer, jwt: { ...preset, audiences: AUDIENCES, jwks: { keys: [key.jwk] } } },
        { issuer: 'https://b.example', jwt: jwt({ prefetch: 'off' }) },
      ],
      allow_identity_overlap: true,
    })
    const preset = { name: 'entra-v1', tenant_id: tenant }
    await expect(start(v1({ preset }))).rejects.toThrow("the rule's issuer is")
    await using runner = await start(v1({ preset, issuer }))
    const now = Math.floor(Date.now() / 1_000)
    const claims = { iss: issuer, aud: AUDIENCES, ver: '1.0', tid: tenant, oid: 'o1', scp: 'db' }
    const token = signJws(
      { alg: 'RS256', kid: 'k1', typ: 'JWT' },
      { ...claims, appid: 'a', iat: now, exp: now + 600 },
      key,
      'RS256',
    )
    expect(await runner.run(token)).toMatchObject({ authorized: true, authnId: `${tenant}:o1` })
  })
})

describe('jwt and introspection together', () => {
  async function both(
    answer: (server: AuthorizationServer) => Record<string, unknown>,
    more: Record<string, unknown> = {},
    clients: Record<string, unknown> = {},
  ): Promise<[AuthorizationServer, Runner]> {
    const server = await AuthorizationServer.start()
    server.metadata = { ...server.metadata, introspection_endpoint: `${server.issuer}/introspect` }
    server.overrides.set('/introspect', (_request, response) => json(response, answer(server)))
    const runner = await start({
      issuers: [
        { issuer: server.issuer, jwt: jwt(clients), introspection: introspection(clients) },
      ],
      ...more,
    })
    return [server, runner]
  }
  /** The answer to `token`, where introspection says `said` about it. */
  async function judged(
    said: Record<string, unknown>,
    token: Record<string, unknown> = {},
    more: Record<string, unknown> = {},
    clients: Record<string, unknown> = {},
  ): Promise<ValidatorResult> {
    const [server, runner] = await both(
      (server) => ({ active: true, ...server.claims(said) }),
      more,
      clients,
    )
    await using _ = server
    await using __ = runner
    return await runner.run(server.token(token))
  }
  it('accept what both accept, until the earlier end', async () => {
    const exp = Math.floor(Date.now() / 1_000) + 100
    const [server, runner] = await both((server) => ({ active: true, ...server.claims({ exp }) }))
    await using _ = server
    await using __ = runner
    expect(await runner.run(server.token())).toMatchObject({ authorized: true, expiresAt: exp })
  })
  it('refuse what was revoked, and what speaks of somebody else', async () => {
    const [revoked, first] = await both(() => ({ active: false }))
    await using _ = revoked
    await using __ = first
    expect(await first.run(revoked.token())).toMatchObject({
      authorized: false,
      code: 'token_inactive',
    })
    const [other, second] = await both((server) => ({
      active: true,
      ...server.claims({ sub: 'bob' }),
    }))
    await using ___ = other
    await using ____ = second
    expect(await second.run(other.token())).toMatchObject({
      authorized: false,
      code: 'identity_invalid',
    })
  })
  it('refuse a token that one of them knows as that of another client', async () => {
    const refused = { authorized: false, code: 'client_not_allowed' }
    expect(await judged({ client_id: 'other' })).toMatchObject(refused)
    expect(await judged({ client_id: 'App' })).toMatchObject(refused)
    const allowed = { allowed_clients: { claim: 'client_id', values: ['app', 'other'] } }
    expect(await judged({ client_id: 'other' }, {}, {}, allowed)).toMatchObject(refused)
    expect(await judged({ client_id: 'other', azp: 'app' })).toMatchObject(refused)
    const result = await judged({ client_id: 'other' })
    expect(result.authnId).toMatch(/^v1\./)
    expect(result.errorDetail).not.toContain('other')
  })
  it('refuse a token whose client only one of them knows, unless that is allowed', async () => {
    const refused = { authorized: false, code: 'client_not_allowed' }
    expect(await judged({ client_id: undefined })).toMatchObject(refused)
    expect(await judged({}, { client_id: undefined })).toMatchObject(refused)
    expect(await judged({ client_id: 1 })).toMatchObject(refused)
    const relaxed = { allow_missing_client: true }
    expect(await judged({ client_id: undefined }, {}, relaxed)).toMatchObject({ authorized: true })
    expect(await judged({ client_id: 'other' }, {}, relaxed)).toMatchObject(refused)
  })
  it('refuse a token whose client is no text, also where both say the same', async () => {
    const refused = { authorized: false, code: 'client_not_allowed' }
    for (const client_id of [7, ['app'], null, { id: 'app' }]) {
      expect(await judged({ client_id }, { client_id })).toMatchObject(refused)
      expect(await judged({ client_id }, { client_id: ['other'] })).toMatchObject(refused)
      const relaxed = { allow_missing_client: true }
      expect(await judged({ client_id }, {}, relaxed)).toMatchObject(refused)
      expect(await judged({ client_id: undefined }, { client_id }, relaxed)).toMatchObject(refused)
    }
  })
  it('know a client by what its provider calls it, and accept where nobody names one', async () => {
    const accepted = { authorized: true }
    for (const name of ['azp', 'cid', 'appid']) {
      expect(await judged({}, { client_id: undefined, [name]: 'app' })).toMatchObject(accepted)
      const other = await judged({}, { client_id: undefined, [name]: 'other' })
      expect(other).toMatchObject({ code: 'client_not_allowed' })
    }
    const nobody = { client_id: undefined }
    expect(await judged(nobody, nobody)).toMatchObject(accepted)
  })
  it('refuse an answer about a token of another issuer', async () => {
    expect(await judged({ iss: 'https://other.example' })).toMatchObject({ code: 'unknown_issuer' })
  })
  it('say that a member may leave the client out', async () => {
    const [server, runner] = await both(() => ({ active: false }), { allow_missing_client: true })
    await using _ = server
    await using __ = runner
    expect(runner.lines.join('\n')).toContain('relaxed by the setting allow_missing_client = true')
  })
  it('do not ask about a token whose signature is wrong', async () => {
    const [server, runner] = await both((server) => ({ active: true, ...server.claims() }))
    await using _ = server
    await using __ = runner
    const [header, payload] = server.token().split('.')
    expect(await runner.run(`${header}.${payload}.${'A'.repeat(86)}`)).toMatchObject({
      code: 'bad_signature',
    })
    expect(server.count('/introspect')).toBe(0)
  })
})
