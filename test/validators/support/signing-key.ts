/** Keys that sign whatever a test wants signed, right or wrong. */
import {
  constants,
  createHmac,
  generateKeyPairSync,
  type KeyObject,
  sign as nodeSign,
} from 'node:crypto'

export type Json = string | number | boolean | null | undefined | Json[] | { [name: string]: Json }

export interface SigningKey {
  readonly kid: string
  readonly alg: string
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
  /** For a JWK Set, with `kid`, `alg` and `use`. */
  readonly jwk: Record<string, unknown>
}

export function signingKey(alg: string, kid: string, options: { bits?: number } = {}): SigningKey {
  const { privateKey, publicKey } = generate(alg, options.bits ?? 2048)
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid, alg, use: 'sig' }
  return { kid, alg, privateKey, publicKey, jwk }
}

function generate(
  alg: string,
  modulusLength: number,
): {
  privateKey: KeyObject
  publicKey: KeyObject
} {
  switch (alg) {
    case 'ES256':
      return generateKeyPairSync('ec', { namedCurve: 'P-256' })
    case 'ES384':
      return generateKeyPairSync('ec', { namedCurve: 'P-384' })
    case 'ES512':
      return generateKeyPairSync('ec', { namedCurve: 'P-521' })
    case 'EdDSA':
    case 'Ed25519':
      return generateKeyPairSync('ed25519')
    default:
      return generateKeyPairSync('rsa', { modulusLength })
  }
}

/** base64url of a text, of bytes, or of a value as JSON. */
export function encode(value: unknown): string {
  const bytes = Buffer.isBuffer(value)
    ? value
    : Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))
  return bytes.toString('base64url')
}

/** A JWS over exactly these bytes. `header` and `payload` may be objects or the text to encode. */
export function signJws(
  header: unknown,
  payload: unknown,
  key: Pick<SigningKey, 'privateKey'>,
  alg: string,
): string {
  const input = `${encode(header)}.${encode(payload)}`
  return `${input}.${signature(input, key.privateKey, alg).toString('base64url')}`
}

export function signature(input: string, key: KeyObject, alg: string): Buffer {
  const hash = `sha${alg.slice(2)}`
  if (alg.startsWith('Ed')) {
    return nodeSign(null, Buffer.from(input), key)
  }
  if (alg.startsWith('ES')) {
    return nodeSign(hash, Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })
  }
  if (alg.startsWith('PS')) {
    return nodeSign(hash, Buffer.from(input), {
      key,
      padding: constants.RSA_PKCS1_PSS_PADDING,
      saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
    })
  }
  return nodeSign(hash, Buffer.from(input), key)
}

/** A token "signed" with a shared secret, as in the attacks that pass a public key as one. */
export function signHmac(header: unknown, payload: unknown, secret: string | Buffer): string {
  const input = `${encode(header)}.${encode(payload)}`
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
}
