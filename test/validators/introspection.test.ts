/** `introspection`, and the rows INT-01 to INT-06 of spec/validators.md §8.1. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { jwtVerify } from 'jose'
import { afterEach, describe, expect, it, vi } from 'vitest'
import introspection from '../../validators/introspection.ts'
import { AuthorizationServer, json } from './support/authorization-server.ts'
import { expectNoPartOf } from './support/jwt-fixture.ts'
import { type Runner, startValidator } from './support/run-validator.ts'
import { signingKey, signJws } from './support/signing-key.ts'

const TOKEN = 'an-opaque-token-of-the-provider'
const AUDIENCE = 'https://db.example.com'
const SECRET = 'top/secret?'
const SETTINGS = {
  audiences: [AUDIENCE],
  client_auth: {
    method: 'client_secret_basic',
    client_id: 'pg:db',
    client_secret: { file: 'secret' },
  },
  http: { ca: 'ca.pem', egress: 'any' },
}

interface Asked {
  readonly headers: IncomingMessage['headers']
  readonly form: URLSearchParams
}

/** A server whose introspection endpoint answers so, and what it was asked. */
async function start(
  answer: (claims: Record<string, unknown>) => unknown = (claims) => claims,
): Promise<{
  server: AuthorizationServer
  asked: Asked[]
}> {
  const server = await AuthorizationServer.start()
  server.metadata = { ...server.metadata, introspection_endpoint: `${server.issuer}/introspect` }
  const asked: Asked[] = []
  server.overrides.set('/introspect', (request, response, body) => {
    asked.push({ headers: request.headers, form: new URLSearchParams(body) })
    json(response, answer({ active: true, ...server.claims() }))
  })
  return { server, asked }
}

const run = (
  server: AuthorizationServer,
  settings: Record<string, unknown> = {},
): Promise<Runner> =>
  startValidator({
    init: introspection,
    settings: { ...SETTINGS, ...settings },
    issuers: [server.issuer],
    files: {
      secret: `${SECRET}\n`,
      'key.pem': KEY.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    },
  })

const KEY = signingKey('ES256', 'client-key')

afterEach(() => {
  vi.useRealTimers()
})

describe('introspection', () => {
  it('accepts an active token for us, and says who it is and until when', async () => {
    const { server } = await start()
    await using _ = server
    await using runner = await run(server)
    const result = await runner.run(TOKEN)
    expect(result).toMatchObject({ authorized: true, authnId: 'alice' })
    expect(result.expiresAt).toBeGreaterThan(Date.now() / 1_000)
  })

  it('asks with the token in the form and our secret, form-encoded, in the header', async () => {
    const { server, asked } = await start()
    await using _ = server
    await using runner = await run(server)
    await runner.run(TOKEN)
    expect(Object.fromEntries(asked[0]!.form)).toEqual({
      token: TOKEN,
      token_type_hint: 'access_token',
    })
    const pair = Buffer.from(String(asked[0]!.headers.authorization).slice(6), 'base64').toString()
    expect(pair).toBe('pg%3Adb:top%2Fsecret%3F')
  })

  it('can put the secret into the form', async () => {
    const { server, asked } = await start()
    await using _ = server
    await using runner = await run(server, {
      client_auth: { ...SETTINGS.client_auth, method: 'client_secret_post' },
    })
    await runner.run(TOKEN)
    expect(asked[0]!.form.get('client_secret')).toBe(SECRET)
    expect(asked[0]!.headers.authorization).toBeUndefined()
  })

  it('can sign an assertion instead of having a secret', async () => {
    const { server, asked } = await start()
    await using _ = server
    const client_auth = {
      method: 'private_key_jwt',
      client_id: 'db',
      private_key: { file: 'key.pem' },
      alg: 'ES256',
      kid: 'client-key',
    }
    await using runner = await run(server, { client_auth, cache: { positive: 0 } })
    await runner.run(TOKEN)
    await runner.run(TOKEN)
    const assertions = asked.map(({ form }) => String(form.get('client_assertion')))
    const { payload, protectedHeader } = await jwtVerify(assertions[0]!, KEY.publicKey, {
      issuer: 'db',
      subject: 'db',
      audience: server.issuer,
    })
    expect(protectedHeader).toEqual({ alg: 'ES256', kid: 'client-key' })
    expect(payload.exp! - payload.iat!).toBe(60)
    expect(new Set(assertions).size).toBe(2)
  })

  it('reads a secret from the environment, and does not start without it', async () => {
    const { server } = await start()
    await using _ = server
    const client_auth = { ...SETTINGS.client_auth, client_secret: { env: 'PGBEARER_TEST_SECRET' } }
    await expect(run(server, { client_auth })).rejects.toThrow('PGBEARER_TEST_SECRET')
    await expect(
      run(server, { client_auth: { ...client_auth, client_secret: SECRET } }),
    ).rejects.toThrow('secrets are not written')
  })

  it('wants an audience, or says out loud that the client is checked instead', async () => {
    const { server } = await start((claims) => ({ ...claims, aud: undefined }))
    await using _ = server
    await expect(run(server, { audiences: undefined })).rejects.toThrow('audiences is required')
    const settings = { audiences: undefined, allow_missing_audience: true }
    await expect(run(server, settings)).rejects.toThrow('allowed_clients')
    await using runner = await run(server, {
      ...settings,
      allowed_clients: { claim: 'client_id', values: ['app'] },
    })
    expect(await runner.run(TOKEN)).toMatchObject({ authorized: true })
    expect(runner.lines.join('\n')).toContain('allow_missing_audience')
  })
})

describe('INT-01 and INT-03: answers that are not a yes', () => {
  const rows: readonly (readonly [string, string, (claims: Record<string, unknown>) => unknown])[] =
    [
      ['active false', 'token_inactive', () => ({ active: false })],
      ['active "true"', 'token_inactive', (claims) => ({ ...claims, active: 'true' })],
      ['active 1', 'token_inactive', (claims) => ({ ...claims, active: 1 })],
      ['active missing', 'token_inactive', (claims) => ({ ...claims, active: undefined })],
      ['active null', 'token_inactive', (claims) => ({ ...claims, active: null })],
      ['active [true]', 'token_inactive', (claims) => ({ ...claims, active: [true] })],
      ['an empty object', 'token_inactive', () => ({})],
      [
        'another issuer',
        'unknown_issuer',
        (claims) => ({ ...claims, iss: 'https://other.example' }),
      ],
      ['another audience', 'wrong_audience', (claims) => ({ ...claims, aud: 'other' })],
      ['no audience', 'wrong_audience', (claims) => ({ ...claims, aud: undefined })],
      ['no end', 'missing_claim', (claims) => ({ ...claims, exp: undefined })],
      ['an end in the past', 'expired', (claims) => ({ ...claims, iat: 1, exp: 2 })],
      ['another scope', 'insufficient_scope', (claims) => ({ ...claims, scope: 'x' })],
      ['no owner', 'identity_invalid', (claims) => ({ ...claims, sub: undefined })],
      ['a DPoP token', 'sender_constrained', (claims) => ({ ...claims, token_type: 'DPoP' })],
      ['a bound token', 'sender_constrained', (claims) => ({ ...claims, cnf: { jkt: 'x' } })],
    ]
  for (const [name, code, answer] of rows) {
    it(`refuses ${name}: ${code}`, async () => {
      const { server } = await start(answer)
      await using _ = server
      await using runner = await run(server)
      const result = await runner.run(TOKEN)
      expect(result).toMatchObject({ authorized: false, code })
      expectNoPartOf(TOKEN, [JSON.stringify(result), ...runner.lines])
    })
  }
  it('accepts an answer without iss and iat, which RFC 7662 leaves out', async () => {
    const { server } = await start((claims) => ({ ...claims, iss: undefined, iat: undefined }))
    await using _ = server
    await using runner = await run(server)
    expect(await runner.run(TOKEN)).toMatchObject({ authorized: true })
  })
})

const raw =
  (text: string, type = 'application/json') =>
  (response: ServerResponse) =>
    response.writeHead(200, { 'content-type': type }).end(text)

describe('INT-01 and INT-02: endpoints that do not answer', () => {
  const rows: readonly (readonly [string, string, (response: ServerResponse) => unknown])[] = [
    ['HTML', 'provider_bad_response', raw('<html>', 'text/html')],
    ['status 204', 'provider_bad_response', (response) => response.writeHead(204).end()],
    ['a huge body', 'provider_bad_response', raw(`{"active":true,"x":"${'y'.repeat(100_000)}"}`)],
    ['active twice', 'provider_bad_response', raw('{"active":false,"active":true}')],
    ['a list', 'provider_bad_response', raw('[{"active":true}]')],
    ['status 401', 'provider_auth_failed', (response) => response.writeHead(401).end()],
    ['status 403', 'provider_auth_failed', (response) => response.writeHead(403).end()],
    [
      'status 429',
      'provider_unavailable',
      (response) => response.writeHead(429, { 'retry-after': '30' }).end(),
    ],
    [
      'status 500',
      'provider_unavailable',
      (response) => response.writeHead(500).end('{"active":true}'),
    ],
    [
      'status 201',
      'provider_bad_response',
      (response) =>
        response.writeHead(201, { 'content-type': 'application/json' }).end('{"active":true}'),
    ],
    [
      'a redirect',
      'provider_bad_response',
      (response) => response.writeHead(302, { location: '/jwks' }).end(),
    ],
    ['silence', 'timeout', () => undefined],
    ['a closed connection', 'provider_unavailable', (response) => response.destroy()],
  ]
  for (const [name, code, answer] of rows) {
    it(`${name} is a fault, not an answer: ${code}`, async () => {
      const { server } = await start()
      await using _ = server
      server.overrides.set('/introspect', (_request, response) => answer(response))
      await using runner = await run(server, { http: { ...SETTINGS.http, timeout: '150ms' } })
      const failure: unknown = await runner.run(TOKEN).catch((error: unknown) => error)
      expect(failure).toMatchObject({ code })
      expectNoPartOf(TOKEN, [String(failure), ...runner.lines])
      expect(String(failure)).not.toContain(SECRET)
    })
  }
  it('status 400 is about the token: token_inactive', async () => {
    const { server } = await start()
    await using _ = server
    server.overrides.set('/introspect', (_request, response) => response.writeHead(400).end())
    await using runner = await run(server)
    expect(await runner.run(TOKEN)).toMatchObject({ code: 'token_inactive' })
  })
  it('a token that is too long for it, or makes its answers too large, keeps nobody else out', async () => {
    const { server } = await start()
    await using _ = server
    await using runner = await run(server, { breaker: { failures: 2 } })
    const good = server.overrides.get('/introspect')!
    for (const status of [413, 414, 431]) {
      server.overrides.set('/introspect', (_request, response) => response.writeHead(status).end())
      for (let i = 0; i < 3; i += 1) {
        expect(await runner.run(`${TOKEN}-${status}-${i}`)).toMatchObject({
          authorized: false,
          code: 'limit_exceeded',
        })
      }
    }
    server.overrides.set('/introspect', (_request, response) =>
      raw(`{"active":true,"groups":"${'y'.repeat(100_000)}"}`)(response),
    )
    for (let i = 0; i < 3; i += 1) {
      await expect(runner.run(`${TOKEN}-large-${i}`)).rejects.toMatchObject({
        code: 'provider_bad_response',
      })
    }
    server.overrides.set('/introspect', good)
    expect(await runner.run(TOKEN)).toMatchObject({ authorized: true })
  })
  it('an endpoint on another host is not asked', async () => {
    const { server, asked } = await start()
    await using _ = server
    server.metadata = {
      ...server.metadata,
      introspection_endpoint: 'https://localhost:1/introspect',
    }
    await using runner = await run(server)
    await expect(runner.run(TOKEN)).rejects.toMatchObject({ code: 'provider_bad_response' })
    expect(asked).toHaveLength(0)
  })
})

describe('INT-04: what is remembered', () => {
  it('is asked once for a hundred logins at a time and for ten seconds', async () => {
    let active = true
    const { server, asked } = await start((claims) => ({ ...claims, active }))
    await using _ = server
    await using runner = await run(server)
    vi.useFakeTimers({ toFake: ['performance'] })
    const logins = await Promise.all(Array.from({ length: 100 }, () => runner.run(TOKEN)))
    expect(logins.every(({ authorized }) => authorized)).toBe(true)
    expect(asked).toHaveLength(1)
    active = false
    vi.advanceTimersByTime(9_999)
    expect((await runner.run(TOKEN)).authorized).toBe(true)
    vi.advanceTimersByTime(1)
    expect(await runner.run(TOKEN)).toMatchObject({ code: 'token_inactive' })
    expect(asked).toHaveLength(2)
    active = true
    expect(await runner.run(TOKEN)).toMatchObject({ code: 'token_inactive' })
    expect(asked).toHaveLength(2)
    vi.advanceTimersByTime(5_000)
    expect((await runner.run(TOKEN)).authorized).toBe(true)
  })
  it('can be switched off', async () => {
    const { server, asked } = await start()
    await using _ = server
    await using runner = await run(server, { cache: { positive: 0 } })
    await runner.run(TOKEN)
    await runner.run(TOKEN)
    expect(asked).toHaveLength(2)
  })
})

describe('the circuit breaker', () => {
  it('leaves a failing endpoint alone after five failures, and tries one login after ten seconds', async () => {
    const { server } = await start()
    await using _ = server
    const answer = server.overrides.get('/introspect')!
    server.overrides.set('/introspect', (_request, response) => response.writeHead(500).end())
    await using runner = await run(server)
    vi.useFakeTimers({ toFake: ['performance'] })
    const login = (i: number): Promise<unknown> => runner.run(`${TOKEN}-${i}`)
    for (let i = 0; i < 20; i += 1) {
      await expect(login(i)).rejects.toMatchObject({ code: 'provider_unavailable' })
    }
    expect(server.count('/introspect')).toBe(5)
    vi.advanceTimersByTime(10_000)
    await Promise.allSettled([login(30), login(31), login(32)])
    expect(server.count('/introspect')).toBe(6)
    server.overrides.set('/introspect', answer)
    vi.advanceTimersByTime(10_000)
    expect(await login(40)).toMatchObject({ authorized: true })
    expect(await login(41)).toMatchObject({ authorized: true })
  })
  it('is not opened by tokens that are refused', async () => {
    const { server } = await start(() => ({ active: false }))
    await using _ = server
    await using runner = await run(server)
    for (let i = 0; i < 20; i += 1) {
      expect(await runner.run(`${TOKEN}-${i}`)).toMatchObject({ code: 'token_inactive' })
    }
    expect(server.count('/introspect')).toBe(20)
  })
  it('lets only so many ask and wait at a time', async () => {
    const { server } = await start()
    await using _ = server
    const open: ServerResponse[] = []
    server.overrides.set('/introspect', (_request, response) => open.push(response))
    await using runner = await run(server, { max_concurrent: 2, queue: 1 })
    const logins = Array.from({ length: 5 }, (_, i) => runner.run(`${TOKEN}-${i}`))
    const settled = Promise.allSettled(logins)
    await expect(logins[3]).rejects.toMatchObject({ code: 'overloaded' })
    await expect(logins[4]).rejects.toMatchObject({ code: 'overloaded' })
    const pump = setInterval(
      () => open.splice(0).forEach((response) => json(response, { active: false })),
      5,
    )
    const results = await settled
    clearInterval(pump)
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(3)
  })
})

describe('INT-06: tokens of others stay here', () => {
  it('sends no token of another issuer, no broken one and none of another shape', async () => {
    const { server, asked } = await start()
    await using _ = server
    await using other = await AuthorizationServer.start()
    await using runner = await run(server, {
      opaque_tokens: { prefixes: ['an-opaque'], max_length: 100 },
    })
    expect(await runner.run(other.token())).toMatchObject({ code: 'unknown_issuer' })
    expect(await runner.run(`${other.token()}=`)).toMatchObject({ authorized: false })
    expect(await runner.run(other.token().replace('.', '=.'))).toMatchObject({
      authorized: false,
    })
    expect(await runner.run(`${other.token()}.more`)).toMatchObject({ code: 'malformed' })
    expect(await runner.run('ghp_0123456789012345678901234567890')).toMatchObject({
      code: 'malformed',
    })
    expect(await runner.run(`an-opaque${'x'.repeat(100)}`)).toMatchObject({
      code: 'limit_exceeded',
    })
    expect(await runner.run('an-opaque')).toMatchObject({ code: 'malformed' })
    expect(asked).toHaveLength(0)
    expect(await runner.run(server.token())).toMatchObject({ authorized: true })
    expect(asked).toHaveLength(1)
  })
})

describe('INT-05: signed answers', () => {
  const signed = (
    server: AuthorizationServer,
    changes: Record<string, unknown> = {},
    header: Record<string, unknown> = {},
    key = server.key,
  ): string =>
    signJws(
      { alg: 'ES256', kid: key.kid, typ: 'token-introspection+jwt', ...header },
      {
        iss: server.issuer,
        aud: 'pg:db',
        iat: Math.floor(Date.now() / 1_000),
        token_introspection: { active: true, ...server.claims() },
        ...changes,
      },
      key,
      'ES256',
    )
  const serve = (server: AuthorizationServer, jwt: () => string): void => {
    server.overrides.set('/introspect', (_request, response) => {
      raw(jwt(), 'application/token-introspection+jwt')(response)
    })
  }

  it('are accepted, and demanded where that is configured', async () => {
    const { server } = await start()
    await using _ = server
    await using unsigned = await run(server, { signed: 'require' })
    await expect(unsigned.run(TOKEN)).rejects.toMatchObject({ code: 'provider_bad_response' })
    serve(server, () => signed(server))
    for (const mode of ['prefer', 'require']) {
      await using runner = await run(server, { signed: mode })
      expect(await runner.run(TOKEN)).toMatchObject({ authorized: true, authnId: 'alice' })
    }
  })
  const stranger = signingKey('ES256', 'k1')
  const rows: Record<string, (server: AuthorizationServer) => string> = {
    'for somebody else': (server) => signed(server, { aud: 'other' }),
    'of another issuer': (server) => signed(server, { iss: 'https://other.example' }),
    'without a date': (server) => signed(server, { iat: undefined }),
    'of yesterday': (server) => signed(server, { iat: 1_000 }),
    'of another type': (server) => signed(server, {}, { typ: 'at+jwt' }),
    'without a type': (server) => signed(server, {}, { typ: undefined }),
    'with alg none': (server) => signed(server, {}, { alg: 'none' }),
    'by a stranger': (server) => signed(server, {}, {}, stranger),
    'without an answer in them': (server) => signed(server, { token_introspection: 'yes' }),
    'that are no JWT': () => 'x',
  }
  for (const [name, jwt] of Object.entries(rows)) {
    it(`${name} are a fault: provider_bad_response`, async () => {
      const { server } = await start()
      await using _ = server
      serve(server, () => jwt(server))
      await using runner = await run(server, { signed: 'prefer' })
      await expect(runner.run(TOKEN)).rejects.toMatchObject({ code: 'provider_bad_response' })
    })
  }
})
