/** spec/validators.md §8.1, "Algorithm and key": one row, one test. */
import { constants, createHash, privateDecrypt, sign } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import jwtInit from '../../validators/jwt.ts'
import { AuthorizationServer } from './support/authorization-server.ts'
import { SETTINGS, useJwt } from './support/jwt-fixture.ts'
import { type Runner, startValidator } from './support/run-validator.ts'
import {
  encode,
  type SigningKey,
  signature,
  signHmac,
  signingKey,
  signJws,
} from './support/signing-key.ts'

const jwt = useJwt({ algorithms: ['RS256', 'PS256', 'ES256', 'EdDSA', 'ES384'] })

const rsa = signingKey('RS256', 'rsa')
const weak = signingKey('RS256', 'weak', { bits: 1024 })

/** A validator whose issuer publishes these keys. */
async function withKeys<T>(
  keys: unknown[],
  use: (runner: Runner, server: AuthorizationServer) => Promise<T>,
  settings: Record<string, unknown> = {},
): Promise<T> {
  await using server = await AuthorizationServer.start()
  server.jwks = { keys }
  await using runner = await startValidator({
    init: jwtInit,
    settings: { ...SETTINGS, ...settings },
    issuers: [server.issuer],
  })
  return await use(runner, server)
}

/** A good token of the server, signed with this key as `alg`. */
function signedWith(
  server: AuthorizationServer,
  key: SigningKey,
  alg = key.alg,
  header: Record<string, unknown> = {},
): string {
  return signJws({ alg, kid: key.kid, typ: 'at+jwt', ...header }, server.claims(), key, alg)
}

async function codeFor(key: SigningKey, jwk: unknown, alg = key.alg): Promise<string | undefined> {
  return withKeys([jwk], async (runner, server) => {
    const result = await runner.run(signedWith(server, key, alg))
    return result.authorized ? 'accepted' : result.code
  })
}

describe('ALG-01: the algorithm is one of ours', () => {
  for (const alg of [
    'none',
    'None',
    'NONE',
    'nOnE',
    undefined,
    1,
    null,
    ['ES256'],
    { a: 1 },
    '',
    'HS256',
    'es256',
    'ES256K',
  ]) {
    it(`refuses alg ${JSON.stringify(alg)}: alg_not_allowed`, async () => {
      const input = `${encode(jwt.header({ alg }))}.${encode(jwt.server.claims())}`
      for (const signature of ['', 'AAAA']) {
        expect(await jwt.refusal(`${input}.${signature}`)).toBe('alg_not_allowed')
      }
    })
  }
  it('refuses an algorithm that exists and is not configured', async () => {
    const key = signingKey('ES512', 'k')
    expect(await jwt.refusal(signedWith(jwt.server, key))).toBe('alg_not_allowed')
  })
})

describe('ALG-02: a public key is no shared secret', () => {
  const pem = rsa.publicKey.export({ type: 'spki', format: 'pem' }).toString()
  const secrets: Record<string, string | Buffer> = {
    PEM: pem,
    'PEM with a leading line end': `\n${pem}`,
    'PEM with a leading blank': ` ${pem}`,
    'PEM without the last line end': pem.trim(),
    'PKCS#1 PEM': rsa.publicKey.export({ type: 'pkcs1', format: 'pem' }).toString(),
    DER: rsa.publicKey.export({ type: 'spki', format: 'der' }),
    'JWK as JSON': JSON.stringify(rsa.jwk),
    modulus: Buffer.from(String(rsa.jwk['n']), 'base64url'),
    empty: '',
  }
  for (const [name, secret] of Object.entries(secrets)) {
    it(`refuses HS256 with the ${name} as the secret: alg_not_allowed`, async () => {
      await withKeys([rsa.jwk], async (runner, server) => {
        const header = { alg: 'HS256', kid: 'rsa', typ: 'at+jwt' }
        const token = signHmac(header, server.claims(), secret)
        expect(await runner.run(token)).toMatchObject({ code: 'alg_not_allowed' })
      })
    })
  }
})

describe('ALG-03 and ALG-04: a key is used for its own algorithm', () => {
  it('refuses PS256 by a key that is for RS256: no_matching_key', async () => {
    expect(await codeFor(rsa, rsa.jwk, 'PS256')).toBe('no_matching_key')
  })
  it('refuses RS512, which is not allowed: alg_not_allowed', async () => {
    expect(await codeFor(rsa, rsa.jwk, 'RS512')).toBe('alg_not_allowed')
  })
  it('accepts either RSA scheme by a key that names none', async () => {
    const { alg: _, ...bare } = rsa.jwk
    expect(await codeFor(rsa, bare, 'PS256')).toBe('accepted')
    expect(await codeFor(rsa, bare, 'RS256')).toBe('accepted')
  })
  it('refuses ES256 with a key on P-384: no_matching_key', async () => {
    const key = signingKey('ES384', 'k')
    const { alg: _, ...bare } = key.jwk
    expect(await codeFor(key, bare, 'ES256')).toBe('no_matching_key')
    expect(await codeFor(key, { ...bare, alg: 'ES256' }, 'ES256')).toBe('no_matching_key')
  })
  it('refuses EdDSA with a key on Ed448: no_matching_key', async () => {
    const key = signingKey('EdDSA', 'k')
    const jwk = { kty: 'OKP', crv: 'Ed448', kid: 'k', x: encode(Buffer.alloc(57, 1)) }
    expect(await codeFor(key, jwk)).toBe('no_matching_key')
  })
  it('accepts Ed25519 as a name of EdDSA only where it is configured', async () => {
    const key = signingKey('EdDSA', 'k')
    expect(await codeFor(key, key.jwk, 'Ed25519')).toBe('alg_not_allowed')
    const accepted = await withKeys(
      [key.jwk],
      (runner, server) => runner.run(signedWith(server, key, 'Ed25519')),
      { algorithms: ['Ed25519'] },
    )
    expect(accepted.authorized).toBe(true)
  })
})

describe('ALG-05 and ALG-09: a signature that is not one', () => {
  const input = (): string => `${encode(jwt.header())}.${encode(jwt.server.claims())}`
  const n = Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551', 'hex')
  const zero = Buffer.alloc(32)
  const one = Buffer.from(zero.toString('hex').replace(/0$/, '1'), 'hex')
  const forged: Record<string, Buffer> = {
    'r = s = 0': Buffer.alloc(64),
    'r = 0': Buffer.concat([zero, one]),
    's = 0': Buffer.concat([one, zero]),
    'r = n': Buffer.concat([n, one]),
    's = n': Buffer.concat([one, n]),
    'r = s = 1': Buffer.concat([one, one]),
    'all ones': Buffer.alloc(64, 0xff),
    '63 bytes': Buffer.alloc(63, 1),
    '65 bytes': Buffer.alloc(65, 1),
    'one byte': Buffer.alloc(1),
    nothing: Buffer.alloc(0),
    'DER zeros': Buffer.from('3006020100020100', 'hex'),
    'a thousand bytes': Buffer.alloc(1_000, 1),
  }
  for (const [name, bytes] of Object.entries(forged)) {
    it(`refuses an ES256 signature of ${name}: bad_signature`, async () => {
      expect(await jwt.refusal(`${input()}.${encode(bytes)}`)).toBe('bad_signature')
    })
  }
  it('refuses the DER form of a good signature: bad_signature', async () => {
    const text = input()
    const der = sign('sha256', Buffer.from(text), jwt.server.key.privateKey)
    expect(await jwt.refusal(`${text}.${encode(der)}`)).toBe('bad_signature')
  })
  it('refuses every truncation of a good signature: bad_signature', async () => {
    const text = input()
    const good = signature(text, jwt.server.key.privateKey, 'ES256')
    for (let length = 0; length < good.length; length += 7) {
      expect(await jwt.refusal(`${text}.${encode(good.subarray(0, length))}`)).toBe('bad_signature')
    }
  })
  it('refuses a good signature over something else: bad_signature', async () => {
    const [, , other] = jwt.server.token({ sub: 'mallory' }).split('.')
    expect(await jwt.refusal(`${input()}.${other}`)).toBe('bad_signature')
  })

  /** The "signature" that decrypts to this block: what somebody with the private key can make. */
  const raw = (block: Buffer): Buffer =>
    privateDecrypt({ key: rsa.privateKey, padding: constants.RSA_NO_PADDING }, block)
  const digestInfo = Buffer.from('3031300d060960864801650304020105000420', 'hex')
  const blocks: Record<string, (hash: Buffer) => Buffer> = {
    'garbage after the hash': (hash) => pad(Buffer.concat([digestInfo, hash, Buffer.alloc(64, 7)])),
    'short padding': (hash) =>
      Buffer.concat([Buffer.from([0, 1, 255, 0]), digestInfo, hash, Buffer.alloc(256 - 55, 7)]),
    'no algorithm in it': (hash) => pad(hash),
    'SHA-1 named in it': (hash) =>
      pad(
        Buffer.concat([Buffer.from('3021300906052b0e03021a05000414', 'hex'), hash.subarray(0, 20)]),
      ),
    'block type 2': (hash) => {
      const block = pad(Buffer.concat([digestInfo, hash]))
      block[1] = 2
      return block
    },
  }
  function pad(data: Buffer): Buffer {
    const ff = Buffer.alloc(256 - 3 - data.length, 0xff)
    return Buffer.concat([Buffer.from([0, 1]), ff, Buffer.from([0]), data])
  }
  for (const [name, block] of Object.entries(blocks)) {
    it(`refuses an RS256 signature with ${name}: bad_signature`, async () => {
      await withKeys([rsa.jwk], async (runner, server) => {
        const header = { alg: 'RS256', kid: 'rsa', typ: 'at+jwt' }
        const text = `${encode(header)}.${encode(server.claims())}`
        const hash = createHash('sha256').update(text).digest()
        const token = `${text}.${encode(raw(block(hash)))}`
        expect(await runner.run(token)).toMatchObject({ code: 'bad_signature' })
        const proper = raw(pad(Buffer.concat([digestInfo, hash])))
        expect(await runner.run(`${text}.${encode(proper)}`)).toMatchObject({ authorized: true })
      })
    })
  }
  it('refuses PSS with another salt length or mask hash: bad_signature', async () => {
    const { alg: _, ...bare } = rsa.jwk
    await withKeys([bare], async (runner, server) => {
      const text = `${encode({ alg: 'PS256', kid: 'rsa', typ: 'at+jwt' })}.${encode(server.claims())}`
      const key = { key: rsa.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING }
      for (const saltLength of [0, 20, 33, 64]) {
        const bad = sign('sha256', Buffer.from(text), { ...key, saltLength })
        expect(await runner.run(`${text}.${encode(bad)}`)).toMatchObject({ code: 'bad_signature' })
      }
      const good = sign('sha256', Buffer.from(text), { ...key, saltLength: 32 })
      expect(await runner.run(`${text}.${encode(good)}`)).toMatchObject({ authorized: true })
    })
  })
})

describe('ALG-06: the twin of an ES256 signature', () => {
  it('is accepted as the same login and never as more', async () => {
    const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
    const token = jwt.server.token()
    const [header, payload, text] = token.split('.') as [string, string, string]
    const bytes = Buffer.from(text, 'base64url')
    const s = n - BigInt(`0x${bytes.subarray(32).toString('hex')}`)
    const twin = Buffer.concat([
      bytes.subarray(0, 32),
      Buffer.from(s.toString(16).padStart(64, '0'), 'hex'),
    ])
    const first = await jwt.accepted(token)
    expect(await jwt.accepted(`${header}.${payload}.${encode(twin)}`)).toEqual(first)
  })
})

describe('ALG-07 and ALG-08: keys that are too weak or broken', () => {
  const n = String(rsa.jwk['n'])
  const bytes = Buffer.from(n, 'base64url')
  const keys: Record<string, Record<string, unknown>> = {
    'an RSA key of 1024 bits': { ...weak.jwk, kid: 'rsa' },
    'the exponent 1': { ...rsa.jwk, e: encode(Buffer.from([1])) },
    'the exponent 3': { ...rsa.jwk, e: encode(Buffer.from([3])) },
    'an even exponent': { ...rsa.jwk, e: encode(Buffer.from([1, 0, 2])) },
    'an RSA key of 16384 bits': { ...rsa.jwk, n: encode(Buffer.alloc(2_048, 0xfb)) },
    'an empty modulus': { ...rsa.jwk, n: '' },
    'the ROCA fingerprint': { ...rsa.jwk, n: rocaModulus(bytes.length) },
  }
  for (const [name, jwk] of Object.entries(keys)) {
    it(`refuses ${name}: key_rejected`, async () => {
      expect(await codeFor(rsa, jwk)).toBe('key_rejected')
    })
  }
  const ec = signingKey('ES256', 'k')
  const x = String(ec.jwk['x'])
  const points: Record<string, Record<string, unknown>> = {
    'a point off the curve': { ...ec.jwk, y: encode(Buffer.alloc(32, 1)) },
    'the point (0, 0)': { ...ec.jwk, x: encode(Buffer.alloc(32)), y: encode(Buffer.alloc(32)) },
    'a coordinate that is too long': { ...ec.jwk, x: encode(Buffer.alloc(33, 1)) },
    'a missing coordinate': { ...ec.jwk, y: undefined },
    'coordinates that are numbers': { ...ec.jwk, x: 1 },
    'a compressed point': {
      ...ec.jwk,
      x: encode(Buffer.concat([Buffer.from([2]), Buffer.from(x, 'base64url')])),
    },
  }
  for (const [name, jwk] of Object.entries(points)) {
    it(`refuses ${name}: key_rejected`, async () => {
      expect(await codeFor(ec, jwk)).toBe('key_rejected')
    })
  }
  it('tells the operator which key it was', async () => {
    await withKeys([weak.jwk, rsa.jwk], async (runner, server) => {
      expect(await runner.run(signedWith(server, rsa))).toMatchObject({ authorized: true })
      expect(runner.lines.join('\n')).toContain('key "weak" has 1024 bits')
    })
  })

  /** Every prime factor pattern that the fingerprint looks at: a power of 65537 modulo each prime. */
  function rocaModulus(length: number): string {
    const primorial = [
      3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
      101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
    ].reduce((product, prime) => product * BigInt(prime), 2n)
    const top = 1n << BigInt(length * 8 - 1)
    const modulus = top - (top % primorial) + primorial + 65537n
    return Buffer.from(modulus.toString(16).padStart(length * 2, '0'), 'hex').toString('base64url')
  }
})

describe('KEY-01 and KEY-02: a token brings no key of its own', () => {
  const own = signingKey('ES256', 'k1')
  const headers: Record<string, unknown> = {
    jku: 'https://attacker.example/jwks',
    x5u: 'http://169.254.169.254/latest/meta-data',
    jwk: own.jwk,
    x5c: ['MIIB'],
  }
  for (const [name, value] of Object.entries(headers)) {
    it(`refuses the header ${name} and asks nobody: header_rejected`, async () => {
      const before = jwt.server.total
      expect(await jwt.refusal(signedWith(jwt.server, own, 'ES256', { [name]: value }))).toBe(
        'header_rejected',
      )
      expect(await jwt.refusal(jwt.server.token({}, { [name]: 'file:///etc/passwd' }))).toBe(
        'header_rejected',
      )
      expect(jwt.server.total).toBe(before)
    })
  }
  it("ignores them where that is configured, and still uses only the issuer's keys", async () => {
    await using server = await AuthorizationServer.start()
    await using runner = await startValidator({
      init: jwtInit,
      settings: { ...SETTINGS, allow_untrusted_key_headers: true },
      issuers: [server.issuer],
    })
    const jku = 'https://attacker.example/jwks'
    expect(await runner.run(server.token({}, { jku }))).toMatchObject({ authorized: true })
    expect(await runner.run(signedWith(server, own, 'ES256', { jku, jwk: own.jwk }))).toMatchObject(
      {
        code: 'bad_signature',
      },
    )
  })
  it('has nothing against a certificate thumbprint', async () => {
    await jwt.accepted(jwt.server.token({}, { x5t: 'abc', 'x5t#S256': 'abc' }))
  })
})

describe('KEY-03: a key id is only a name', () => {
  for (const kid of ['', '\0', 'a\r\nb', 'k\u00e9', 'x'.repeat(257), 1, {}, [], null, true]) {
    it(`refuses the key id ${JSON.stringify(kid).slice(0, 20)}: header_rejected`, async () => {
      expect(await jwt.refusal(jwt.server.token({}, { kid }))).toBe('header_rejected')
    })
  }
  for (const kid of ['../../etc/passwd', "' OR 1=1 --", '%2e%2e%2f', '__proto__', 'constructor']) {
    it(`finds no key for ${kid}: no_matching_key`, async () => {
      expect(await jwt.refusal(jwt.server.token({}, { kid }))).toBe('no_matching_key')
    })
  }
})

describe('KEY-04 and KEY-05: which key is meant is never a guess', () => {
  const first = signingKey('ES256', 'a')
  const second = signingKey('ES256', 'b')
  const unnamed = { kid: undefined }
  it('refuses a token without a key id: no_matching_key', async () => {
    await withKeys([first.jwk], async (runner, server) => {
      const token = signedWith(server, first, 'ES256', unnamed)
      expect(await runner.run(token)).toMatchObject({ code: 'no_matching_key' })
    })
  })
  it('takes the only key for it where that is configured, and none of two: ambiguous_key', async () => {
    const settings = { keys: { allow_missing_kid: true } }
    await withKeys(
      [first.jwk, rsa.jwk],
      async (runner, server) => {
        const token = signedWith(server, first, 'ES256', unnamed)
        expect(await runner.run(token)).toMatchObject({ authorized: true })
      },
      settings,
    )
    await withKeys(
      [first.jwk, second.jwk],
      async (runner, server) => {
        const token = signedWith(server, first, 'ES256', unnamed)
        expect(await runner.run(token)).toMatchObject({ code: 'ambiguous_key' })
      },
      settings,
    )
  })
  it('refuses a key id that two keys have, and says so in the log: ambiguous_key', async () => {
    await withKeys([first.jwk, { ...second.jwk, kid: 'a' }], async (runner, server) => {
      expect(await runner.run(signedWith(server, first))).toMatchObject({ code: 'ambiguous_key' })
      expect(runner.lines.join('\n')).toContain('key id "a" appears twice')
    })
  })
})

describe('KEY-06 and KEY-07: keys for something else', () => {
  it('has no use for a shared secret in a key set: alg_not_allowed', async () => {
    const oct = { kty: 'oct', kid: 'o', k: encode(Buffer.alloc(32, 1)), alg: 'HS256' }
    await withKeys([oct, rsa.jwk], async (runner, server) => {
      const header = { alg: 'HS256', kid: 'o', typ: 'at+jwt' }
      const token = signHmac(header, server.claims(), Buffer.alloc(32, 1))
      expect(await runner.run(token)).toMatchObject({ code: 'alg_not_allowed' })
      expect(await runner.run(signedWith(server, rsa))).toMatchObject({ authorized: true })
      expect(runner.lines.join('\n')).toContain('key "o" holds private or symmetric key material')
    })
  })
  const d = rsa.privateKey.export({ format: 'jwk' })
  const others: Record<string, Record<string, unknown>> = {
    'use: enc': { ...rsa.jwk, use: 'enc' },
    'key_ops: [sign]': { ...rsa.jwk, key_ops: ['sign'] },
    'key_ops that is no list': { ...rsa.jwk, key_ops: 'verify' },
    'private key material': { ...rsa.jwk, ...d },
    'another algorithm': { ...rsa.jwk, alg: 'RSA-OAEP' },
    'a number as its algorithm': { ...rsa.jwk, alg: 1 },
    'an unknown type': { ...rsa.jwk, kty: 'XYZ' },
  }
  for (const [name, jwk] of Object.entries(others)) {
    it(`does not verify with a key of ${name}: no_matching_key`, async () => {
      expect(await codeFor(rsa, jwk)).toBe('no_matching_key')
    })
  }
  it('lets one bad key disable no other', async () => {
    const junk = [
      null,
      1,
      'x',
      [],
      {},
      { kty: 'RSA' },
      { kid: 1, kty: 'EC' },
      { kty: 'EC', crv: 1 },
    ]
    await withKeys([...junk, weak.jwk, rsa.jwk], async (runner, server) => {
      expect(await runner.run(signedWith(server, rsa))).toMatchObject({ authorized: true })
    })
  })
})

describe('KEY-08: keys of one issuer are no keys of another', () => {
  it('refuses a token that claims issuer A and is signed by B, whatever its key id', async () => {
    await using a = await AuthorizationServer.start()
    await using b = await AuthorizationServer.start()
    b.key = signingKey('ES256', 'only-b')
    b.jwks = { keys: [b.key.jwk, signingKey('ES256', 'k1').jwk] }
    await using runner = await startValidator({
      init: jwtInit,
      settings: SETTINGS,
      issuers: [a.issuer, b.issuer],
    })
    const run = (token: string): Promise<unknown> => runner.run(token, { issuer: a.issuer })
    expect(await run(b.token({ iss: a.issuer }))).toMatchObject({ code: 'no_matching_key' })
    b.key = { ...b.key, kid: 'k1' }
    expect(await run(b.token({ iss: a.issuer }))).toMatchObject({ code: 'bad_signature' })
    expect(await run(b.token())).toMatchObject({ code: 'unknown_issuer' })
    expect(await run(a.token())).toMatchObject({ authorized: true })
  })
})
