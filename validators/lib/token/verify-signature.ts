/**
 * The one thing that is left to jose: whether the signature is right, for exactly the algorithm that
 * was checked before and exactly the key that was found for it.
 *
 * @module
 */
import { errors, flattenedVerify } from 'jose'
import type { Algorithm } from '../keys/algorithms.ts'
import type { VerificationKey } from '../keys/admit-keys.ts'
import { Refusal } from '../refusal.ts'
import { decodeBase64url, type TokenParts } from './parse-token.ts'

/** @throws {Refusal} `bad_signature`, or `malformed` for a second spelling of a signature */
export async function verifySignature(
  parts: TokenParts,
  alg: Algorithm,
  key: VerificationKey,
): Promise<void> {
  decodeBase64url(parts.signature, 'signature')
  const { header, payload, signature } = parts
  try {
    await flattenedVerify({ protected: header, payload, signature }, await key.importFor(alg), {
      algorithms: [alg],
    })
  } catch (error) {
    if (error instanceof errors.JOSEError) {
      throw new Refusal('bad_signature', 'The signature is not that of the key.')
    }
    throw error
  }
}
