/** `jwt` and a real authorization server: discovery, its keys, and its own access tokens. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type AuthorizationServer,
  startAuthorizationServer,
} from '../../src/demo/authorization-server.ts'
import jwt from '../../validators/jwt.ts'
import { testCertificates } from './support/certificates.ts'
import { SETTINGS } from './support/jwt-fixture.ts'
import { type Runner, startValidator } from './support/run-validator.ts'

let server: AuthorizationServer
let runner: Runner

beforeAll(async () => {
  server = await startAuthorizationServer({ tls: await testCertificates() })
  runner = await startValidator({
    init: jwt,
    settings: { ...SETTINGS, audiences: [server.audience], prefetch: 'required' },
    issuers: [server.issuer],
  })
})

afterAll(async () => {
  await runner[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
})

describe('tokens of oidc-provider', () => {
  it('from client credentials let the client in, and cost no request', async () => {
    const token = await server.requestServiceToken('db')
    const before = server.requests.length
    expect(await runner.run(token)).toMatchObject({
      authorized: true,
      authnId: server.serviceClient.id,
    })
    expect(server.requests).toHaveLength(before)
  })
  it('from the device flow let the user in', async () => {
    const token = await server.requestUserToken('alice', 'db')
    expect(await runner.run(token)).toMatchObject({ authorized: true, authnId: 'alice' })
  })
  it('are refused when they are old, for another, or lack the scope', async () => {
    expect(await runner.run(await server.mintToken({}, { expiresIn: -3_600 }))).toMatchObject({
      code: 'expired',
    })
    expect(
      await runner.run(await server.mintToken({ aud: 'https://other.example' })),
    ).toMatchObject({
      code: 'wrong_audience',
    })
    expect(await runner.run(await server.mintToken({ scope: 'openid' }))).toMatchObject({
      code: 'insufficient_scope',
    })
  })
})
