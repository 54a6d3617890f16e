/** spec/validators.md §8.1, "HDR" and "Claims": one row, one test. */
import { afterEach, describe, expect, it, vi } from 'vitest'
import jwtInit from '../../validators/jwt.ts'
import { SETTINGS, useJwt } from './support/jwt-fixture.ts'
import { type Runner, startValidator } from './support/run-validator.ts'

const jwt = useJwt()
const { header, sign } = jwt
const seconds = (): number => Math.floor(Date.now() / 1000)

type Row = readonly [name: string, code: string, token: () => string]

function refuses(rows: readonly Row[]): void {
  for (const [name, code, token] of rows) {
    it(`refuses ${name}: ${code}`, async () => {
      expect(await jwt.refusal(token())).toBe(code)
    })
  }
}

/** Rows where one claim is changed. */
function refusesClaims(
  rows: readonly (readonly [code: string, changes: () => Record<string, unknown>])[],
): void {
  refuses(
    rows.map(([code, changes]) => [
      JSON.stringify(changes()) ?? '',
      code,
      () => jwt.server.token(changes()),
    ]),
  )
}

async function withSettings<T>(
  settings: Record<string, unknown>,
  use: (runner: Runner) => Promise<T>,
): Promise<T> {
  await using runner = await startValidator({
    init: jwtInit,
    settings: { ...SETTINGS, ...settings },
    issuers: [jwt.server.issuer],
  })
  return await use(runner)
}

describe('HDR-01 and HDR-02: no extension is understood', () => {
  for (const crit of [['x'], [], ['b64', 'b64'], 'b64', ['alg'], ['b64'], null]) {
    refuses([
      [
        `crit ${JSON.stringify(crit)}`,
        'header_rejected',
        () => jwt.server.token({}, { crit, b64: true }),
      ],
    ])
    refuses([
      [
        `crit ${JSON.stringify(crit)} alone`,
        'header_rejected',
        () => jwt.server.token({}, { crit }),
      ],
    ])
  }
  for (const b64 of [false, true]) {
    refuses([[`b64 ${b64} without crit`, 'header_rejected', () => jwt.server.token({}, { b64 })]])
  }
})

describe('HDR-03: the type of the token', () => {
  for (const typ of ['at+jwt', 'AT+JWT', 'application/at+jwt', 'Application/At+Jwt']) {
    it(`accepts ${typ}`, async () => {
      await jwt.accepted(jwt.server.token({}, { typ }))
    })
  }
  for (const typ of [
    undefined,
    'JWT',
    'jwt',
    'JOSE',
    'at+jwt ',
    ' at+jwt',
    'at',
    'text/at+jwt',
    'application/application/at+jwt',
    '',
    1,
    null,
    ['at+jwt'],
    'logout+jwt',
    'dpop+jwt',
    'secevent+jwt',
    'token-introspection+jwt',
    'dc+sd-jwt',
  ]) {
    refuses([[`typ ${JSON.stringify(typ)}`, 'wrong_type', () => jwt.server.token({}, { typ })]])
  }
})

describe('ISS-01: the issuer is compared byte for byte', () => {
  const variants: Record<string, (issuer: string) => unknown> = {
    'a missing issuer': () => undefined,
    'a trailing slash': (issuer) => `${issuer}/`,
    'other case': (issuer) => issuer.toUpperCase(),
    http: (issuer) => issuer.replace('https', 'http'),
    'a suffix': (issuer) => `${issuer}.evil.example`,
    'a prefix': (issuer) => issuer.slice(0, -1),
    'a list with it': (issuer) => [issuer],
    'an object': (issuer) => ({ [issuer]: issuer }),
    'an empty text': () => '',
    'another host': () => 'https://xn--80ak6aa92e.com',
    'the default port written out': (issuer) => issuer.replace(/:\d+/, ':443'),
    'a user name': (issuer) => issuer.replace('https://', 'https://x@'),
  }
  for (const [name, iss] of Object.entries(variants)) {
    refuses([[name, 'unknown_issuer', () => jwt.server.token({ iss: iss(jwt.server.issuer) })]])
  }
})

describe('AUD-01 to AUD-03: the token is for us', () => {
  refusesClaims([
    ['wrong_audience', () => ({ aud: undefined })],
    ['wrong_audience', () => ({ aud: '' })],
    ['wrong_audience', () => ({ aud: [] })],
    ['wrong_audience', () => ({ aud: null })],
    ['wrong_audience', () => ({ aud: 1 })],
    ['wrong_audience', () => ({ aud: { 'https://db.example.com': true } })],
    ['bad_claim_type', () => ({ aud: [['https://db.example.com']] })],
    ['bad_claim_type', () => ({ aud: [1, 'https://db.example.com'] })],
    ['wrong_audience', () => ({ aud: 'https://db.example.com/' })],
    ['wrong_audience', () => ({ aud: 'https://db.example' })],
    ['wrong_audience', () => ({ aud: 'HTTPS://DB.EXAMPLE.COM' })],
    ['wrong_audience', () => ({ aud: 'https://other.example.com' })],
    ['wrong_audience', () => ({ aud: 'app', azp: 'https://db.example.com' })],
    ['wrong_audience', () => ({ aud: 'https://a.example https://db.example.com' })],
  ])
  it('accepts us as a member of a list, and twice', async () => {
    const ours = 'https://db.example.com'
    await jwt.accepted(jwt.server.token({ aud: [ours] }))
    await jwt.accepted(jwt.server.token({ aud: ['account', ours, ours] }))
  })
  it('can demand all audiences, or exactly these', async () => {
    const audiences = ['a', 'b']
    await withSettings({ audiences, audience_match: 'all' }, async (runner) => {
      expect(await runner.run(jwt.server.token({ aud: 'a' }))).toMatchObject({
        code: 'wrong_audience',
      })
      expect(await runner.run(jwt.server.token({ aud: ['a', 'b', 'c'] }))).toMatchObject({
        authorized: true,
      })
    })
    await withSettings({ audiences, audience_match: 'exact' }, async (runner) => {
      expect(await runner.run(jwt.server.token({ aud: ['a', 'b', 'c'] }))).toMatchObject({
        code: 'wrong_audience',
      })
      expect(await runner.run(jwt.server.token({ aud: ['a', 'a'] }))).toMatchObject({
        code: 'wrong_audience',
      })
      expect(await runner.run(jwt.server.token({ aud: ['b', 'a', 'a'] }))).toMatchObject({
        authorized: true,
      })
    })
  })
  it('lets a rule narrow the audiences', async () => {
    await withSettings({ audiences: ['a', 'b'] }, async (runner) => {
      const token = jwt.server.token({ aud: 'a' })
      expect(await runner.run(token, { options: { audience: 'a' } })).toMatchObject({
        authorized: true,
      })
      expect(await runner.run(token, { options: { audience: 'b' } })).toMatchObject({
        code: 'wrong_audience',
      })
    })
  })
})

describe('TYP-01: other tokens of the same issuer and key', () => {
  refuses([
    ['an ID token', 'wrong_type', () => jwt.server.token({ nonce: 'n' }, { typ: 'JWT' })],
    ['an ID token that says at+jwt', 'wrong_type', () => jwt.server.token({ nonce: 'n' })],
    ['a token with at_hash', 'wrong_type', () => jwt.server.token({ at_hash: 'x' })],
    ['a token with c_hash', 'wrong_type', () => jwt.server.token({ c_hash: 'x' })],
    ['a token with s_hash', 'wrong_type', () => jwt.server.token({ s_hash: 'x' })],
    ['a logout token', 'wrong_type', () => jwt.server.token({ events: {} }, { typ: 'logout+jwt' })],
    ['a security event', 'wrong_type', () => jwt.server.token({ events: {} })],
    ['a refresh token', 'wrong_type', () => jwt.server.token({ typ: 'Refresh' })],
    ['an offline token', 'wrong_type', () => jwt.server.token({ typ: 'Offline' })],
    ['a payload that says ID', 'wrong_type', () => jwt.server.token({ typ: 'ID' })],
    ['a Cognito ID token', 'wrong_type', () => jwt.server.token({ token_use: 'id' })],
    [
      'a client assertion',
      'wrong_type',
      () => jwt.server.token({ iss: jwt.server.issuer }, { typ: 'JWT' }),
    ],
    [
      'a DPoP proof',
      'wrong_type',
      () => jwt.server.token({ htm: 'POST', htu: 'x' }, { typ: 'dpop+jwt' }),
    ],
    [
      'an introspection answer',
      'wrong_type',
      () => jwt.server.token({ token_introspection: {} }, { typ: 'token-introspection+jwt' }),
    ],
  ])
  it('accepts an untyped token only with the marker that is configured', async () => {
    const marker = [{ path: '/token_use', op: 'eq', value: 'access' }]
    await withSettings({ token_type: { typ: [], marker } }, async (runner) => {
      for (const typ of ['JWT', undefined, 'jwt']) {
        expect(await runner.run(jwt.server.token({ token_use: 'access' }, { typ }))).toMatchObject({
          authorized: true,
        })
        expect(await runner.run(jwt.server.token({}, { typ }))).toMatchObject({
          code: 'wrong_type',
        })
        expect(
          await runner.run(jwt.server.token({ token_use: 'access', nonce: 'n' }, { typ })),
        ).toMatchObject({ code: 'wrong_type' })
      }
      expect(await runner.run(jwt.server.token({ token_use: 'access' }))).toMatchObject({
        code: 'wrong_type',
      })
    })
  })
})

const NO_DATES = [
  null,
  '1',
  true,
  1.5,
  -1,
  2 ** 40 + 1,
  2 ** 53 + 1,
  '2030-01-01T00:00:00Z',
  [1],
  {},
]

describe('EXP, NBF and IAT: times are whole seconds', () => {
  for (const value of NO_DATES) {
    refusesClaims([
      ['bad_claim_type', () => ({ exp: value })],
      ['bad_claim_type', () => ({ nbf: value })],
      ['bad_claim_type', () => ({ iat: value })],
    ])
  }
  for (const text of ['1e999', '-1e999', '1e308', '1E-5']) {
    refuses([
      [
        `exp ${text}`,
        'bad_claim_type',
        () =>
          sign(
            header(),
            JSON.stringify(jwt.server.claims({ exp: 0 })).replace('"exp":0', `"exp":${text}`),
          ),
      ],
      [
        `iat ${text}`,
        'bad_claim_type',
        () =>
          sign(
            header(),
            JSON.stringify(jwt.server.claims({ iat: 0 })).replace('"iat":0', `"iat":${text}`),
          ),
      ],
    ])
  }
  refusesClaims([
    ['missing_claim', () => ({ exp: undefined })],
    ['missing_claim', () => ({ iat: undefined })],
    ['expired', () => ({ exp: 0, iat: 0 })],
    ['expired', () => ({ exp: seconds() - 60, iat: seconds() - 100 })],
    ['lifetime_too_long', () => ({ exp: seconds() + 10 * 365 * 86_400 })],
    ['lifetime_too_long', () => ({ exp: seconds() + 86_402 })],
    ['lifetime_too_long', () => ({ iat: seconds() - 86_400, exp: seconds() + 600 })],
    ['not_yet_valid', () => ({ nbf: seconds() + 62 })],
    ['issued_in_future', () => ({ iat: seconds() + 62 })],
    ['bad_claim_type', () => ({ nbf: seconds() + 700 })],
    ['bad_claim_type', () => ({ iat: seconds() + 700 })],
  ])
  it('accepts a whole number however it is written', async () => {
    const exp = seconds() + 600
    const text = JSON.stringify(jwt.server.claims({ exp })).replace(
      `"exp":${exp}`,
      `"exp":${exp}.0`,
    )
    await jwt.accepted(sign(header(), text))
  })
  it('accepts skew up to the tolerance', async () => {
    await jwt.accepted(jwt.server.token({ exp: seconds() - 58, iat: seconds() - 100 }))
    await jwt.accepted(jwt.server.token({ nbf: seconds() + 58, iat: seconds() + 58 }))
  })
})

describe('EXP-02: the last second of a token', () => {
  afterEach(() => {
    vi.useRealTimers()
  })
  for (const [offset, accepted] of [
    [-1, true],
    [0, false],
    [1, false],
  ] as const) {
    it(`is ${accepted ? 'inside' : 'over'} ${offset} s from exp plus tolerance`, async () => {
      const exp = seconds() + 600
      const token = jwt.server.token({ exp })
      vi.useFakeTimers({ toFake: ['Date'], now: (exp + 60 + offset) * 1000 })
      expect((await jwt.runner.run(token)).authorized).toBe(accepted)
    })
  }
})

describe('max_token_age', () => {
  it('refuses a token that was issued too long ago: expired', async () => {
    await withSettings({ max_token_age: '5min' }, async (runner) => {
      expect(await runner.run(jwt.server.token({ iat: seconds() - 400 }))).toMatchObject({
        code: 'expired',
      })
      expect(await runner.run(jwt.server.token({ iat: seconds() - 200 }))).toMatchObject({
        authorized: true,
      })
    })
  })
})

describe('CLK-01: clocks that jump', () => {
  afterEach(() => {
    vi.useRealTimers()
  })
  it('does not accept an expired token from memory', async () => {
    const token = jwt.server.token()
    await jwt.accepted(token)
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 3_600_000 })
    expect(await jwt.refusal(token)).toBe('expired')
    vi.setSystemTime(Date.now() - 2 * 3_600_000)
    expect(await jwt.refusal(token)).toBe('issued_in_future')
  })
})

describe('SCP-01: scopes are whole words', () => {
  for (const scope of [
    'db_admin',
    'd',
    'db,openid',
    'DB',
    'openid\tdb',
    'db\u00a0x',
    '',
    undefined,
    ['db'],
    { db: true },
    1,
    ' ',
    'ddb db2',
  ]) {
    refusesClaims([['insufficient_scope', () => ({ scope })]])
  }
  refuses([
    [
      'a scope in scp only',
      'insufficient_scope',
      () => jwt.server.token({ scope: 'x', scp: ['db'] }),
    ],
    [
      'a scope that a list of two lacks',
      'insufficient_scope',
      () => jwt.server.token({ scope: 'x x' }),
    ],
  ])
  it('demands all scopes of the rule, in any order', async () => {
    const scope = ['db', 'openid']
    await jwt.accepted(jwt.server.token({ scope: 'openid x db' }), { scope })
    expect(await jwt.refusal(jwt.server.token({ scope: 'db' }), { scope })).toBe(
      'insufficient_scope',
    )
    expect(await jwt.refusal(jwt.server.token({ scope: 'db db' }), { scope })).toBe(
      'insufficient_scope',
    )
  })
  it('does not log in without any required scope: config_mismatch', async () => {
    await expect(jwt.runner.run(jwt.server.token(), { scope: [] })).rejects.toMatchObject({
      code: 'config_mismatch',
    })
  })
  it('reads a list where that is configured, and then no text', async () => {
    await withSettings({ scope_claims: ['scp'], scope_shape: 'array' }, async (runner) => {
      expect(await runner.run(jwt.server.token({ scp: ['x', 'db'] }))).toMatchObject({
        authorized: true,
      })
      expect(await runner.run(jwt.server.token({ scp: 'db' }))).toMatchObject({
        code: 'insufficient_scope',
      })
    })
  })
  it('takes a configured prefix off a required scope, and no other', async () => {
    await withSettings({ scope_strip_prefixes: ['api://app/'] }, async (runner) => {
      const run = (scope: string): Promise<{ authorized: boolean }> =>
        runner.run(jwt.server.token({ scope: 'db' }), { scope: [scope] })
      expect(await run('api://app/db')).toMatchObject({ authorized: true })
      expect(await run('api://other/db')).toMatchObject({ code: 'insufficient_scope' })
      expect(await run('api://app/')).toMatchObject({ code: 'insufficient_scope' })
      expect(await run('xapi://app/db')).toMatchObject({ code: 'insufficient_scope' })
    })
  })
})

describe('SUB-01 and SUB-02: an identity is plain text', () => {
  for (const sub of [undefined, '', 1, {}, { sub: 'x' }, ['alice'], true, null]) {
    refusesClaims([['identity_invalid', () => ({ sub })]])
  }
  for (const bad of [
    '\0',
    '\r\n',
    '\n',
    '\t',
    '\x1b[31m',
    '\x7f',
    '\x85',
    '\u2028',
    '\u2029',
    '\u202e',
    '\u200b',
    '\ufeff',
    '\ud800',
  ]) {
    refusesClaims([['identity_invalid', () => ({ sub: `ali${bad}ce` })]])
  }
  refusesClaims([
    ['identity_invalid', () => ({ sub: ' alice' })],
    ['identity_invalid', () => ({ sub: 'alice ' })],
    ['identity_invalid', () => ({ sub: 'a'.repeat(256) })],
  ])
  for (const sub of [
    "o'brien",
    '"q"',
    '100%',
    'a\\b',
    'auth0|123',
    'a b',
    'system:serviceaccount:ns:name',
    'a'.repeat(255),
  ]) {
    it(`accepts ${sub.slice(0, 20)} as it stands`, async () => {
      expect((await jwt.accepted(jwt.server.token({ sub }))).authnId).toBe(sub)
    })
  }
})

describe('SUB-03 to SUB-06: nothing is folded into something else', () => {
  for (const sub of [
    '\u0430dmin',
    '\u212aate',
    '\ufb01ne',
    'd\u0131n',
    'stra\u00dfe',
    'e\u0301',
    '\u00e9',
  ]) {
    refusesClaims([['identity_invalid', () => ({ sub })]])
  }
  it('keeps other scripts as they are where they are allowed, in normal form C only', async () => {
    await withSettings({ identity: { charset: 'nfc_unicode' } }, async (runner) => {
      const run = (sub: string): Promise<unknown> => runner.run(jwt.server.token({ sub }))
      for (const sub of ['\u0430dmin', 'stra\u00dfe', '\u00e9', '\u5c71\u7530']) {
        expect(await run(sub)).toMatchObject({ authorized: true, authnId: sub })
      }
      for (const sub of [
        'e\u0301',
        '\u212a',
        'a\u200bb',
        'a\u202eb',
        'a\u2028',
        '\u00a0a',
        '\ue000',
        '\u0378',
        '\ud800',
      ]) {
        expect(await run(sub)).toMatchObject({ code: 'identity_invalid' })
      }
      expect(await run('\u00e9'.repeat(128))).toMatchObject({ code: 'identity_invalid' })
    })
  })
  it('does not lower-case', async () => {
    expect((await jwt.accepted(jwt.server.token({ sub: 'Admin' }))).authnId).toBe('Admin')
  })
  it('does not shorten what PostgreSQL would', async () => {
    const sub = 'r'.repeat(64)
    expect((await jwt.accepted(jwt.server.token({ sub }))).authnId).toBe(sub)
  })
  it('reads the outer claim, not one of the same name inside another', async () => {
    const token = sign(
      header(),
      JSON.stringify(jwt.server.claims()).replace('{', '{"x":{"sub":"admin"},'),
    )
    expect((await jwt.accepted(token)).authnId).toBe('alice')
  })
})

describe('identity settings', () => {
  it('take the first claim that is there, with its prefix', async () => {
    const claims = ['/preferred_username', { path: '/client_id', prefix: 'service:' }]
    await withSettings({ identity: { claims } }, async (runner) => {
      expect(await runner.run(jwt.server.token({ preferred_username: 'al' }))).toMatchObject({
        authnId: 'al',
      })
      expect(await runner.run(jwt.server.token())).toMatchObject({ authnId: 'service:app' })
      expect(await runner.run(jwt.server.token({ preferred_username: 1 }))).toMatchObject({
        code: 'identity_invalid',
      })
    })
  })
  it('can put the issuer into the identity', async () => {
    await withSettings({ identity: { format: 'issuer_qualified' } }, async (runner) => {
      const encode = (text: string): string => Buffer.from(text).toString('base64url')
      const authnId = `v1.${encode(jwt.server.issuer)}.${encode('alice')}`
      expect(await runner.run(jwt.server.token())).toMatchObject({ authorized: true, authnId })
    })
  })
  it('escape the separators of a template inside the claims', async () => {
    await withSettings(
      { identity: { format: 'template', template: '{tid}:{oid}' } },
      async (runner) => {
        const run = (tid: string, oid: unknown): Promise<unknown> =>
          runner.run(jwt.server.token({ tid, oid }))
        expect(await run('a', 'b')).toMatchObject({ authnId: 'a:b' })
        expect(await run('a:b', 'c')).toMatchObject({ authnId: 'a%3ab:c' })
        expect(await run('a%3ab', 'c')).toMatchObject({ authnId: 'a%253ab:c' })
        expect(await run('a', undefined)).toMatchObject({ code: 'identity_invalid' })
      },
    )
  })
  it('treat names of Object.prototype as claims that are not there', async () => {
    for (const path of ['/constructor', '/toString', '/hasOwnProperty']) {
      await withSettings({ identity: { claims: [path] } }, async (runner) => {
        expect(await runner.run(jwt.server.token())).toMatchObject({ code: 'identity_invalid' })
      })
    }
    await expect(
      withSettings({ identity: { claims: ['/__proto__'] } }, async () => 0),
    ).rejects.toThrow('JSON Pointer')
  })
})

describe('EML-01: an e-mail address counts when the provider verified it', () => {
  const settings = { identity: { claims: ['/email'] } }
  const rows: readonly (readonly [string, unknown, string])[] = [
    ['a@example.com', false, 'email_unverified'],
    ['a@example.com', undefined, 'email_unverified'],
    ['a@example.com', 'true', 'email_unverified'],
    ['a@example.com', 1, 'email_unverified'],
    ['a@evil.example@example.com', true, 'identity_invalid'],
    ['a@EXAMPLE.com', true, 'identity_invalid'],
    ['example.com', true, 'identity_invalid'],
    ['@example.com', true, 'identity_invalid'],
    ['a b@example.com', true, 'identity_invalid'],
  ]
  for (const [email, email_verified, code] of rows) {
    it(`refuses ${email} with email_verified ${JSON.stringify(email_verified)}: ${code}`, async () => {
      await withSettings(settings, async (runner) => {
        expect(await runner.run(jwt.server.token({ email, email_verified }))).toMatchObject({
          authorized: false,
          code,
        })
      })
    })
  }
  it('counts no more as a part of a template', async () => {
    const template = { identity: { format: 'template', template: 'EML:{email}' } }
    await withSettings(template, async (runner) => {
      for (const [email, email_verified, code] of rows) {
        expect(await runner.run(jwt.server.token({ email, email_verified }))).toMatchObject({
          authorized: false,
          code,
        })
      }
      const token = jwt.server.token({ email: 'a@example.com', email_verified: true })
      expect(await runner.run(token)).toMatchObject({ authnId: 'EML:a@example.com' })
    })
  })
  it('accepts a verified one', async () => {
    await withSettings(settings, async (runner) => {
      const token = jwt.server.token({ email: 'A.b@example.com', email_verified: true })
      expect(await runner.run(token)).toMatchObject({
        authorized: true,
        authnId: 'A.b@example.com',
      })
    })
  })
})

describe('GRP-01 and GRP-02: roles under delegation', () => {
  const delegated = { delegateIdentMapping: true }
  const roleClaim = { authorization: { mode: 'role_claim', claim: '/roles' } }
  const refusals: readonly (readonly [unknown, string, string])[] = [
    ['reader', 'reader', 'role_not_granted'],
    [{ reader: true }, 'reader', 'role_not_granted'],
    [[['reader']], 'reader', 'role_not_granted'],
    [[1, null], 'reader', 'role_not_granted'],
    [['reader,writer'], 'reader', 'role_not_granted'],
    [['Reader'], 'reader', 'role_not_granted'],
    [['reade', 'readers'], 'reader', 'role_not_granted'],
    [[], 'reader', 'role_not_granted'],
    [undefined, 'reader', 'role_not_granted'],
    [['postgres'], 'postgres', 'role_denied'],
    [['pg_read_all_data'], 'pg_read_all_data', 'role_denied'],
    [['pg_'], 'pg_', 'role_denied'],
  ]
  for (const [roles, role, code] of refusals) {
    it(`refuses ${role} with roles ${JSON.stringify(roles)}: ${code}`, async () => {
      await withSettings(roleClaim, async (runner) => {
        const result = await runner.run(jwt.server.token({ roles }), { ...delegated, role })
        expect(result).toMatchObject({ authorized: false, code, authnId: 'alice' })
      })
    })
  }
  it('does not take a role from the audience, the scope or an overage marker', async () => {
    await withSettings({ ...roleClaim, audiences: ['reader'] }, async (runner) => {
      const token = jwt.server.token({
        aud: 'reader',
        scope: 'db reader role:reader',
        hasgroups: true,
        _claim_names: { roles: 'src1' },
      })
      expect(await runner.run(token, { ...delegated, role: 'reader' })).toMatchObject({
        code: 'role_not_granted',
      })
    })
  })
  it('reads each shape only where it is configured', async () => {
    const claim = '/a/b~1c/roles'
    const shapes = { array: ['reader', 'reader'], string: 'reader', object_keys: { reader: {} } }
    for (const shape of Object.keys(shapes)) {
      await withSettings(
        { authorization: { mode: 'role_claim', claim, shape } },
        async (runner) => {
          for (const [given, roles] of Object.entries(shapes)) {
            const token = jwt.server.token({ a: { 'b/c': { roles } } })
            const result = await runner.run(token, { ...delegated, role: 'reader' })
            expect(result.authorized).toBe(given === shape)
          }
        },
      )
    }
  })
  it('looks groups up in the map, and scopes by their prefix', async () => {
    const map = { 'app-admins': ['owner', 'reader'], __proto__x: ['x'] }
    await withSettings(
      { authorization: { mode: 'role_map', claim: '/groups', map } },
      async (runner) => {
        const run = (groups: string[], role: string): Promise<unknown> =>
          runner.run(jwt.server.token({ groups }), { ...delegated, role })
        expect(await run(['app-admins'], 'owner')).toMatchObject({ authorized: true })
        expect(await run(['app-admins'], 'app-admins')).toMatchObject({ code: 'role_not_granted' })
        expect(await run(['constructor', '__proto__'], 'owner')).toMatchObject({
          code: 'role_not_granted',
        })
      },
    )
    await withSettings({ authorization: { mode: 'scope_role' } }, async (runner) => {
      const run = (scope: string): Promise<unknown> =>
        runner.run(jwt.server.token({ scope }), { ...delegated, role: 'reader' })
      expect(await run('db role:reader')).toMatchObject({ authorized: true })
      expect(await run('db reader')).toMatchObject({ code: 'role_not_granted' })
      expect(await run('db role:readers')).toMatchObject({ code: 'role_not_granted' })
    })
  })
  it('lifts the refusal of a privileged role by name only', async () => {
    const authorization = {
      ...roleClaim.authorization,
      allow_privileged_roles: ['pg_monitor'],
      bootstrap_superuser: 'root',
    }
    await withSettings({ authorization }, async (runner) => {
      const run = (role: string): Promise<unknown> =>
        runner.run(jwt.server.token({ roles: [role] }), { ...delegated, role })
      expect(await run('pg_monitor')).toMatchObject({ authorized: true })
      expect(await run('pg_signal_backend')).toMatchObject({ code: 'role_denied' })
      expect(await run('root')).toMatchObject({ code: 'role_denied' })
      expect(await run('postgres')).toMatchObject({ authorized: true })
    })
  })
})

describe('DEL-01: delegation is configured on both sides or on none', () => {
  it('can be chosen by the rule', async () => {
    const options = { role_claim: ['roles'] }
    const token = (): string => jwt.server.token({ roles: ['reader'] })
    const role = 'reader'
    const delegated = { role, options, delegateIdentMapping: true }
    await jwt.accepted(token(), delegated)
    expect(await jwt.refusal(token(), { ...delegated, role: 'alice' })).toBe('role_not_granted')
    await expect(jwt.runner.run(token(), { role, options })).rejects.toMatchObject({
      code: 'config_mismatch',
    })
  })
  it('is refused before the token is looked at', async () => {
    await expect(jwt.runner.run('x', { delegateIdentMapping: true })).rejects.toMatchObject({
      code: 'config_mismatch',
    })
  })
  it('is refused where a rule wants roles of a claim that nobody named', async () => {
    await withSettings({ authorization: { shape: 'object_keys' } }, async (runner) => {
      const options = { authorization: 'role_claim' }
      const asked = { role: 'sub', options, delegateIdentMapping: true }
      await expect(runner.run(jwt.server.token(), asked)).rejects.toMatchObject({
        code: 'config_mismatch',
      })
    })
  })
})

describe('CLI-01 and TEN-01: clients and tenants', () => {
  it('refuses a client that is not listed, and a token that names none', async () => {
    const allowed_clients = { claim: 'azp', values: ['psql'] }
    await withSettings({ allowed_clients }, async (runner) => {
      const run = (azp: unknown): Promise<unknown> => runner.run(jwt.server.token({ azp }))
      expect(await run('psql')).toMatchObject({ authorized: true })
      for (const azp of ['other', undefined, ['psql'], 'PSQL', 1]) {
        expect(await run(azp)).toMatchObject({ code: 'client_not_allowed' })
      }
    })
  })
  it('refuses another tenant', async () => {
    await withSettings({ tenant: { value: 't1' } }, async (runner) => {
      expect(await runner.run(jwt.server.token({ tid: 't1' }))).toMatchObject({ authorized: true })
      for (const tid of ['t2', undefined, ['t1']]) {
        expect(await runner.run(jwt.server.token({ tid }))).toMatchObject({
          code: 'claim_rule_failed',
        })
      }
    })
  })
})

describe('CNF-01: a token that is bound to a key', () => {
  refusesClaims([
    ['sender_constrained', () => ({ cnf: { jkt: 'x' } })],
    ['sender_constrained', () => ({ cnf: { 'x5t#S256': 'x' } })],
    ['sender_constrained', () => ({ cnf: {} })],
    ['sender_constrained', () => ({ cnf: null })],
  ])
})

describe('ACT-01: a token that an actor uses', () => {
  const nested = (depth: number): unknown =>
    depth === 1 ? { sub: 'a' } : { sub: 'a', act: nested(depth - 1) }
  refusesClaims([['claim_rule_failed', () => ({ act: { sub: 'service' } })]])
  it('has nothing against may_act, which is for the authorization server', async () => {
    await jwt.accepted(jwt.server.token({ may_act: { sub: 'x' } }))
  })
  it('is accepted by a rule about the actor, up to four of them', async () => {
    const claim_rules = [{ path: '/act/sub', op: 'eq', value: 'a' }]
    await withSettings({ claim_rules }, async (runner) => {
      expect(await runner.run(jwt.server.token({ act: nested(4) }))).toMatchObject({
        authorized: true,
      })
      expect(await runner.run(jwt.server.token({ act: nested(5) }))).toMatchObject({
        code: 'claim_rule_failed',
      })
      expect(await runner.run(jwt.server.token({ act: { sub: 'b' } }))).toMatchObject({
        code: 'claim_rule_failed',
      })
      expect(await runner.run(jwt.server.token({ act: { sub: 'a', act: 'x' } }))).toMatchObject({
        code: 'claim_rule_failed',
      })
      expect(await runner.run(jwt.server.token())).toMatchObject({ code: 'claim_rule_failed' })
    })
  })
})

describe('required claims', () => {
  it('of RFC 9068 can be demanded as a whole', async () => {
    await withSettings({ profile: 'rfc9068' }, async (runner) => {
      expect(await runner.run(jwt.server.token())).toMatchObject({ authorized: true })
      for (const name of ['jti', 'client_id']) {
        expect(await runner.run(jwt.server.token({ [name]: undefined }))).toMatchObject({
          code: 'missing_claim',
        })
      }
    })
  })
})

describe('claim rules', () => {
  const cases: readonly (readonly [Record<string, unknown>, unknown[], unknown[]])[] = [
    [{ op: 'exists' }, ['', null, 0], [undefined]],
    [{ op: 'absent' }, [undefined], ['', null]],
    [{ op: 'eq', value: 'true' }, ['true'], [true, 'TRUE', ['true'], undefined]],
    [{ op: 'eq', value: true }, [true], ['true', 1]],
    [{ op: 'in', value: ['a', 1] }, ['a', 1], ['b', '1', ['a'], undefined]],
    [{ op: 'contains', value: 'a' }, [['a'], ['b', 'a']], ['a', 'abc', [['a']], { a: 1 }]],
    [{ op: 'prefix', value: 'refs/' }, ['refs/', 'refs/heads'], ['xrefs/', ['refs/'], undefined]],
    [{ op: 'glob', value: 'a*b*c' }, ['abc', 'aXbXc', 'abbc'], ['ab', 'acb', 'abcd', 'ac', 'xabc']],
    [{ op: 'glob', value: 'a*a' }, ['aa', 'aba'], ['a', 'ab']],
    [{ op: 'glob', value: '*' }, ['', 'x'], [1, undefined]],
    [{ op: 'lte', value: 3 }, [3, -1], [4, '3', undefined, null]],
  ]
  for (const [rule, good, bad] of cases) {
    it(`with ${JSON.stringify(rule)}`, async () => {
      const claim_rules = [{ path: ['a.b/c'], ...rule }]
      await withSettings({ claim_rules }, async (runner) => {
        for (const value of good) {
          expect(await runner.run(jwt.server.token({ 'a.b/c': value }))).toMatchObject({
            authorized: true,
          })
        }
        for (const value of bad) {
          expect(await runner.run(jwt.server.token({ 'a.b/c': value }))).toMatchObject({
            code: 'claim_rule_failed',
          })
        }
      })
    })
  }
  it('say their own words in the log', async () => {
    const claim_rules = [{ path: '/env', op: 'eq', value: 'prod', message: 'Not from production.' }]
    await withSettings({ claim_rules }, async (runner) => {
      expect(await runner.run(jwt.server.token())).toMatchObject({
        errorDetail: 'Not from production.',
      })
    })
  })
  it('match a glob in linear time', async () => {
    const claim_rules = [{ path: '/x', op: 'glob', value: `${'a*'.repeat(60)}b` }]
    await withSettings({ claim_rules }, async (runner) => {
      expect(await runner.run(jwt.server.token({ x: 'a'.repeat(4_000) }))).toMatchObject({
        code: 'claim_rule_failed',
      })
    })
  })
})

describe('RPL-01 and RPL-02: one token, many logins', () => {
  it('accepts a token a hundred times at once', async () => {
    const token = jwt.server.token()
    const results = await Promise.all(Array.from({ length: 100 }, () => jwt.runner.run(token)))
    expect(results.filter(({ authorized }) => authorized)).toHaveLength(100)
  })
  it('accepts it once where that is configured', async () => {
    await withSettings({ replay: 'jti_once' }, async (runner) => {
      const token = jwt.server.token()
      const results = await Promise.all(Array.from({ length: 10 }, () => runner.run(token)))
      expect(results.filter(({ authorized }) => authorized)).toHaveLength(1)
      expect(results.filter(({ code }) => code === 'replayed')).toHaveLength(9)
      expect(await runner.run(jwt.server.token())).toMatchObject({ authorized: true })
      expect(await runner.run(jwt.server.token({ jti: undefined }))).toMatchObject({
        code: 'missing_claim',
      })
      expect(await runner.run(jwt.server.token({ jti: 1 }))).toMatchObject({
        code: 'bad_claim_type',
      })
    })
  })
  it('does not use a token up by a refusal', async () => {
    await withSettings({ replay: 'jti_once' }, async (runner) => {
      const token = jwt.server.token()
      expect(await runner.run(token, { scope: ['more'] })).toMatchObject({
        code: 'insufficient_scope',
      })
      expect(await runner.run(token)).toMatchObject({ authorized: true })
    })
  })
})
