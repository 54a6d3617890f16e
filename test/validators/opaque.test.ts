/** `opaque`: whose token it is, and that it was made for us (UIN-01, UIN-02 of spec/validators.md §8.1). */
import { afterEach, describe, expect, it, vi } from 'vitest'
import opaque from '../../validators/opaque.ts'
import { AuthorizationServer, json } from './support/authorization-server.ts'
import { expectNoPartOf } from './support/jwt-fixture.ts'
import { type Runner, startValidator } from './support/run-validator.ts'

const HTTP = { ca: 'ca.pem', egress: 'any' }
const SCOPE = { scope: ['read'] }

const start = (server: AuthorizationServer, settings: Record<string, unknown>): Promise<Runner> =>
  startValidator({
    init: opaque,
    settings: { base_url: server.issuer, http: HTTP, ...settings },
    issuers: [server.issuer],
    files: { secret: 'our-secret' },
  })

afterEach(() => {
  vi.useRealTimers()
})

describe('github', () => {
  const TOKEN = 'gho_0123456789abcdef0123456789'
  const settings = { provider: 'github', client_id: 'ours', client_secret: { file: 'secret' } }
  const good = {
    app: { client_id: 'ours' },
    user: { id: 583_231, login: 'octocat' },
    scopes: ['read', 'repo'],
    expires_at: null,
  }
  const path = '/applications/ours/token'

  async function asked(
    answer: unknown,
    token = TOKEN,
  ): Promise<[Awaited<ReturnType<Runner['run']>>, Runner]> {
    await using server = await AuthorizationServer.start()
    server.overrides.set(path, (request, response, body) => {
      expect(request.method).toBe('POST')
      expect(JSON.parse(body)).toEqual({ access_token: token })
      expect(request.headers.authorization).toBe(
        `Basic ${Buffer.from('ours:our-secret').toString('base64')}`,
      )
      json(response, answer)
    })
    await using runner = await start(server, settings)
    return [await runner.run(token, SCOPE), runner]
  }

  it('accepts a token that was given to our application, by the number of its owner', async () => {
    const [result] = await asked(good)
    expect(result).toMatchObject({ authorized: true, authnId: '583231' })
    expect(result.expiresAt).toBeGreaterThan(Date.now() / 1_000 + 3_500)
  })
  it('ends with the token where GitHub says when that is', async () => {
    const exp = Math.floor(Date.now() / 1_000) + 600
    const [result] = await asked({ ...good, expires_at: new Date(exp * 1_000).toISOString() })
    expect(result.expiresAt).toBe(exp)
  })
  const rows: readonly (readonly [string, string, unknown])[] = [
    ['given to another application', 'wrong_audience', { ...good, app: { client_id: 'theirs' } }],
    ['given to nobody', 'wrong_audience', { ...good, app: null }],
    ['without the scope', 'insufficient_scope', { ...good, scopes: ['repo'] }],
    ['without any scope', 'insufficient_scope', { ...good, scopes: null }],
    ['that has ended', 'expired', { ...good, expires_at: '2020-01-01T00:00:00Z' }],
    ['that ends at no time', 'bad_claim_type', { ...good, expires_at: 'soon' }],
  ]
  for (const [name, code, answer] of rows) {
    it(`refuses a token ${name}: ${code}`, async () => {
      const [result, runner] = await asked(answer)
      expect(result).toMatchObject({ authorized: false, code })
      expectNoPartOf(TOKEN, [JSON.stringify(result), ...runner.lines])
    })
  }
  it('does not accept an answer that names nobody', async () => {
    for (const user of [null, {}, { id: '1' }, { id: 0 }, { id: 1.5 }]) {
      await expect(asked({ ...good, user })).rejects.toMatchObject({
        code: 'provider_bad_response',
      })
    }
  })
  it('refuses a token that GitHub does not know, and one that is none of GitHub', async () => {
    await using server = await AuthorizationServer.start()
    server.overrides.set(path, (_request, response) => response.writeHead(404).end())
    await using runner = await start(server, settings)
    expect(await runner.run(TOKEN, SCOPE)).toMatchObject({ code: 'token_inactive' })
    const before = server.total
    for (const token of [
      'ghp_0123456789abcdef0123456789',
      'ya29.0123456789abcdef',
      'gho_',
      server.token(),
    ]) {
      expect(await runner.run(token, SCOPE)).toMatchObject({ code: 'malformed' })
    }
    expect(server.total).toBe(before)
  })
  it('does not start without its secret', async () => {
    await using server = await AuthorizationServer.start()
    await expect(start(server, { provider: 'github', client_id: 'ours' })).rejects.toThrow(
      'client_secret',
    )
  })
})

describe('google', () => {
  const TOKEN = 'ya29.a0AfH6SMBx0123456789'
  const settings = { provider: 'google', client_ids: ['ours.apps.example'] }
  const exp = String(Math.floor(Date.now() / 1_000) + 3_000)
  const good = {
    azp: 'ours.apps.example',
    aud: 'ours.apps.example',
    sub: '10769150350006150715113082367',
    scope: 'read openid',
    exp,
    email: 'jo@example.com',
    email_verified: 'true',
  }

  async function asked(
    answer: unknown,
    more: Record<string, unknown> = {},
  ): ReturnType<Runner['run']> {
    await using server = await AuthorizationServer.start({ path: '/tokeninfo' })
    server.overrides.set('/tokeninfo', (request, response, body) => {
      expect(request.url).not.toContain('ya29')
      expect(new URLSearchParams(body).get('access_token')).toBe(TOKEN)
      json(response, answer)
    })
    await using runner = await start(server, { ...settings, ...more })
    return await runner.run(TOKEN, SCOPE)
  }

  it('accepts a token for one of our clients, and does not send it in an address', async () => {
    expect(await asked(good)).toMatchObject({
      authorized: true,
      authnId: good.sub,
      expiresAt: Number(exp),
    })
    const identity = { claims: ['/email'] }
    expect(await asked(good, { identity })).toMatchObject({ authnId: 'jo@example.com' })
    expect(await asked({ ...good, email_verified: 'false' }, { identity })).toMatchObject({
      code: 'email_unverified',
    })
  })
  it('refuses a token that another site got from the same person', async () => {
    for (const aud of ['theirs.apps.example', undefined, [good.aud], 'OURS.apps.example']) {
      expect(await asked({ ...good, aud })).toMatchObject({ code: 'wrong_audience' })
    }
  })
  it('does not accept an answer without an owner or an end', async () => {
    await expect(asked({ ...good, sub: undefined })).rejects.toMatchObject({
      code: 'provider_bad_response',
    })
    await expect(asked({ ...good, exp: undefined })).rejects.toMatchObject({
      code: 'provider_bad_response',
    })
    expect(await asked({ ...good, exp: '1' })).toMatchObject({ code: 'expired' })
  })
})

describe('gitlab', () => {
  const TOKEN = '0123456789abcdef0123456789abcdef'
  const settings = { provider: 'gitlab', application_uids: ['our-uid'] }
  const good = {
    resource_owner_id: 42,
    scope: ['read'],
    expires_in: 600,
    application: { uid: 'our-uid' },
  }

  async function asked(answer: unknown): ReturnType<Runner['run']> {
    await using server = await AuthorizationServer.start()
    server.overrides.set('/oauth/token/info', (request, response) => {
      expect(request.headers.authorization).toBe(`Bearer ${TOKEN}`)
      json(response, answer)
    })
    await using runner = await start(server, settings)
    return await runner.run(TOKEN, SCOPE)
  }

  it('accepts a token of our application and refuses every other', async () => {
    expect(await asked(good)).toMatchObject({ authorized: true, authnId: '42' })
    for (const application of [{ uid: 'their-uid' }, {}, null, { uid: ['our-uid'] }]) {
      expect(await asked({ ...good, application })).toMatchObject({ code: 'wrong_audience' })
    }
    expect(await asked({ ...good, expires_in: -100 })).toMatchObject({ code: 'expired' })
  })

  it('refuses a token that asks too often, or may not ask, and keeps nobody else out', async () => {
    await using server = await AuthorizationServer.start()
    await using runner = await start(server, { ...settings, breaker: { failures: 2 } })
    const refusals = [
      [429, 'limit_exceeded'],
      [403, 'token_inactive'],
      [401, 'token_inactive'],
    ] as const
    for (const [status, code] of refusals) {
      server.overrides.set('/oauth/token/info', (_request, response) =>
        response.writeHead(status, { 'retry-after': '60' }).end(),
      )
      for (let i = 0; i < 5; i += 1) {
        expect(await runner.run(`${TOKEN}${status}${i}`, SCOPE)).toMatchObject({
          authorized: false,
          code,
        })
      }
    }
    server.overrides.set('/oauth/token/info', (_request, response) => json(response, good))
    expect(await runner.run(TOKEN, SCOPE)).toMatchObject({ authorized: true })
  })
})

describe('userinfo', () => {
  const TOKEN = 'an-opaque-token-of-the-provider'
  const introspection = {
    audiences: ['https://db.example.com'],
    client_auth: { method: 'bearer', client_id: 'db', token: { file: 'secret' } },
    http: HTTP,
  }
  const settings = { provider: 'userinfo', introspection }

  async function server(
    introspected: Record<string, unknown> = {},
    known: Record<string, unknown> = { sub: 'alice', email: 'a@example.com' },
  ): Promise<AuthorizationServer> {
    const server = await AuthorizationServer.start()
    server.metadata = { ...server.metadata, introspection_endpoint: `${server.issuer}/introspect` }
    server.overrides.set('/introspect', (_request, response) =>
      json(response, { active: true, ...server.claims({ scope: 'read', ...introspected }) }),
    )
    server.overrides.set('/userinfo', (_request, response) => json(response, known))
    return server
  }
  const run = async (
    server: AuthorizationServer,
    more: Record<string, unknown> = {},
  ): ReturnType<Runner['run']> => {
    await using runner = await start(server, {
      ...settings,
      base_url: `${server.issuer}/userinfo`,
      ...more,
    })
    return await runner.run(TOKEN, SCOPE)
  }

  it('adds attributes to what introspection proves', async () => {
    await using as = await server({}, { sub: 'alice', department: 'x', scope: 'admin' })
    expect(
      await run(as, { claim_rules: [{ path: '/department', op: 'eq', value: 'x' }] }),
    ).toMatchObject({ authorized: true, authnId: 'alice' })
  })
  it('refuses a token that introspection says is for another: wrong_audience', async () => {
    await using as = await server({ aud: 'other' })
    expect(await run(as)).toMatchObject({ code: 'wrong_audience' })
    expect(as.count('/userinfo')).toBe(0)
  })
  it('refuses two answers about different people: identity_invalid', async () => {
    await using as = await server({}, { sub: 'mallory' })
    expect(await run(as)).toMatchObject({ authorized: false, code: 'identity_invalid' })
  })
  it('does not start without a proof, unless the danger is named', async () => {
    await using as = await server()
    await expect(run(as, { introspection: undefined })).rejects.toThrow('introspection is required')
    expect(
      await run(as, {
        introspection: undefined,
        dangerously_allow_unbound_tokens: true,
        allow_empty_scope: true,
        scopes: [],
      }),
    ).toMatchObject({ authorized: true, authnId: 'alice' })
  })
  it('does not take what it learned for the rules of another issuer', async () => {
    await using as = await server()
    await using other = await server({ aud: 'other' })
    await using runner = await start(as, { ...settings, base_url: `${as.issuer}/userinfo` })
    expect(await runner.run(TOKEN, SCOPE)).toMatchObject({ authorized: true })
    expect(await runner.run(TOKEN, { ...SCOPE, issuer: other.issuer })).toMatchObject({
      code: 'wrong_audience',
    })
  })
})
