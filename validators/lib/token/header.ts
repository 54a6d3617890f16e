/**
 * What a token says about itself. None of it is believed: the algorithm must be one of ours, the key
 * id is only a name to look up, and a key that the token brings along is never used (RFC 8725 §3.10).
 *
 * @module
 */
import { type JsonObject, member } from '../json.ts'
import { type Algorithm, isAlgorithm } from '../keys/algorithms.ts'
import { Refusal } from '../refusal.ts'

export interface HeaderPolicy {
  readonly algorithms: ReadonlySet<Algorithm>
  /** Ignore `jku`, `jwk`, `x5u` and `x5c` (never follow them) instead of refusing the token. */
  readonly allowUntrustedKeyHeaders: boolean
  /** Bytes of a key id. */
  readonly maxKid: number
}

/** The part of a header that anything later may use. */
export interface TokenHeader {
  readonly alg: Algorithm
  readonly kid: string | undefined
  /** As written; judged together with the claims, see `checkTokenType`. */
  readonly typ: string | undefined
}

// RFC 7515 §4.1.11 (crit), RFC 7797 (b64), compression (RFC 8725 §3.6) and nested tokens.
const NEVER = ['crit', 'b64', 'zip', 'cty'] as const
const KEYS_OF_THE_TOKEN = ['jku', 'jwk', 'x5u', 'x5c'] as const

/**
 * @throws {Refusal} `alg_not_allowed`, `header_rejected` or `wrong_type`
 */
export function checkHeader(header: JsonObject, policy: HeaderPolicy): TokenHeader {
  const alg = member(header, 'alg')
  if (!isAlgorithm(alg) || !policy.algorithms.has(alg)) {
    throw new Refusal('alg_not_allowed', 'The algorithm is not one of those that are allowed.')
  }
  refuseAny(header, NEVER)
  if (!policy.allowUntrustedKeyHeaders) {
    refuseAny(header, KEYS_OF_THE_TOKEN)
  }
  const typ = member(header, 'typ')
  if (typ !== undefined && typeof typ !== 'string') {
    throw new Refusal('wrong_type', 'The header parameter "typ" is not a string.')
  }
  return { alg, kid: keyId(header, policy), typ }
}

function refuseAny(header: JsonObject, names: readonly string[]): void {
  for (const name of names) {
    if (Object.hasOwn(header, name)) {
      throw new Refusal('header_rejected', `The header parameter "${name}" is not accepted.`)
    }
  }
}

const PRINTABLE = /^[\x20-\x7e]+$/

function keyId(header: JsonObject, policy: HeaderPolicy): string | undefined {
  const kid = member(header, 'kid')
  if (kid === undefined) {
    return undefined
  }
  if (typeof kid !== 'string' || kid.length > policy.maxKid || !PRINTABLE.test(kid)) {
    throw new Refusal('header_rejected', 'The key id is not a short printable string.')
  }
  return kid
}
