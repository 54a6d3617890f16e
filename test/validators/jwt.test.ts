import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import jwt from '../../validators/jwt.ts'
import { AuthorizationServer } from './support/authorization-server.ts'
import { type Runner, startValidator } from './support/run-validator.ts'
import { signingKey } from './support/signing-key.ts'

const HTTP = { ca: 'ca.pem', egress: 'any' }
const SETTINGS = { audiences: ['https://db.example.com'], http: HTTP }

let server: AuthorizationServer
let runner: Runner

beforeAll(async () => {
  server = await AuthorizationServer.start()
  runner = await startValidator({ init: jwt, settings: SETTINGS, issuers: [server.issuer] })
})

afterAll(async () => {
  await runner[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
})

describe('jwt', () => {
  it('accepts an access token of the issuer and says who it is and until when', async () => {
    const claims = server.claims()
    const result = await runner.run(server.token(claims))
    const expiresAt = claims['exp']
    expect(result).toEqual({ authorized: true, authnId: 'alice', expiresAt, clientId: 'app' })
  })

  it('fetches the keys before the first login and not again for the logins', async () => {
    await runner.run(server.token())
    await runner.run(server.token())
    expect(server.count('openid-configuration')).toBe(1)
    expect(server.count('/jwks')).toBe(1)
  })

  it('refuses a token for another audience, and still says whose it was not', async () => {
    const result = await runner.run(server.token({ aud: 'https://other.example.com' }))
    expect(result).toMatchObject({ authorized: false, code: 'wrong_audience' })
    expect(result.authnId).toBeUndefined()
  })

  it('names the owner in a refusal once the signature is proven', async () => {
    const result = await runner.run(server.token({ scope: 'openid' }))
    expect(result).toMatchObject({ code: 'insufficient_scope', authnId: 'alice' })
  })

  it('refuses a token that was signed by a key of somebody else with the same id', async () => {
    const good = server.key
    server.key = signingKey('ES256', good.kid)
    const forged = server.token()
    server.key = good
    expect(await runner.run(forged)).toMatchObject({ authorized: false, code: 'bad_signature' })
  })

  it('finds the metadata of an issuer with a path in both well-known places', async () => {
    await using other = await AuthorizationServer.start({ path: '/realms/r' })
    for (const discovery of ['oidc', 'rfc8414']) {
      await using runner = await startValidator({
        init: jwt,
        settings: { ...SETTINGS, discovery },
        issuers: [other.issuer],
      })
      expect(await runner.run(other.token())).toMatchObject({ authorized: true })
    }
    expect([...other.requests.keys()]).toEqual([
      '/realms/r/.well-known/openid-configuration',
      '/realms/r/jwks',
      '/.well-known/oauth-authorization-server/realms/r',
    ])
  })

  it('takes a rule that names the discovery document at its word', async () => {
    await using other = await AuthorizationServer.start({ path: '/r' })
    const written = `${other.issuer}/.well-known/openid-configuration`
    await using runner = await startValidator({ init: jwt, settings: SETTINGS, issuers: [written] })
    expect(await runner.run(other.token())).toMatchObject({ authorized: true })
  })
})

describe('the settings of jwt', () => {
  const start = (settings: Record<string, unknown>): Promise<Runner> =>
    startValidator({ init: jwt, settings, issuers: [] })

  it('demand an audience', async () => {
    await expect(start({})).rejects.toThrow('audiences: is required')
    await expect(start({ audiences: [] })).rejects.toThrow('audiences: ')
  })

  it('refuse an unknown name and propose the nearest', async () => {
    await expect(start({ ...SETTINGS, audience: 'x' })).rejects.toThrow(
      'audience: unknown setting (did you mean "audiences"?)',
    )
    await expect(start({ ...SETTINGS, http: { cafile: 'x' } })).rejects.toThrow(
      'http.cafile: unknown setting',
    )
  })

  it('cannot name a symmetric algorithm or none', async () => {
    for (const alg of ['HS256', 'none', 'None', 'RSA-OAEP']) {
      await expect(start({ ...SETTINGS, algorithms: [alg] })).rejects.toThrow('algorithms.0')
    }
  })

  it('refuse a plain http issuer, and one beyond this machine even when http is allowed', async () => {
    const issuer = 'http://127.0.0.1:1'
    await expect(start({ ...SETTINGS, issuer })).rejects.toThrow('dangerously_allow_http')
    const http = { dangerously_allow_http: true }
    await expect(start({ ...SETTINGS, issuer: 'http://10.0.0.1', http })).rejects.toThrow('https')
  })

  it('are said out loud where they relax a check', async () => {
    await using runner = await start({ ...SETTINGS, allow_empty_scope: true })
    expect(runner.lines.join('\n')).toContain('allow_empty_scope = true')
  })
})

describe('delegation', () => {
  const roles = { authorization: { mode: 'role_claim', claim: '/roles' } }

  it('is refused at every login while only the rule has it', async () => {
    await expect(runner.run(server.token(), { delegateIdentMapping: true })).rejects.toMatchObject({
      code: 'config_mismatch',
    })
  })

  it('is refused at every login while only the module has it', async () => {
    await using runner = await startValidator({
      init: jwt,
      settings: { ...SETTINGS, ...roles },
      issuers: [server.issuer],
    })
    await expect(runner.run(server.token({ roles: ['alice'] }))).rejects.toMatchObject({
      code: 'config_mismatch',
    })
  })

  it('lets a token be the roles that it lists, and no other', async () => {
    await using runner = await startValidator({
      init: jwt,
      settings: { ...SETTINGS, ...roles },
      issuers: [server.issuer],
    })
    const delegateIdentMapping = true
    const token = server.token({ roles: ['reader', 'postgres'] })
    expect(await runner.run(token, { delegateIdentMapping, role: 'reader' })).toMatchObject({
      authorized: true,
    })
    expect(await runner.run(token, { delegateIdentMapping, role: 'alice' })).toMatchObject({
      code: 'role_not_granted',
    })
    expect(await runner.run(token, { delegateIdentMapping, role: 'postgres' })).toMatchObject({
      code: 'role_denied',
    })
  })
})
