/**
 * The keys of one issuer at one moment, looked up by key id and algorithm.
 *
 * @module
 */
import { Refusal } from '../refusal.ts'
import type { Algorithm } from './algorithms.ts'
import type { AdmittedKeys, VerificationKey } from './admit-keys.ts'

/** How a token names its key. */
export interface KeyName {
  readonly alg: Algorithm
  readonly kid: string | undefined
}

/**
 * The key for a token, or undefined where the key id has never been seen: it may be a new key.
 *
 * @throws {Refusal} `no_matching_key`, `ambiguous_key` or `key_rejected`
 */
export function findKey(
  admitted: AdmittedKeys,
  name: KeyName,
  allowMissingKid: boolean,
): VerificationKey | undefined {
  const { kid, alg } = name
  if (kid === undefined && !allowMissingKid) {
    throw new Refusal('no_matching_key', 'The token names no key.')
  }
  const named = kid === undefined ? admitted.keys : admitted.keys.filter((key) => key.kid === kid)
  const fitting = named.filter((key) => key.algorithms.includes(alg))
  if (fitting.length > 1) {
    throw new Refusal('ambiguous_key', 'More than one key fits the token.')
  }
  if (fitting.length === 1) {
    return fitting[0]
  }
  if (kid !== undefined && admitted.rejected.has(kid)) {
    throw new Refusal('key_rejected', 'The key that the token names is too weak or broken.')
  }
  if (kid === undefined || named.length > 0 || admitted.unusable.has(kid)) {
    throw new Refusal('no_matching_key', 'No key fits the token and its algorithm.')
  }
  return undefined
}
