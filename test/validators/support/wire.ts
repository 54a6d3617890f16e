/** The running proxy with the validator `jwt`, and tokens sent to it over its socket. */
import { expect } from 'vitest'
import { offeredClient } from '../../support/oauth-proxy.ts'
import { startProxy, type TestProxy, type TestProxyOptions } from '../../support/proxy.ts'
import {
  errorFields,
  oauthBearer,
  saslInitialResponse,
  saslResponse,
} from '../../support/wire-bytes.ts'
import type { AuthorizationServer } from './authorization-server.ts'
import { testCertificates } from './certificates.ts'
import { AUDIENCE, expectNoPartOf } from './jwt-fixture.ts'

export interface JwtProxyOptions extends Partial<TestProxyOptions> {
  /** Of `[validators.jwt]`, beside what every test needs. */
  readonly settings?: Readonly<Record<string, unknown>>
}

/** A proxy whose rule, for all roles unless `hba` says otherwise, asks `jwt` about tokens of the server. */
export async function startJwtProxy(
  { issuer }: Pick<AuthorizationServer, 'issuer'>,
  { settings, ...options }: JwtProxyOptions = {},
): Promise<TestProxy> {
  const { ca } = await testCertificates()
  return startProxy({
    hba: `host all all 127.0.0.1/32 ${oauthRule({ issuer })}`,
    oauth_validator_libraries: ['jwt'],
    validators: {
      jwt: { audiences: [AUDIENCE], http: { ca: 'ca.pem', egress: 'any' }, ...settings },
    },
    ...options,
    files: { 'ca.pem': ca, ...options.files },
  })
}

/** Method and options of a rule. */
export const oauthRule = ({ issuer }: Pick<AuthorizationServer, 'issuer'>): string =>
  `oauth issuer=${issuer} scope=db`

/** What became of a token that was refused. */
export interface WireRefusal {
  /** The JSON that the client reads. */
  readonly challenge: string
  /** Of the ErrorResponse. */
  readonly fields: Readonly<Record<string, string>>
  /** What was logged meanwhile, no part of the token in it. */
  readonly log: string
}

/** Sends a token, and fails where it is not refused in the way that every token is. */
export async function refusedOverWire(
  proxy: TestProxy,
  token: string,
  user = 'alice',
): Promise<WireRefusal> {
  const before = proxy.lines.length
  const client = await offeredClient(proxy, user)
  client.send(saslInitialResponse('OAUTHBEARER', oauthBearer(`Bearer ${token}`)))
  const challenge = await client.readMessage()
  expect(challenge.type).toBe('R')
  client.send(saslResponse('\u0001'))
  const error = await client.readMessage()
  expect(error.type).toBe('E')
  await client.expectClose()
  const lines = proxy.lines.slice(before).map((line) => JSON.stringify(line))
  expectNoPartOf(token, lines)
  return {
    challenge: challenge.body.subarray(4).toString(),
    fields: errorFields(error.body),
    log: lines.join('\n'),
  }
}

const AUTHENTICATION_OK = { type: 'R', code: 0 }

/** Sends a token that is good, and fails where the client is not let in under this identity. */
export async function acceptedOverWire(
  proxy: TestProxy,
  token: string,
  identity: string,
  user = 'alice',
): Promise<void> {
  const before = proxy.lines.length
  const client = await offeredClient(proxy, user)
  client.send(saslInitialResponse('OAUTHBEARER', oauthBearer(`Bearer ${token}`)))
  const answer = await client.readMessage()
  expect({ type: answer.type, code: answer.body.readInt32BE(0) }).toEqual(AUTHENTICATION_OK)
  const log = JSON.stringify(proxy.lines.slice(before))
  expect(log).toContain(`connection authenticated: identity=\\"${identity}\\"`)
}
