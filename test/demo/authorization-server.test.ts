import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify, type JWTPayload } from 'jose'
import { describe, expect, test } from 'vitest'

import {
  type AuthorizationServer,
  startAuthorizationServer,
} from '../../src/demo/authorization-server.ts'
import { withAuthorizationServer } from '../support/authorization-server.ts'
import { withCertificates } from '../support/certificates.ts'
import { startProgram } from '../support/child-process.ts'

/** Verifies as a stranger would: by discovery, then by the published keys. */
async function verify(server: AuthorizationServer, token: string): Promise<JWTPayload> {
  const discovery = await fetch(`${server.issuer}/.well-known/openid-configuration`)
  const { issuer, jwks_uri: jwksUri } = (await discovery.json()) as Record<string, string>
  const keys = createRemoteJWKSet(new URL(jwksUri!))
  const { payload } = await jwtVerify(token, keys, {
    issuer: issuer!,
    audience: server.audience,
    typ: 'at+jwt',
  })
  return payload
}

describe('the authorization server', () => {
  const server = withAuthorizationServer({ scopes: ['db', 'db.write'], tokenLifetime: 120 })

  test('publishes the endpoints that the device flow needs, and no private key', async () => {
    const { issuer } = server()
    const discovery = await fetch(`${issuer}/.well-known/openid-configuration`)
    expect(await discovery.json()).toMatchObject({
      issuer,
      device_authorization_endpoint: `${issuer}/device/auth`,
      token_endpoint: `${issuer}/token`,
      grant_types_supported: expect.arrayContaining([
        'client_credentials',
        'urn:ietf:params:oauth:grant-type:device_code',
      ]),
    })
    const { keys } = (await (await fetch(`${issuer}/jwks`)).json()) as { keys: object[] }
    expect(keys.map((key) => 'd' in key)).toEqual([false, false])
  })

  test('gives a person a token by the device flow', async () => {
    const login = await server().startDeviceLogin()
    expect(login.verificationUriComplete).toContain(login.userCode)
    await expect(login.poll()).rejects.toThrow('authorization_pending')
    await server().approveDevice(login.verificationUriComplete, 'alice')
    const payload = await verify(server(), await login.poll())
    expect(payload).toMatchObject({
      sub: 'alice',
      preferred_username: 'alice',
      client_id: 'psql',
      scope: 'db db.write',
    })
    expect(payload.exp! - payload.iat!).toBe(120)
  })

  test('gives the token of a device login once', async () => {
    const login = await server().startDeviceLogin()
    await server().approveDevice(login.verificationUriComplete, 'alice')
    await login.poll()
    await expect(login.poll()).rejects.toThrow('invalid_grant')
  })

  test('takes the code typed in instead of the link', async () => {
    const { verificationUri } = await server().startDeviceLogin()
    const page = await (await fetch(verificationUri)).text()
    expect(page).toMatch(/<form[^>]*>[\s\S]*name="user_code"/)
  })

  test('does not approve a code that nobody was given', async () => {
    const uri = `${server().issuer}/device?user_code=BBBB-BBBB`
    await expect(server().approveDevice(uri, 'alice')).rejects.toThrow('not approved')
  })

  test('does not let anybody log in without a name', async () => {
    const login = await server().startDeviceLogin()
    await expect(server().approveDevice(login.verificationUriComplete, '')).rejects.toThrow(
      'not approved',
    )
    await expect(login.poll()).rejects.toThrow('authorization_pending')
  })

  test('gives a service a token for its own name', async () => {
    const payload = await verify(server(), await server().requestServiceToken('db'))
    expect(payload).toMatchObject({ sub: 'service', client_id: 'service', scope: 'db' })
  })

  test('gives only the scopes it knows', async () => {
    const payload = await verify(server(), await server().requestServiceToken('db superuser'))
    expect(payload['scope']).toBe('db')
  })

  test('refuses a service with a wrong secret', async () => {
    const response = await fetch(`${server().issuer}/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from('service:wrong').toString('base64')}` },
      body: new URLSearchParams({ grant_type: 'client_credentials' }),
    })
    expect(response.status).toBe(401)
  })

  test('refuses to give psql a token without a person', async () => {
    const response = await fetch(`${server().issuer}/token`, {
      method: 'POST',
      body: new URLSearchParams({ grant_type: 'client_credentials', client_id: 'psql' }),
    })
    expect(response.status).toBe(400)
  })

  test('says what it was asked', async () => {
    const before = server().requests.length
    await fetch(`${server().issuer}/jwks?x=1`)
    expect(server().requests.slice(before)).toEqual(['GET /jwks'])
  })

  test('signs with ES256 where the algorithm is asked for', async () => {
    const token = await server().mintToken({}, { algorithm: 'ES256' })
    expect(decodeProtectedHeader(token).alg).toBe('ES256')
    expect(await verify(server(), token)).toMatchObject({ sub: 'alice' })
  })

  const wrongs = [
    { what: 'expired', options: { expiresIn: -60 }, code: 'ERR_JWT_EXPIRED' },
    { what: 'for another audience', claims: { aud: 'https://other.example.com' } },
    { what: 'of another issuer', claims: { iss: 'https://evil.example.com' } },
    { what: 'of another type', options: { header: { typ: 'JWT' } } },
    {
      what: 'by an unknown key',
      options: { header: { kid: 'other' } },
      code: 'ERR_JWKS_NO_MATCHING_KEY',
    },
  ]
  test.each(wrongs)('mints a token $what on request', async ({ claims, options, code }) => {
    const token = await server().mintToken(claims, options)
    await expect(verify(server(), token)).rejects.toMatchObject({
      code: code ?? 'ERR_JWT_CLAIM_VALIDATION_FAILED',
    })
  })

  test('leaves out a claim that is undefined', async () => {
    const token = await server().mintToken({ exp: undefined, sub: undefined })
    const payload = await verify(server(), token)
    expect(payload).not.toHaveProperty('exp')
    expect(payload).not.toHaveProperty('sub')
  })
})

describe('with TLS', () => {
  const certificates = withCertificates()

  test('does the same over https', async () => {
    const { server: pair, authority } = certificates()
    const tls = { ...pair, ca: authority.cert }
    await using server = await startAuthorizationServer({ tls, algorithm: 'ES256' })
    expect(server.issuer).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/)
    expect(decodeProtectedHeader(await server.requestUserToken('bob'))).toMatchObject({
      alg: 'ES256',
      typ: 'at+jwt',
    })
  })

  test('is not believed by whoever does not know the authority', async () => {
    const { server: pair, strange, authority } = certificates()
    const tls = { ...strange, ca: authority.cert }
    await using server = await startAuthorizationServer({ tls })
    await expect(server.requestServiceToken()).rejects.toMatchObject({
      code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    })
    expect(pair.cert).not.toBe(strange.cert)
  })
})

test('says nothing on the terminal', async () => {
  const module = new URL('../../dist/src/demo/authorization-server.js', import.meta.url).href
  const script = `
    import { startAuthorizationServer } from ${JSON.stringify(module)}
    const server = await startAuthorizationServer()
    await server.requestUserToken('alice')
    await server.requestServiceToken()
    await server.stop()`
  const program = startProgram(process.execPath, ['--input-type=module', '-e', script])
  expect(await program.ended).toEqual({ status: 0, signal: null, stdout: '', stderr: '' })
})

test('is gone when it is stopped', async () => {
  const server = await startAuthorizationServer()
  await server.stop()
  await expect(fetch(server.issuer)).rejects.toThrow('fetch failed')
})
