/**
 * The keys of the demo's authorization server, made at start, and tokens signed with them.
 *
 * @module
 */
import { randomUUID } from 'node:crypto'

import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'

export type SigningAlgorithm = 'RS256' | 'ES256'

export interface TokenOptions {
  /** Default: the algorithm the server was started with. */
  readonly algorithm?: SigningAlgorithm
  /** Seconds from now; negative: already expired. Default 300. */
  readonly expiresIn?: number
  /** Added to the protected header, or in place of what is there: `typ` is `at+jwt`, `kid` is set. */
  readonly header?: Readonly<Record<string, unknown>>
}

/** Claims of a token; undefined leaves a claim out. */
export type TokenClaims = Readonly<Record<string, unknown>>

/** A signing key pair of each algorithm asked for. */
export interface SigningKeys {
  /** Private keys; handed to the server, which publishes the public parts. */
  readonly jwks: { readonly keys: JWK[] }
  /** The public parts alone. */
  readonly publicJwks: { readonly keys: JWK[] }
  sign(
    claims: TokenClaims,
    options: TokenOptions & { algorithm: SigningAlgorithm },
  ): Promise<string>
}

const ALGORITHMS: readonly SigningAlgorithm[] = ['RS256', 'ES256']

/** Makes the keys; an RSA key has 2048 bits and takes a while. */
export async function createSigningKeys(
  algorithms: readonly SigningAlgorithm[] = ALGORITHMS,
): Promise<SigningKeys> {
  const pairs = await Promise.all(
    algorithms.map(async (alg) => {
      const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
      const kid = `${alg.toLowerCase()}-${randomUUID()}`
      const use = { alg, kid, use: 'sig' }
      return {
        alg,
        kid,
        privateKey,
        jwk: { ...(await exportJWK(privateKey)), ...use },
        publicJwk: { ...(await exportJWK(publicKey)), ...use },
      }
    }),
  )
  return {
    jwks: { keys: pairs.map(({ jwk }) => jwk) },
    publicJwks: { keys: pairs.map(({ publicJwk }) => publicJwk) },
    async sign(claims, { algorithm, expiresIn = 300, header }) {
      const pair = pairs.find(({ alg }) => alg === algorithm)
      if (pair === undefined) {
        throw new TypeError(`no key for ${algorithm}`)
      }
      const now = Math.floor(Date.now() / 1000)
      // JSON leaves undefined members out, so a caller can take a claim away.
      // A token that has expired was issued before it did.
      const iat = expiresIn > 0 ? now : now + expiresIn - 300
      const payload = { iat, exp: now + expiresIn, jti: randomUUID(), ...claims }
      return await new SignJWT(JSON.parse(JSON.stringify(payload)) as Record<string, unknown>)
        .setProtectedHeader({ alg: pair.alg, kid: pair.kid, typ: 'at+jwt', ...header })
        .sign(pair.privateKey)
    },
  }
}
