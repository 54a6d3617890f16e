/** `userinfo` of `introspection`: it adds attributes, and proves nothing (UIN-02 of the attack list). */
import { describe, expect, it } from 'vitest'
import introspection from '../../validators/introspection.ts'
import { AuthorizationServer, json } from './support/authorization-server.ts'
import { expectNoPartOf } from './support/jwt-fixture.ts'
import { type Runner, startValidator } from './support/run-validator.ts'

const TOKEN = 'an-opaque-token-of-the-provider'
const EMAIL = { identity: { claims: ['/email'] } }

type Claims = Record<string, unknown>

/** A provider that says this about the token at its two endpoints. */
async function provider(introspected: Claims, known: Claims): Promise<AuthorizationServer> {
  const server = await AuthorizationServer.start()
  server.metadata = {
    ...server.metadata,
    introspection_endpoint: `${server.issuer}/introspect`,
    userinfo_endpoint: `${server.issuer}/userinfo`,
  }
  server.overrides.set('/introspect', (_request, response) =>
    json(response, { active: true, ...server.claims(introspected) }),
  )
  server.overrides.set('/userinfo', (request, response) => {
    expect(request.headers.authorization).toBe(`Bearer ${TOKEN}`)
    json(response, known)
  })
  return server
}

const start = (server: AuthorizationServer, settings: Claims): Promise<Runner> =>
  startValidator({
    init: introspection,
    settings: {
      audiences: ['https://db.example.com'],
      client_auth: { method: 'bearer', token: { file: 'secret' } },
      http: { ca: 'ca.pem', egress: 'any' },
      userinfo: 'metadata',
      ...settings,
    },
    issuers: [server.issuer],
    files: { secret: 'our-secret' },
  })

async function ask(server: AuthorizationServer, settings: Claims = {}): ReturnType<Runner['run']> {
  await using runner = await start(server, settings)
  const result = await runner.run(TOKEN)
  expectNoPartOf(TOKEN, [JSON.stringify(result), ...runner.lines])
  return result
}

describe('userinfo behind introspection', () => {
  const KNOWN = { sub: 'alice', email: 'a@example.com', email_verified: true }

  it('is not asked by default', async () => {
    await using server = await provider({}, KNOWN)
    expect(await ask(server, { ...EMAIL, userinfo: undefined })).toMatchObject({
      code: 'identity_invalid',
    })
    expect(server.count('/userinfo')).toBe(0)
  })

  it('adds what introspection does not say, found in the metadata or at an address', async () => {
    await using server = await provider({}, KNOWN)
    for (const userinfo of ['metadata', `${server.issuer}/userinfo`]) {
      expect(await ask(server, { ...EMAIL, userinfo })).toMatchObject({
        authorized: true,
        authnId: 'a@example.com',
      })
    }
  })

  it('changes nothing of what introspection says', async () => {
    const lies = { aud: 'x', scope: 'db', exp: 2 ** 33, active: false, department: 'dba' }
    await using server = await provider({ scope: 'other' }, { ...KNOWN, ...lies })
    expect(await ask(server)).toMatchObject({ code: 'insufficient_scope' })
    const exp = Math.floor(Date.now() / 1_000) + 100
    await using other = await provider({ exp }, { ...KNOWN, ...lies })
    const rules = { claim_rules: [{ path: '/department', op: 'eq', value: 'dba' }] }
    expect(await ask(other, rules)).toMatchObject({ authorized: true, expiresAt: exp })
  })

  it('says nothing about the token, also where introspection says nothing', async () => {
    const lies = { aud: 'https://db.example.com', scope: 'db', client_id: 'app', exp: 2 ** 33 }
    await using unscoped = await provider({ scope: undefined }, { ...KNOWN, ...lies })
    expect(await ask(unscoped)).toMatchObject({ code: 'insufficient_scope' })
    await using endless = await provider({ exp: undefined }, { ...KNOWN, ...lies })
    expect(await ask(endless)).toMatchObject({ code: 'missing_claim' })
    await using anybody = await provider({ client_id: undefined }, { ...KNOWN, ...lies })
    const allowed_clients = { claim: 'client_id', values: ['app'] }
    expect(await ask(anybody, { allowed_clients })).toMatchObject({ code: 'client_not_allowed' })
    const unbound = { audiences: undefined, allow_missing_audience: true, allowed_clients }
    expect(await ask(anybody, unbound)).toMatchObject({ code: 'client_not_allowed' })
  })

  it('that was asked too often with a token refuses that token, and keeps nobody else out', async () => {
    await using server = await provider({}, KNOWN)
    await using runner = await start(server, { breaker: { failures: 2 } })
    const answer = server.overrides.get('/userinfo')!
    server.overrides.set('/userinfo', (_request, response) =>
      response.writeHead(429, { 'retry-after': '60' }).end(),
    )
    for (let i = 0; i < 5; i += 1) {
      expect(await runner.run(`${TOKEN}-${i}`)).toMatchObject({
        authorized: false,
        code: 'limit_exceeded',
      })
    }
    server.overrides.set('/userinfo', answer)
    expect(await runner.run(TOKEN)).toMatchObject({ authorized: true })
  })

  const strangers: readonly (readonly [string, Claims, Claims])[] = [
    ['somebody else', {}, { ...KNOWN, sub: 'mallory' }],
    ['another spelling', {}, { ...KNOWN, sub: 'Alice' }],
    ['nobody', {}, { email: 'a@example.com', email_verified: true }],
    ['somebody where introspection names nobody', { sub: undefined }, KNOWN],
    ['nobody, as introspection does', { sub: undefined }, { ...KNOWN, sub: undefined }],
    ['a number', { sub: 7 }, { ...KNOWN, sub: 7 }],
  ]
  for (const [name, introspected, known] of strangers) {
    it(`that names ${name} refuses the token: identity_invalid`, async () => {
      await using server = await provider(introspected, known)
      expect(await ask(server, EMAIL)).toMatchObject({
        authorized: false,
        code: 'identity_invalid',
      })
    })
  }

  it('is not asked about a token that introspection refuses', async () => {
    for (const refused of [{ active: false }, { aud: 'other' }]) {
      await using server = await provider(refused, KNOWN)
      expect(await ask(server)).toMatchObject({ authorized: false })
      expect(server.count('/userinfo')).toBe(0)
    }
  })

  it('that does not know the token, or does not answer, lets nobody in', async () => {
    await using server = await provider({}, KNOWN)
    const status = (code: number): void => {
      server.overrides.set('/userinfo', (_request, response) => response.writeHead(code).end())
    }
    status(401)
    expect(await ask(server)).toMatchObject({ code: 'token_inactive' })
    status(500)
    await expect(ask(server)).rejects.toMatchObject({ code: 'provider_unavailable' })
  })

  it('is not looked for on a host that is not allowed', async () => {
    await using server = await provider({}, KNOWN)
    for (const userinfo_endpoint of ['https://evil.example/me', undefined]) {
      server.metadata = { ...server.metadata, userinfo_endpoint }
      await expect(ask(server)).rejects.toMatchObject({ code: 'provider_bad_response' })
    }
    expect(server.count('/userinfo')).toBe(0)
  })

  it('is configured by an address or a word, over https', async () => {
    await using server = await provider({}, KNOWN)
    await expect(start(server, { userinfo: 'yes' })).rejects.toThrow('userinfo')
    await expect(start(server, { userinfo: 'http://login.example/me' })).rejects.toThrow('userinfo')
  })

  it('and signed answers need to know for which client they are', async () => {
    await using server = await provider({}, KNOWN)
    await expect(start(server, { signed: 'prefer' })).rejects.toThrow('client_id is required')
  })
})
