/**
 * Which keys of a JWK Set (RFC 7517) may verify a signature. A key that is not good enough is left
 * out with a reason; it never disables the others.
 *
 * @module
 */
import { KeyObject } from 'node:crypto'
import { importJWK } from 'jose'
import { isJsonObject, type JsonObject, member } from '../json.ts'
import { type Algorithm, algorithmsOfKey, isAlgorithm } from './algorithms.ts'
import { hasRocaFingerprint } from './roca.ts'

export interface KeyPolicy {
  /** What `use` of a key may say, where it says anything. */
  readonly uses: ReadonlySet<string>
  readonly algorithms: ReadonlySet<Algorithm>
  readonly minRsaBits: number
  readonly maxRsaBits: number
  /** Accept a public exponent of 3. */
  readonly allowSmallExponent: boolean
  /** Tokens without a key id: allowed where exactly one key fits. */
  readonly allowMissingKid: boolean
}

/** A public key that a token's signature may be checked with. */
export interface VerificationKey {
  readonly kid: string | undefined
  /** With which of the policy's algorithms. */
  readonly algorithms: readonly Algorithm[]
  readonly key: KeyObject
}

export interface AdmittedKeys {
  readonly keys: readonly VerificationKey[]
  /** Key ids whose key is too weak or broken: a token that names one is refused as `key_rejected`. */
  readonly rejected: ReadonlySet<string>
  /** Key ids of keys that are there for something else. */
  readonly unusable: ReadonlySet<string>
  /** What an operator should know: weak keys, private keys in public, the same id twice. */
  readonly alarms: readonly string[]
}

/** More keys than this in one set is refused as a whole. */
export const MAX_KEYS = 64

/** A document that is no JWK Set. */
export class NotAKeySetError extends Error {
  override readonly name = 'NotAKeySetError'
}

type Verdict =
  | { readonly kind: 'admitted'; readonly key: VerificationKey }
  | { readonly kind: 'rejected' | 'unusable'; readonly alarm?: string }

/**
 * @throws {NotAKeySetError} where the document is no JWK Set or has more than {@link MAX_KEYS} keys
 */
export async function admitKeys(document: JsonObject, policy: KeyPolicy): Promise<AdmittedKeys> {
  const list = member(document, 'keys')
  if (!Array.isArray(list)) {
    throw new NotAKeySetError('the document has no "keys"')
  }
  if (list.length > MAX_KEYS) {
    throw new NotAKeySetError(`the set has more than ${MAX_KEYS} keys`)
  }
  const keys: VerificationKey[] = []
  const ids = { rejected: new Set<string>(), unusable: new Set<string>() }
  const alarms: string[] = []
  const verdicts = await Promise.all(list.map((jwk) => judge(jwk, policy)))
  for (const [index, verdict] of verdicts.entries()) {
    const jwk = list[index]
    const name = describeKey(jwk, index)
    if (verdict.kind === 'admitted') {
      keys.push(verdict.key)
      continue
    }
    const kid = isJsonObject(jwk) ? member(jwk, 'kid') : undefined
    if (typeof kid === 'string') {
      ids[verdict.kind].add(kid)
    }
    if (verdict.alarm !== undefined) {
      alarms.push(`${name} ${verdict.alarm}`)
    }
  }
  return { keys, ...ids, alarms: [...alarms, ...duplicates(keys)] }
}

// RFC 7518 §6: members that only a private or a symmetric key has.
const PRIVATE = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']
const MAX_KID = 256
const PRINTABLE = /^[\x20-\x7e]+$/

async function judge(jwk: unknown, policy: KeyPolicy): Promise<Verdict> {
  if (!isJsonObject(jwk)) {
    return { kind: 'unusable', alarm: 'is not a JSON object' }
  }
  if (PRIVATE.some((name) => Object.hasOwn(jwk, name))) {
    return { kind: 'unusable', alarm: 'holds private or symmetric key material' }
  }
  const kid = member(jwk, 'kid')
  if (kid !== undefined && !(typeof kid === 'string' && PRINTABLE.test(kid))) {
    return { kind: 'unusable', alarm: 'has a key id that is not printable text' }
  }
  if (kid !== undefined && kid.length > MAX_KID) {
    return { kind: 'unusable', alarm: 'has a key id that is too long' }
  }
  const algorithms = isForVerification(jwk, policy) ? usableAlgorithms(jwk, policy) : []
  const [algorithm] = algorithms
  if (algorithm === undefined) {
    return { kind: 'unusable' }
  }
  const key = await importPublicKey(jwk, algorithm)
  const weakness = key === undefined ? 'is not a valid public key' : weaknessOf(key, policy)
  if (key === undefined || weakness !== undefined) {
    return { kind: 'rejected', alarm: weakness ?? '' }
  }
  return { kind: 'admitted', key: { kid, algorithms, key } }
}

/**
 * RFC 7517 §4.2, §4.3: both may be absent; what is there must allow checking signatures. In a SPIFFE trust
 * bundle a key without `use` is for nothing (JWT-SVID §4.1).
 */
function isForVerification(jwk: JsonObject, { uses }: KeyPolicy): boolean {
  const use = member(jwk, 'use')
  const operations = member(jwk, 'key_ops')
  return (
    ((use === undefined && uses.has('sig')) || (typeof use === 'string' && uses.has(use))) &&
    (operations === undefined || (Array.isArray(operations) && operations.includes('verify')))
  )
}

/** A key that names its algorithm is used with no other (CVE-2026-22817, CVE-2026-48523). */
function usableAlgorithms(jwk: JsonObject, policy: KeyPolicy): readonly Algorithm[] {
  const kty = member(jwk, 'kty')
  const crv = member(jwk, 'crv')
  if (typeof kty !== 'string' || (crv !== undefined && typeof crv !== 'string')) {
    return []
  }
  const own = member(jwk, 'alg')
  return algorithmsOfKey(kty, crv).filter(
    (algorithm) => policy.algorithms.has(algorithm) && (own === undefined || same(own, algorithm)),
  )
}

function same(own: unknown, algorithm: Algorithm): boolean {
  // RFC 9864: two names of one algorithm, as long as EdDSA means Ed25519.
  const canonical = own === 'Ed25519' ? 'EdDSA' : own
  return isAlgorithm(canonical) && canonical === (algorithm === 'Ed25519' ? 'EdDSA' : algorithm)
}

/** jose imports it; a point that is not on its curve, or a coordinate of a wrong length, is refused. */
async function importPublicKey(
  jwk: JsonObject,
  algorithm: Algorithm,
): Promise<KeyObject | undefined> {
  try {
    const key = await importJWK({ ...jwk }, algorithm)
    return key instanceof Uint8Array ? undefined : KeyObject.from(key)
  } catch {
    return undefined
  }
}

function weaknessOf(key: KeyObject, policy: KeyPolicy): string | undefined {
  if (key.asymmetricKeyType !== 'rsa') {
    return undefined
  }
  const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {}
  if (modulusLength < policy.minRsaBits || modulusLength > policy.maxRsaBits) {
    return `has ${modulusLength} bits: allowed are ${policy.minRsaBits} to ${policy.maxRsaBits}`
  }
  const smallest = policy.allowSmallExponent ? 3n : 65537n
  if (publicExponent < smallest || publicExponent % 2n === 0n) {
    return 'has an unsafe public exponent'
  }
  return hasRocaFingerprint(key.export({ format: 'jwk' }).n ?? '')
    ? 'has the ROCA weakness'
    : undefined
}

function duplicates(keys: readonly VerificationKey[]): string[] {
  const seen = new Set<string>()
  const alarms: string[] = []
  for (const { kid, algorithms } of keys) {
    for (const algorithm of kid === undefined ? [] : algorithms) {
      const name = `${algorithm} ${kid}`
      if (seen.has(name)) {
        alarms.push(`key id "${kid}" appears twice for ${algorithm}: neither key is used`)
      }
      seen.add(name)
    }
  }
  return alarms
}

function describeKey(jwk: unknown, index: number): string {
  const kid = isJsonObject(jwk) ? member(jwk, 'kid') : undefined
  return typeof kid === 'string' && PRINTABLE.test(kid)
    ? `key "${kid.slice(0, 64)}"`
    : `key ${index + 1}`
}
