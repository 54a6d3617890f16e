/**
 * The signature algorithms that a policy can name. All are asymmetric: a shared secret or `none`
 * cannot be written down, so no token can ask for it (RFC 8725 §3.1).
 *
 * @module
 */

export const ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
] as const

export type Algorithm = (typeof ALGORITHMS)[number]

/**
 * What is accepted where nothing is said. P-384 and P-521 cost ten to thirty-five times as much to
 * verify as P-256, so they are for those who need them.
 */
export const DEFAULT_ALGORITHMS: readonly Algorithm[] = ['RS256', 'PS256', 'ES256', 'EdDSA']

export function isAlgorithm(value: unknown): value is Algorithm {
  return (ALGORITHMS as readonly unknown[]).includes(value)
}

const OF_KEY: Readonly<Record<string, readonly Algorithm[]>> = {
  RSA: ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  'EC P-256': ['ES256'],
  'EC P-384': ['ES384'],
  'EC P-521': ['ES512'],
  // RFC 9864 names the curve; RFC 8037's EdDSA is used here with Ed25519 only.
  'OKP Ed25519': ['EdDSA', 'Ed25519'],
}

/** The algorithms that a key of this type and curve can be used with; none for an unknown one. */
export function algorithmsOfKey(kty: string, crv: string | undefined): readonly Algorithm[] {
  return OF_KEY[crv === undefined || kty === 'RSA' ? kty : `${kty} ${crv}`] ?? []
}
