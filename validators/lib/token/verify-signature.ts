/**
 * The one thing that is left to jose: whether the signature is right, for exactly the algorithm that
 * was checked before and exactly the key that was found for it.
 *
 * @module
 */
import { errors, flattenedVerify } from 'jose'
import type { Algorithm } from '../keys/algorithms.ts'
import type { VerificationKey } from '../keys/admit-keys.ts'
import { decodeBase64url, type TokenParts } from './parse-token.ts'

/** @throws {Refusal} `malformed` for a second spelling of a signature */
export async function isSignatureValid(
  parts: TokenParts,
  alg: Algorithm,
  key: VerificationKey,
): Promise<boolean> {
  decodeBase64url(parts.signature, 'signature')
  const { header, payload, signature } = parts
  try {
    await flattenedVerify({ protected: header, payload, signature }, await key.importFor(alg), {
      algorithms: [alg],
    })
    return true
  } catch (error) {
    if (error instanceof errors.JWSSignatureVerificationFailed) {
      return false
    }
    throw error
  }
}
