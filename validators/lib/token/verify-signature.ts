/**
 * Whether a signature is right: OpenSSL's answer, for exactly the algorithm that the policy allowed and
 * exactly the key that was found for it (RFC 7515 §5.2, RFC 7518 §3).
 *
 * jose imports the keys. To check a signature it asks the same OpenSSL through WebCrypto, on another
 * thread, which costs a login twice the CPU (`npm run bench:validate`); in the tests it is the second
 * opinion on every token that is checked here.
 *
 * @module
 */
import { constants, type VerifyKeyObjectInput, verify } from 'node:crypto'
import type { Algorithm } from '../keys/algorithms.ts'
import type { VerificationKey } from '../keys/admit-keys.ts'
import { decodeBase64url, type TokenParts } from './parse-token.ts'

interface Scheme {
  /** Null where the algorithm brings its own (Ed25519). */
  readonly hash: 'sha256' | 'sha384' | 'sha512' | null
  readonly options: Omit<VerifyKeyObjectInput, 'key'>
  /** Takes about a millisecond: not on the thread that serves everybody else. */
  readonly slow?: true
}

// RFC 7518 §3.3 and §3.5: for PSS the salt is as long as the hash, and MGF1 uses the same hash.
const PKCS1 = { padding: constants.RSA_PKCS1_PADDING } as const
const PSS = {
  padding: constants.RSA_PKCS1_PSS_PADDING,
  saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
} as const
// RFC 7518 §3.4: R and S one after the other, each of the curve's length; not DER.
const ECDSA = { dsaEncoding: 'ieee-p1363' } as const

const SCHEMES: Readonly<Record<Algorithm, Scheme>> = {
  RS256: { hash: 'sha256', options: PKCS1 },
  RS384: { hash: 'sha384', options: PKCS1 },
  RS512: { hash: 'sha512', options: PKCS1 },
  PS256: { hash: 'sha256', options: PSS },
  PS384: { hash: 'sha384', options: PSS },
  PS512: { hash: 'sha512', options: PSS },
  ES256: { hash: 'sha256', options: ECDSA },
  ES384: { hash: 'sha384', options: ECDSA, slow: true },
  ES512: { hash: 'sha512', options: ECDSA, slow: true },
  EdDSA: { hash: null, options: {} },
  Ed25519: { hash: null, options: {} },
}

/**
 * @returns at once, or a promise where the algorithm is slow
 * @throws {Refusal} `malformed` for a second spelling of a signature
 */
export function isSignatureValid(
  parts: TokenParts,
  alg: Algorithm,
  key: VerificationKey,
): boolean | Promise<boolean> {
  const signature = decodeBase64url(parts.signature, 'signature')
  const signed = Buffer.from(parts.signed, 'latin1')
  const { hash, options, slow } = SCHEMES[alg]
  const input: VerifyKeyObjectInput = { ...options, key: key.key }
  return slow === true
    ? verifyElsewhere(hash, signed, input, signature)
    : verify(hash, signed, input, signature)
}

function verifyElsewhere(
  hash: string | null,
  signed: Buffer,
  key: VerifyKeyObjectInput,
  signature: Buffer,
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    verify(hash, signed, key, signature, (error, valid) => {
      if (error === null) {
        resolve(valid)
      } else {
        reject(error)
      }
    })
  })
}
