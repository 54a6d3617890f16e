/**
 * The attacks against the running proxy: every refusal looks the same to the client, the log alone has
 * the reason, and no part of a token is in it.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { TestProxy } from '../support/proxy.ts'
import { AuthorizationServer } from './support/authorization-server.ts'
import { encode, signHmac, signingKey, signJws } from './support/signing-key.ts'
import { acceptedOverWire, oauthRule, refusedOverWire, startJwtProxy } from './support/wire.ts'

let server: AuthorizationServer
let proxy: TestProxy

beforeAll(async () => {
  server = await AuthorizationServer.start()
  const rule = oauthRule(server)
  proxy = await startJwtProxy(server, {
    hba: [
      `host all delegated 127.0.0.1/32 ${rule} delegate_ident_mapping=1 validator.role_claim=/roles`,
      `host all all 127.0.0.1/32 ${rule}`,
    ].join('\n'),
  })
})

afterAll(async () => {
  await proxy[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
})

const rows: readonly (readonly [string, string, () => string])[] = [
  ['ENC-01 two parts', 'malformed', () => 'a.b'],
  ['ENC-02 padding', 'malformed', () => `${server.token()}=`],
  [
    'ENC-09 sub twice',
    'malformed',
    () => {
      const payload = JSON.stringify(server.claims()).replace('{', '{"sub":"bob",')
      return signJws({ alg: 'ES256', kid: 'k1', typ: 'at+jwt' }, payload, server.key, 'ES256')
    },
  ],
  ['ENC-10 SUB', 'malformed', () => server.token({ SUB: 'bob' })],
  ['ENC-12 a long token', 'limit_exceeded', () => 'a'.repeat(20_000)],
  [
    'ALG-01 none',
    'alg_not_allowed',
    () => `${encode({ alg: 'none' })}.${encode(server.claims())}.`,
  ],
  [
    'ALG-02 HS256',
    'alg_not_allowed',
    () =>
      signHmac(
        { alg: 'HS256', kid: 'k1', typ: 'at+jwt' },
        server.claims(),
        JSON.stringify(server.key.jwk),
      ),
  ],
  [
    'ALG-05 zeros',
    'bad_signature',
    () => `${server.token().replace(/[^.]*$/, '')}${encode(Buffer.alloc(64))}`,
  ],
  [
    'KEY-02 an embedded key',
    'header_rejected',
    () => server.token({}, { jwk: signingKey('ES256', 'x').jwk }),
  ],
  [
    'KEY-03 an unknown key id',
    'no_matching_key',
    () => server.token({}, { kid: '../../etc/passwd' }),
  ],
  ['HDR-03 typ JWT', 'wrong_type', () => server.token({}, { typ: 'JWT' })],
  ['ISS-01 another issuer', 'unknown_issuer', () => server.token({ iss: `${server.issuer}/` })],
  ['AUD-01 another audience', 'wrong_audience', () => server.token({ aud: 'other' })],
  ['TYP-01 an ID token', 'wrong_type', () => server.token({ nonce: 'n' })],
  ['EXP-01 no end', 'missing_claim', () => server.token({ exp: undefined })],
  ['EXP-02 the past', 'expired', () => server.token({ iat: 1, exp: 2 })],
  [
    'EXP-03 ten years',
    'lifetime_too_long',
    () => server.token({ exp: Math.floor(Date.now() / 1_000) + 315_360_000 }),
  ],
  [
    'IAT-01 the future',
    'issued_in_future',
    () => server.token({ iat: Math.floor(Date.now() / 1_000) + 300 }),
  ],
  ['SCP-01 another scope', 'insufficient_scope', () => server.token({ scope: 'db_admin' })],
  ['SUB-01 a number', 'identity_invalid', () => server.token({ sub: 1 })],
  ['SUB-02 a NUL', 'identity_invalid', () => server.token({ sub: 'alice\0' })],
  ['CNF-01 a bound token', 'sender_constrained', () => server.token({ cnf: { jkt: 'x' } })],
]

describe('a token that has to stay out', () => {
  for (const [name, code, token] of rows) {
    it(`${name}: the client learns nothing, the log says ${code}`, async () => {
      const { challenge, fields, log } = await refusedOverWire(proxy, token())
      expect(JSON.parse(challenge)).toMatchObject({ status: 'invalid_token', scope: 'db' })
      expect(fields).toMatchObject({
        C: '28000',
        M: 'OAuth bearer authentication failed for user "alice"',
      })
      expect(JSON.stringify(fields)).not.toContain(code)
      expect(log).toContain(`"${code}"`)
    })
  }
  it('looks the same to the client as a good token for another role', async () => {
    const { challenge: other, fields: refused } = await refusedOverWire(
      proxy,
      server.token({ sub: 'bob' }),
    )
    const { challenge, fields } = await refusedOverWire(proxy, server.token({ aud: 'other' }))
    expect(other).toBe(challenge)
    expect(refused).toEqual(fields)
  })
  it('GRP-02: is a delegated login for a role that is not granted', async () => {
    const token = server.token({ roles: ['reader'] })
    const { log } = await refusedOverWire(proxy, token, 'delegated')
    expect(log).toContain('role_not_granted')
  })
})

describe('a token that may come in', () => {
  it('does, where the same rule refuses all of the above', async () => {
    await acceptedOverWire(proxy, server.token(), 'alice')
  })
})
