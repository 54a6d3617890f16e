/**
 * Two libraries that we did not write judge the same tokens: jose (WebCrypto) and jsonwebtoken. About
 * a signature all three agree; about a whole token ours is never the one that is content with less.
 */
import fc from 'fast-check'
import { compactVerify, importJWK } from 'jose'
import jsonwebtoken from 'jsonwebtoken'
import { describe, expect, it } from 'vitest'
import jwtInit from '../../validators/jwt.ts'
import { type Algorithm, ALGORITHMS } from '../../validators/lib/keys/algorithms.ts'
import { splitToken } from '../../validators/lib/token/parse-token.ts'
import { isSignatureValid } from '../../validators/lib/token/verify-signature.ts'
import { startValidator } from './support/run-validator.ts'
import { encode, type SigningKey, signature, signingKey } from './support/signing-key.ts'

const LIMITS = {
  token: 16_384,
  header: 4_096,
  payload: 12_288,
  kid: 256,
  depth: 16,
  members: 512,
  items: 1_024,
  string: 4_096,
}
const KEYS = new Map(ALGORITHMS.map((alg) => [alg, signingKey(alg, alg)]))
const keyOf = (alg: Algorithm): SigningKey => KEYS.get(alg)!

async function joseSays(token: string, alg: Algorithm): Promise<boolean> {
  try {
    await compactVerify(token, await importJWK(keyOf(alg).jwk, alg), { algorithms: [alg] })
    return true
  } catch {
    return false
  }
}

function jsonwebtokenSays(token: string, alg: Algorithm): boolean {
  try {
    jsonwebtoken.verify(token, keyOf(alg).publicKey, {
      algorithms: [alg as jsonwebtoken.Algorithm],
      ignoreExpiration: true,
      ignoreNotBefore: true,
    })
    return true
  } catch {
    return false
  }
}

async function weSay(token: string, alg: Algorithm): Promise<boolean> {
  const key = { kid: alg, algorithms: [alg], key: keyOf(alg).publicKey }
  return isSignatureValid(splitToken(token, LIMITS), alg, key)
}

/** What may happen to the bytes of a signature on the way. */
const damage: fc.Arbitrary<(bytes: Buffer) => Buffer> = fc.oneof(
  { weight: 2, arbitrary: fc.constant((bytes: Buffer) => bytes) },
  fc.tuple(fc.nat(600), fc.integer({ min: 1, max: 255 })).map(([at, mask]) => (bytes: Buffer) => {
    const copy = Buffer.from(bytes)
    copy[at % copy.length]! ^= mask
    return copy
  }),
  fc.nat(600).map((length) => (bytes: Buffer) => bytes.subarray(0, length % bytes.length)),
  fc
    .uint8Array({ minLength: 1, maxLength: 8 })
    .map((more) => (bytes: Buffer) => Buffer.concat([bytes, more])),
  fc.uint8Array({ minLength: 0, maxLength: 300 }).map((other) => () => Buffer.from(other)),
  fc.constant((bytes: Buffer) => Buffer.alloc(bytes.length)),
  fc.constant((bytes: Buffer) => Buffer.from(bytes).reverse()),
)

const claims = fc.dictionary(
  fc.string({ maxLength: 8 }),
  fc.oneof(fc.string(), fc.integer(), fc.boolean()),
  { maxKeys: 5 },
)

describe('signatures', () => {
  for (const alg of ALGORITHMS) {
    it(`of ${alg} are judged alike by all`, async () => {
      const runs = alg === 'ES512' || alg === 'ES384' ? 60 : 150
      await fc.assert(
        fc.asyncProperty(claims, damage, async (payload, damaged) => {
          const input = `${encode({ alg, kid: alg })}.${encode(payload)}`
          const bytes = damaged(signature(input, keyOf(alg).privateKey, alg))
          const token = `${input}.${encode(bytes)}`
          const ours = await weSay(token, alg)
          expect(ours).toBe(await joseSays(token, alg))
          // jsonwebtoken knows no Edwards curves.
          if (!alg.startsWith('Ed')) {
            expect(ours).toBe(jsonwebtokenSays(token, alg))
          }
        }),
        { numRuns: runs },
      )
    })
    it(`of ${alg} are good for no other algorithm`, async () => {
      for (const other of ALGORITHMS) {
        const input = `${encode({ alg: other, kid: other })}.${encode({ sub: 'x' })}`
        const token = `${input}.${encode(signature(input, keyOf(alg).privateKey, alg))}`
        // Two names of one algorithm, and still two keys.
        expect(await weSay(token, other)).toBe(other === alg)
      }
    })
  }
})

describe('whole tokens', () => {
  it('that we accept are accepted by both, whatever was done to them', async () => {
    const issuer = 'https://login.example.com'
    const key = keyOf('ES256')
    await using runner = await startValidator({
      init: jwtInit,
      settings: { audiences: ['db'], jwks: { keys: [key.jwk] } },
      issuers: [issuer],
    })
    const now = Math.floor(Date.now() / 1_000)
    const good = { iss: issuer, aud: 'db', sub: 'alice', scope: 'db', iat: now, exp: now + 600 }
    const header = fc.record({
      alg: fc.constantFrom<unknown>('ES256', 'ES256', 'ES256', 'none', 'HS256'),
      kid: fc.constantFrom<unknown>('ES256', 'ES256', 'x', undefined),
      typ: fc.constantFrom<unknown>('at+jwt', 'at+jwt', 'JWT', undefined),
    })
    const change = fc.dictionary(
      fc.constantFrom('aud', 'exp', 'iat', 'sub', 'nbf', 'scope', 'x'),
      fc.oneof(fc.jsonValue(), fc.constant(now), fc.constant('db')),
      { maxKeys: 2 },
    )
    const edit = fc.oneof(
      { weight: 5, arbitrary: fc.constant((token: string) => token) },
      fc.tuple(fc.nat(2_000), fc.string({ maxLength: 2 })).map(([at, text]) => (token: string) => {
        const position = at % token.length
        return token.slice(0, position) + text + token.slice(position + 1)
      }),
    )
    let accepted = 0
    await fc.assert(
      fc.asyncProperty(header, change, edit, async (head, changes, edited) => {
        const input = `${encode(head)}.${encode({ ...good, ...changes })}`
        const token = edited(`${input}.${encode(signature(input, key.privateKey, 'ES256'))}`)
        const result = await runner.run(token, { issuer })
        if (result.authorized) {
          accepted += 1
          expect(await joseSays(token, 'ES256')).toBe(true)
          expect(jsonwebtokenSays(token, 'ES256')).toBe(true)
        }
      }),
      { numRuns: 1_500 },
    )
    expect(accepted).toBeGreaterThan(20)
  })
})
