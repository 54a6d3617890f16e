/**
 * Every advisory of spec/validators.md §10, by its number: what it let in elsewhere, sent over the wire to the
 * running proxy, and the verdict. What cannot be sent (a setting, a document of the provider) is tried as it
 * would happen. The client reads the same about all of it; the log has the code.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { offeredClient } from '../support/oauth-proxy.ts'
import { withPostgres } from '../support/postgres.ts'
import type { TestProxy } from '../support/proxy.ts'
import { rawClient } from '../support/raw-client.ts'
import {
  errorFields,
  int32,
  message,
  oauthBearer,
  saslInitialResponse,
  saslResponse,
  sslRequest,
  startupMessage,
} from '../support/wire-bytes.ts'
import { AuthorizationServer, json } from './support/authorization-server.ts'
import { testCertificates } from './support/certificates.ts'
import { encode, signHmac, signingKey, signJws } from './support/signing-key.ts'
import { acceptedOverWire, oauthRule, refusedOverWire, startJwtProxy } from './support/wire.ts'

/** All of §10 that have a number. */
const ADVISORIES = [
  'CVE-2015-9235',
  'CVE-2016-10555',
  'CVE-2018-0114',
  'CVE-2020-26160',
  'GO-2020-0017',
  'CVE-2020-28042',
  'CVE-2021-29157',
  'CVE-2022-21449',
  'CVE-2022-23529',
  'CVE-2022-23539',
  'CVE-2022-23540',
  'CVE-2022-23541',
  'CVE-2022-29217',
  'CVE-2024-33663',
  'CVE-2024-37568',
  'CVE-2022-36083',
  'CVE-2024-28176',
  'CVE-2024-28180',
  'CVE-2026-39373',
  'CVE-2023-22482',
  'CVE-2023-3128',
  'CVE-2023-48223',
  'CVE-2026-34950',
  'GHSA-ww5h-9m49-7xx4',
  'GHSA-8wpc-h4q6-8fxv',
  'CVE-2026-35039',
  'GHSA-rp9m-7r4c-75qg',
  'CVE-2026-35041',
  'GHSA-hm7r-c7qw-ghp6',
  'CVE-2024-53861',
  'CVE-2024-5798',
  'cap PR #191',
  'CVE-2025-27144',
  'CVE-2025-30204',
  'CVE-2025-27817',
  'CVE-2025-64527',
  'CVE-2024-45809',
  'CVE-2019-12995',
  'CVE-2025-65945',
  'GHSA-869p-cjfg-cm3x',
  'CVE-2026-22817',
  'CVE-2026-44459',
  'CVE-2026-48523',
  'CVE-2026-45363',
  'CVE-2026-23993',
  'CVE-2026-33322',
  'GHSA-jc38-x7x8-2xc8',
  'GHSA-c5c4-8r6x-56w3',
  'GHSA-5hvv-m4w4-gf6v',
  'GHSA-7x63-xv5r-3p2x',
  'GHSA-pxq7-h93f-9jrg',
  'CVE-2025-64484',
  'GHSA-vjrc-mh2v-45x6',
  'CVE-2024-45808',
  'CVE-2025-2291',
  'CVE-2025-12819',
  'CVE-2026-6664',
  'CVE-2026-6665',
  'CVE-2026-6666',
  'CVE-2026-6667',
  'CVE-2015-6817',
  'CVE-2021-3935',
  'CVE-2025-49146',
  'CVE-2026-42198',
] as const
type Advisory = (typeof ADVISORIES)[number]

const covered = new Set<Advisory>()

function advisory(ids: readonly Advisory[], what: string, run: () => Promise<void>): void {
  for (const id of ids) {
    covered.add(id)
  }
  it(`${ids.join(', ')}: ${what}`, run)
}

const RSA = signingKey('RS256', 'rsa')
const UNNAMED = signingKey('RS256', 'no-alg')
const P521 = signingKey('ES512', 'p521')

let server: AuthorizationServer
let proxy: TestProxy

beforeAll(async () => {
  server = await AuthorizationServer.start()
  const { alg: _, ...unnamed } = UNNAMED.jwk
  const modulus = Buffer.alloc(2_048, 0xff).toString('base64url')
  const huge = { kty: 'RSA', n: modulus, e: 'AQAB', kid: 'rsa-16384', alg: 'RS256', use: 'sig' }
  server.jwks = { keys: [server.key.jwk, RSA.jwk, unnamed, P521.jwk, huge] }
  proxy = await startJwtProxy(server)
})

afterAll(async () => {
  await proxy[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
})

type Claims = Record<string, unknown>

const typed = (header: Claims): Claims => ({ typ: 'at+jwt', ...header })
const hmac = (secret: string | Buffer, header: Claims = {}): string =>
  signHmac(typed({ alg: 'HS256', kid: 'rsa', ...header }), server.claims(), secret)
const unsigned = (header: Claims): string =>
  `${encode(typed(header))}.${encode(server.claims())}.${encode('signature')}`
/** The good token with these claims as text. */
const spelled = (change: (payload: string) => string): string =>
  signJws(
    typed({ alg: 'ES256', kid: 'k1' }),
    change(JSON.stringify(server.claims())),
    server.key,
    'ES256',
  )
const pem = RSA.publicKey.export({ type: 'spki', format: 'pem' }).toString()
const der = RSA.publicKey.export({ type: 'spki', format: 'der' })
const pkcs1 = RSA.publicKey.export({ type: 'pkcs1', format: 'pem' }).toString()
const openssh = `ecdsa-sha2-nistp256 ${encode('AAAAE2VjZHNh')} root@idp`
const jwe = (header: Claims): string =>
  [header, 'key', 'iv', 'text', 'tag'].map((part) => encode(part)).join('.')

type Row = readonly [
  ids: readonly Advisory[],
  what: string,
  code: string,
  tokens: () => readonly string[],
]

const rows: readonly Row[] = [
  [
    ['CVE-2015-9235', 'CVE-2016-10555'],
    'no algorithm, or the public key as a shared secret',
    'alg_not_allowed',
    () => [
      ...['none', 'None', 'NONE', 'nOnE'].map((alg) => unsigned({ alg }).replace(/[^.]*$/, '')),
      hmac(pem),
    ],
  ],
  [
    ['CVE-2018-0114'],
    'a key that the token brings along',
    'header_rejected',
    () => {
      const own = signingKey('ES256', 'k1')
      const header = { alg: 'ES256', kid: 'k1' }
      return [
        signJws(typed({ ...header, jwk: own.jwk }), server.claims(), own, 'ES256'),
        signJws(typed({ ...header, jku: 'https://evil.example' }), server.claims(), own, 'ES256'),
        signJws(typed({ ...header, x5c: ['MIIB'] }), server.claims(), own, 'ES256'),
      ]
    },
  ],
  [
    ['CVE-2020-26160', 'GO-2020-0017'],
    'a list of audiences, or none, instead of ours',
    'wrong_audience',
    () => [['x', 'y'], [], undefined, ''].map((aud) => server.token({ aud })),
  ],
  [
    ['CVE-2020-28042'],
    'a signature that is empty or cut off',
    'bad_signature',
    () => {
      const [header, payload, signature = ''] = server.token().split('.')
      const bytes = Buffer.from(signature, 'base64url')
      return [0, 1, 32, 63].map((end) => `${header}.${payload}.${encode(bytes.subarray(0, end))}`)
    },
  ],
  [
    ['CVE-2021-29157'],
    'a key id that is a path',
    'no_matching_key',
    () => [
      server.token({ azp: '../../../etc' }, { kid: '../../../../etc/passwd' }),
      server.token({}, { kid: 'k1/../k1' }),
      server.token({}, { kid: '%2e%2e/k1' }),
    ],
  ],
  [
    ['CVE-2022-21449'],
    'a signature of zeros, or of the order of the curve',
    'bad_signature',
    () => {
      const input = server.token().replace(/[^.]*$/, '')
      const order = 'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551'
      return [Buffer.alloc(64), Buffer.from(order + order, 'hex')].map((s) => input + encode(s))
    },
  ],
  [
    ['CVE-2022-23529', 'CVE-2022-23540'],
    'an algorithm that is missing or no text',
    'alg_not_allowed',
    () =>
      [undefined, null, ['ES256'], { toString: 'ES256' }, '', 'ES256 ', 'es256'].map((alg) =>
        unsigned({ alg, kid: 'k1' }),
      ),
  ],
  [
    ['CVE-2022-23539', 'CVE-2022-23541'],
    'a key of one type used as another',
    'no_matching_key',
    () => [
      signJws(typed({ alg: 'ES256', kid: 'rsa' }), server.claims(), server.key, 'ES256'),
      signJws(typed({ alg: 'RS256', kid: 'k1' }), server.claims(), RSA, 'RS256'),
    ],
  ],
  [
    ['CVE-2022-29217', 'CVE-2024-33663', 'CVE-2024-37568'],
    'a public key in any spelling as a shared secret',
    'alg_not_allowed',
    () => [
      ...[pem, der, pkcs1, openssh, JSON.stringify(RSA.jwk)].map((secret) => hmac(secret)),
      hmac(pem, { alg: 'HS384' }),
      hmac(pem, { alg: 'HS512' }),
    ],
  ],
  [
    ['CVE-2022-36083', 'CVE-2024-28176', 'CVE-2024-28180', 'CVE-2026-39373'],
    'an encrypted token: a million rounds, or a bomb',
    'malformed',
    () => [
      jwe({ alg: 'PBES2-HS256+A128KW', enc: 'A128GCM', p2c: 2_147_483_647, p2s: 'AA' }),
      jwe({ alg: 'RSA-OAEP', enc: 'A128GCM', zip: 'DEF' }),
      jwe({ alg: 'dir', enc: 'A128GCM' }),
    ],
  ],
  [
    ['CVE-2023-22482'],
    'a token of the same issuer for another application',
    'wrong_audience',
    () => [server.token({ aud: 'argo-cd' }), server.token({ aud: 'https://db.example.com/' })],
  ],
  [
    ['CVE-2023-48223', 'CVE-2026-34950', 'GHSA-ww5h-9m49-7xx4', 'GHSA-8wpc-h4q6-8fxv'],
    'a public key with something around it, or nothing at all, as a shared secret',
    'alg_not_allowed',
    () =>
      [` ${pem}`, `\n${pem}`, `${pem} `, pem.trim(), '', JSON.stringify(RSA.jwk)].map((secret) =>
        hmac(secret),
      ),
  ],
  [
    ['GHSA-hm7r-c7qw-ghp6'],
    'an extension that the token calls critical',
    'header_rejected',
    () => [
      ...[['exp'], ['x-policy'], [], ['alg'], 'b64', null].map((crit) =>
        server.token({}, { crit, 'x-policy': 'strict' }),
      ),
      server.token({}, { crit: ['b64'], b64: true }),
    ],
  ],
  [
    ['CVE-2024-53861'],
    'a part of the issuer, or more than it',
    'unknown_issuer',
    () => {
      const { issuer } = server
      const parts = [issuer.slice(0, -1), issuer.slice(1), issuer.slice(4, 9), '', issuer[0]]
      return [...parts, `${issuer}/`, `${issuer}@evil.example`, [issuer]].map((iss) =>
        server.token({ iss }),
      )
    },
  ],
  [
    ['CVE-2024-5798'],
    'our audience inside a text',
    'wrong_audience',
    () => {
      const ours = 'https://db.example.com'
      return [`x ${ours}`, `${ours},x`, { 0: ours }, ours.slice(0, -1), ours.toUpperCase()].map(
        (aud) => server.token({ aud }),
      )
    },
  ],
  [
    ['CVE-2024-5798'],
    'our audience inside a list inside a list',
    'bad_claim_type',
    () => [server.token({ aud: [['https://db.example.com']] }), server.token({ aud: [1, 'x'] })],
  ],
  [
    ['cap PR #191'],
    'a claim under a name that is nearly the same',
    'malformed',
    () =>
      [{ SUB: 'bob' }, { ſub: 'bob' }, { ｓｕｂ: 'bob' }, { Iss: 'x' }].map((more) =>
        server.token(more),
      ),
  ],
  [
    ['CVE-2025-27144', 'CVE-2025-30204'],
    'nothing but dots',
    'malformed',
    () => ['.'.repeat(16_000), `${server.token()}${'.'.repeat(10_000)}`, 'a.'.repeat(8_000)],
  ],
  [
    ['CVE-2025-27144', 'CVE-2025-30204'],
    'more dots than a token may be long',
    'limit_exceeded',
    () => ['.'.repeat(60_000)],
  ],
  [
    ['CVE-2025-65945', 'GHSA-869p-cjfg-cm3x'],
    'a shared secret that the token helps to look up',
    'alg_not_allowed',
    () => ['rsa', 'k1', '', 'k'.repeat(16)].map((kid) => hmac(kid, { kid })),
  ],
  [
    ['CVE-2026-22817'],
    'a shared secret for a key that names no algorithm',
    'alg_not_allowed',
    () => {
      const text = UNNAMED.publicKey.export({ type: 'spki', format: 'pem' }).toString()
      return [hmac(text, { kid: 'no-alg' }), hmac('', { kid: 'no-alg' })]
    },
  ],
  [
    ['CVE-2026-22817'],
    'an algorithm of another type for a key that names none',
    'no_matching_key',
    () => [signJws(typed({ alg: 'ES256', kid: 'no-alg' }), server.claims(), server.key, 'ES256')],
  ],
  [
    ['CVE-2026-44459'],
    'dates that are infinite, or false, or nothing',
    'bad_claim_type',
    () => [
      ...['1e999', 'null', 'false', '""', '"4000000000"', '[]'].map((exp) =>
        spelled((payload) => payload.replace(/"exp":\d+/, `"exp":${exp}`)),
      ),
      ...[null, false, '', '1'].flatMap((date) => [
        server.token({ nbf: date }),
        server.token({ iat: date }),
      ]),
      server.token({ exp: 0 }),
    ],
  ],
  [
    ['CVE-2026-48523'],
    "an algorithm that is allowed, but is not the key's",
    'no_matching_key',
    () => [signJws(typed({ alg: 'PS256', kid: 'rsa' }), server.claims(), RSA, 'PS256')],
  ],
  [
    ['CVE-2026-45363'],
    'an empty secret',
    'alg_not_allowed',
    () => [hmac(''), hmac('', { kid: undefined }), hmac(Buffer.alloc(0), { alg: 'HS512' })],
  ],
  [
    ['CVE-2026-23993', 'CVE-2026-33322'],
    "an algorithm of the token's choice, with our own credentials as its secret",
    'alg_not_allowed',
    () => [hmac('client-secret'), unsigned({ alg: 'XX256' }), unsigned({ alg: 'ES256K' })],
  ],
  [
    ['GHSA-jc38-x7x8-2xc8'],
    'an algorithm outside of what is signed',
    'malformed',
    () => {
      const [header, payload, signature] = server.token().split('.')
      const flattened = { protected: header, header: { alg: 'none' }, payload, signature }
      return [encode(flattened), `${encode(flattened)}.${payload}`]
    },
  ],
  [
    ['CVE-2025-2291'],
    'a credential that has expired',
    'expired',
    () => [server.token({ iat: 1, exp: 2 })],
  ],
  [
    ['CVE-2026-42198'],
    'work that the token chooses: a curve that is ten times slower',
    'alg_not_allowed',
    () => [
      signJws(typed({ alg: 'ES512', kid: 'p521' }), server.claims(), P521, 'ES512'),
      signJws(typed({ alg: 'ES384', kid: 'p521' }), server.claims(), P521, 'ES512'),
    ],
  ],
  [
    ['CVE-2026-42198'],
    'work that the key makes: sixteen thousand bits',
    'key_rejected',
    () => [signJws(typed({ alg: 'RS256', kid: 'rsa-16384' }), server.claims(), RSA, 'RS256')],
  ],
]

describe('a token that got in elsewhere stays out', () => {
  for (const [ids, what, code, tokens] of rows) {
    advisory(ids, `${what} is refused as ${code}`, async () => {
      for (const token of tokens()) {
        const { challenge, fields, log } = await refusedOverWire(proxy, token)
        expect(JSON.parse(challenge)).toMatchObject({ status: 'invalid_token' })
        expect(fields).toMatchObject({ C: '28000' })
        expect(JSON.stringify(fields)).not.toContain(code)
        expect(log).toContain(`"${code}"`)
      }
    })
  }

  it('and the good token, with each of the good keys, comes in', async () => {
    await acceptedOverWire(proxy, server.token(), 'alice')
    for (const key of [RSA, UNNAMED]) {
      const header = typed({ alg: 'RS256', kid: key.kid })
      await acceptedOverWire(proxy, signJws(header, server.claims(), key, 'RS256'), 'alice')
    }
  })
})

describe('what was remembered', () => {
  advisory(
    ['CVE-2026-35039', 'GHSA-rp9m-7r4c-75qg'],
    'for one token is not the answer for another that shares its parts',
    async () => {
      const hba = `host all all 127.0.0.1/32 ${oauthRule(server)} map=m`
      const ident = 'm alice alice\nm bob bob\n'
      const mapped = await startJwtProxy(server, { hba, ident })
      await using _ = mapped
      const alice = server.token({ sub: 'alice' })
      const bob = server.token({ sub: 'bob' })
      for (let i = 0; i < 3; i += 1) {
        await acceptedOverWire(mapped, alice, 'alice', 'alice')
        await acceptedOverWire(mapped, bob, 'bob', 'bob')
        const { log } = await refusedOverWire(mapped, alice, 'bob')
        expect(log).toContain('identity=\\"alice\\"')
      }
      const [header, , signature] = alice.split('.')
      const mixed = [header, bob.split('.')[1], signature].join('.')
      expect((await refusedOverWire(mapped, mixed, 'bob')).log).toContain('"bad_signature"')
    },
  )
})

describe('claims as names', () => {
  advisory(['CVE-2023-3128'], 'an address that nobody verified is no identity', async () => {
    await using byEmail = await startJwtProxy(server, {
      settings: { identity: { claims: ['/email'] } },
    })
    for (const verified of [undefined, false, 'true', 1]) {
      const token = server.token({ email: 'alice@example.com', email_verified: verified })
      expect((await refusedOverWire(byEmail, token)).log).toContain('"email_unverified"')
    }
    const ours = { preferred_username: 'alice', upn: 'alice', sub: 'someone-else' }
    const { log } = await refusedOverWire(proxy, server.token(ours))
    expect(log).toContain('identity=\\"someone-else\\"')
  })
  advisory(['GHSA-c5c4-8r6x-56w3'], 'an address with more than one @ is none', async () => {
    await using byEmail = await startJwtProxy(server, {
      settings: { identity: { claims: ['/email'] } },
    })
    for (const email of ['a@evil.example@example.com', 'a@b@example.com', '@example.com', 'a@']) {
      const token = server.token({ email, email_verified: true })
      expect((await refusedOverWire(byEmail, token)).log).toContain('"identity_invalid"')
    }
  })
  advisory(['CVE-2024-45808'], 'what a token says starts no line in the log', async () => {
    const before = proxy.lines.length
    const text = 'x\n{"level":"fatal","msg":"all is lost"}\u001b[31m'
    await refusedOverWire(proxy, server.token({}, { kid: text }))
    await refusedOverWire(proxy, server.token({ sub: text }))
    await refusedOverWire(proxy, server.token({ sub: 'bob"}, {"msg":"all is lost' }))
    const lines = proxy.lines.slice(before)
    expect(lines.some(({ msg }) => msg.includes('all is lost') && !msg.includes('bob'))).toBe(false)
    // One JSON object a line, and no control character in any.
    for (const line of proxy.logText().trimEnd().split('\n')) {
      expect(() => JSON.parse(line) as unknown).not.toThrow()
      expect(line).not.toMatch(/\p{Cc}/u)
    }
  })
})

describe('settings', () => {
  const start = (settings: Claims): Promise<TestProxy> => startJwtProxy(server, { settings })
  /** The proxy does not start, and says which setting is wrong. */
  const refused = (setting: string): object => ({
    errors: [expect.objectContaining({ message: expect.stringContaining(`${setting}: `) })],
  })

  advisory(
    ['CVE-2026-35041'],
    'take no regular expression, and patterns cost no time',
    async () => {
      const regex = [{ path: '/sub', op: 'regex', value: '(a+)+$' }]
      await expect(start({ claim_rules: regex })).rejects.toMatchObject(refused('claim_rules.0.op'))
      const glob = [{ path: '/x', op: 'glob', value: `${'*a'.repeat(60)}*b` }]
      await using patterned = await start({ claim_rules: glob })
      const { log } = await refusedOverWire(patterned, server.token({ x: 'a'.repeat(4_000) }))
      expect(log).toContain('"claim_rule_failed"')
    },
  )
  advisory(['CVE-2023-22482'], 'without an audience stop the start', async () => {
    await expect(start({ audiences: undefined })).rejects.toMatchObject(refused('audiences'))
    await expect(start({ audiences: [] })).rejects.toMatchObject(refused('audiences'))
  })
  advisory(['CVE-2025-27817'], 'name no file and no plain address of keys', async () => {
    for (const uri of ['file:///etc/passwd', 'http://169.254.169.254/', 'data:,{}', 'ftp://x/']) {
      await expect(start({ jwks_uri: uri })).rejects.toMatchObject(refused('jwks_uri'))
    }
  })
})

describe('a document of the provider', () => {
  /** The log of a login with a good token, where the provider answers so. */
  async function loginWith(spoil: (other: AuthorizationServer) => void): Promise<string> {
    await using other = await AuthorizationServer.start()
    spoil(other)
    await using asking = await startJwtProxy(other)
    const { log } = await refusedOverWire(asking, other.token())
    // It is still there, for everybody.
    await refusedOverWire(asking, 'a.b.c')
    return log
  }

  advisory(['CVE-2025-27817'], 'cannot send us to a file or to another host', async () => {
    const secret = await AuthorizationServer.start()
    await using _ = secret
    for (const uri of ['file:///etc/passwd', `${secret.issuer}/jwks`, 'http://127.0.0.1/jwks']) {
      const log = await loginWith((other) => {
        other.metadata = { ...other.metadata, jwks_uri: uri }
      })
      expect(log).toContain('"provider_bad_response"')
    }
    expect(secret.connections).toBe(0)
  })
  advisory(
    ['CVE-2025-64527', 'CVE-2024-45809', 'CVE-2019-12995'],
    'that is none refuses the login and takes nobody else down',
    async () => {
      const bodies = ['', 'null', '[]', '{}', '<html>', '{"keys":null}', '{"keys":{}}', '{"keys":[']
      for (const body of bodies) {
        const log = await loginWith((other) => {
          other.overrides.set('/jwks', (_request, response) => {
            response.writeHead(200, { 'content-type': 'application/json' }).end(body)
          })
        })
        expect(log).toContain('"provider_bad_response"')
      }
      const nonsense = [null, 1, 'key', [], {}, { kty: 1 }, { kty: 'EC', crv: {} }, { kty: 'RSA' }]
      const log = await loginWith((other) => {
        other.overrides.set('/jwks', (_request, response) => json(response, { keys: nonsense }))
      })
      expect(log).toContain('"no_matching_key"')
    },
  )
  advisory(['CVE-2019-12995'], 'is not needed to survive tokens that are no tokens', async () => {
    for (const token of ['.', '..', '...', 'e30.e30.e30', 'eyJ.eyJ.eyJ', '-'.repeat(1_000)]) {
      expect((await refusedOverWire(proxy, token)).log).toMatch(/"(malformed|alg_not_allowed)"/)
    }
    await acceptedOverWire(proxy, server.token(), 'alice')
  })
})

describe('what a client says besides its token', () => {
  /** The log of a login with a bad token and these startup parameters. */
  async function loginAs(parameters: Record<string, string>, auth: string): Promise<string> {
    const before = proxy.lines.length
    const client = await rawClient({ port: proxy.port })
    client.send(startupMessage({ user: 'alice', database: 'db', ...parameters }))
    expect((await client.readMessage()).type).toBe('R')
    client.send(saslInitialResponse('OAUTHBEARER', auth))
    expect((await client.readMessage()).type).toBe('R')
    client.send(saslResponse('\u0001'))
    expect((await client.readMessage()).type).toBe('E')
    await client.expectClose()
    return JSON.stringify(proxy.lines.slice(before))
  }

  advisory(
    ['GHSA-5hvv-m4w4-gf6v', 'GHSA-7x63-xv5r-3p2x', 'GHSA-pxq7-h93f-9jrg', 'CVE-2025-64484'],
    'changes nothing',
    async () => {
      const token = server.token({ aud: 'other' })
      const names = { application_name: 'kube-probe/1.30', user_agent: 'GoogleHC/1.0' }
      const more = '\u0001host=127.0.0.1\u0001port=5432\u0001useragent=GoogleHC'
      const auth = oauthBearer(`Bearer ${token}`).replace(/\u0001\u0001$/, `${more}\u0001\u0001`)
      expect(await loginAs(names, auth)).toContain('wrong_audience')
    },
  )
  advisory(['GHSA-vjrc-mh2v-45x6'], 'in another spelling is not what we read', async () => {
    const before = proxy.lines.length
    const client = await offeredClient(proxy)
    const good = `n,,\u0001AUTH=Bearer ${server.token()}\u0001Auth=Bearer x\u0001\u0001`
    client.send(saslInitialResponse('OAUTHBEARER', good))
    expect((await client.readMessage()).type).toBe('E')
    await client.expectClose()
    expect(JSON.stringify(proxy.lines.slice(before))).not.toContain('connection authenticated')
  })
  advisory(['CVE-2025-12819'], 'about search_path reaches nothing that decides', async () => {
    const auth = oauthBearer(`Bearer ${server.token({ aud: 'other' })}`)
    const path = { search_path: 'evil', options: '-c search_path=evil -c role=postgres' }
    expect(await loginAs(path, auth)).toContain('wrong_audience')
  })
  advisory(
    ['CVE-2015-6817'],
    'cannot make it somebody else, where nobody knows the role',
    async () => {
      for (const user of ['nobody', 'postgres', 'pgbearer', 'Alice']) {
        const { log, fields } = await refusedOverWire(proxy, server.token(), user)
        expect(fields['M']).toBe(`OAuth bearer authentication failed for user "${user}"`)
        expect(log).toContain('usermap')
      }
    },
  )
  advisory(['CVE-2026-6667'], 'opens no console for administrators', async () => {
    const auth = oauthBearer(`Bearer ${server.token({ aud: 'other' })}`)
    for (const database of ['pgbouncer', 'pgbearer', 'admin']) {
      expect(await loginAs({ database }, auth)).toContain('wrong_audience')
    }
  })
  advisory(
    ['CVE-2026-6664', 'CVE-2026-6665', 'CVE-2026-6666'],
    'about the length of a message is checked before it is believed',
    async () => {
      for (const length of [0x7fff_ffff, -1, 0, 3, 0x7fff_ffff - 8]) {
        const client = await offeredClient(proxy)
        client.send(Buffer.concat([Buffer.from('p'), int32(length)]))
        expect((await client.readMessage()).type).toBe('E')
        await client.expectClose()
      }
      for (const length of [0x7fff_ffff, -2, 1_000]) {
        const client = await offeredClient(proxy)
        client.send(message('p', 'OAUTHBEARER\0', int32(length), 'n,,'))
        expect((await client.readMessage()).type).toBe('E')
        await client.expectClose()
      }
      await acceptedOverWire(proxy, server.token(), 'alice')
    },
  )
  advisory(['CVE-2025-49146'], 'about channel binding is refused, not passed over', async () => {
    for (const header of ['p=tls-server-end-point,,', 'p=,,', 'n,a=root,', 'x,,']) {
      const client = await offeredClient(proxy)
      const first = `${header}\u0001auth=Bearer ${server.token()}\u0001\u0001`
      client.send(saslInitialResponse('OAUTHBEARER', first))
      const answer = await client.readMessage()
      expect(answer.type).toBe('E')
      expect(errorFields(answer.body)['C']).toMatch(/^(08P01|0A000)$/)
      await client.expectClose()
    }
  })
  advisory(['CVE-2021-3935'], 'before TLS is not taken as said under TLS', async () => {
    const { cert, key } = await testCertificates()
    const files = { 'server.crt': cert, 'server.key': key }
    await using secure = await startJwtProxy(server, { ssl: true, files })
    const client = await rawClient({ port: secure.port })
    client.send(Buffer.concat([sslRequest, startupMessage({ user: 'alice', database: 'db' })]))
    await secure.logged(({ msg }) => msg === 'received unencrypted data after SSL request')
    expect(secure.logText()).not.toContain('connection authenticated')
  })
})

describe('what the server behind says about a role', () => {
  const postgres = withPostgres({ hba: 'host all all 127.0.0.1/32 scram-sha-256' })

  advisory(['CVE-2025-2291'], 'is not passed over: its own end, NOLOGIN and limits', async () => {
    await postgres().query('create database db')
    await postgres().query(`create role asleep nologin password 'p';
      create role ended login password 'p' valid until '2000-01-01';
      create role many login password 'p' connection limit 0;
      create role alice login password 'p'`)
    const roles = ['asleep', 'ended', 'many', 'alice']
    await using behind = await startJwtProxy(server, {
      upstream: {
        host: '127.0.0.1',
        port: postgres().port,
        sslmode: 'disable',
        users_file: 'users.toml',
      },
      files: { 'users.toml': roles.map((role) => `[${role}]\npassword = "p"\n`).join('') },
    })
    const login = async (role: string): Promise<Readonly<Record<string, string>>> => {
      const client = await offeredClient(behind, role)
      const token = server.token({ sub: role })
      client.send(saslInitialResponse('OAUTHBEARER', oauthBearer(`Bearer ${token}`)))
      for (;;) {
        const { type, body } = await client.readMessage()
        if (type === 'E' || type === 'Z') {
          return type === 'E' ? errorFields(body) : {}
        }
      }
    }
    expect(await login('alice')).toEqual({})
    expect(await login('asleep')).toMatchObject({ C: '28000' })
    expect(await login('ended')).toMatchObject({ C: '28P01' })
    expect(await login('many')).toMatchObject({ C: '53300' })
  })
})

it('has a case for every advisory of the list', () => {
  expect([...covered].sort()).toEqual([...ADVISORIES].sort())
})
