/**
 * Certificates for the demo and the tests: an authority of our own and what it signs, made when
 * they are needed and never stored.
 *
 * @module
 */
import { webcrypto } from 'node:crypto'
import { isIP } from 'node:net'

import { requireDemoPackages } from './development-packages.ts'

/** A certificate and its private key, as PEM. */
export interface CertificatePair {
  readonly cert: string
  readonly key: string
}

export interface CertificateOptions {
  /** Default `localhost`. */
  readonly commonName?: string
  /** Attributes before the common name, such as `[['O', 'Example'], ['OU', 'people']]`. */
  readonly organisation?: readonly (readonly [attribute: string, value: string])[]
  /** DNS names and addresses the certificate is good for. Default `localhost`, `127.0.0.1` and `::1`. */
  readonly names?: readonly string[]
  /** Default `server`. */
  readonly usage?: 'server' | 'client'
  /** Default: an hour ago. */
  readonly notBefore?: Date
  /** Default: tomorrow. */
  readonly notAfter?: Date
  /** Of the authority's signature. Default `SHA-256`. */
  readonly hash?: 'SHA-256' | 'SHA-384' | 'SHA-512'
  /** Default `EC` (P-256); an RSA key has 2048 bits and takes a while. */
  readonly keyType?: 'EC' | 'RSA'
}

/** Signs certificates; its own is what clients are told to trust. */
export interface CertificateAuthority {
  /** The authority's certificate, as PEM. */
  readonly cert: string
  issue(options?: CertificateOptions): Promise<CertificatePair>
}

const EC: webcrypto.EcKeyGenParams = { name: 'ECDSA', namedCurve: 'P-256' }
const RSA: webcrypto.RsaHashedKeyGenParams = {
  name: 'RSASSA-PKCS1-v1_5',
  hash: 'SHA-256',
  modulusLength: 2048,
  publicExponent: new Uint8Array([1, 0, 1]),
}

const LOCAL_NAMES: readonly string[] = ['localhost', '127.0.0.1', '::1']
const HOUR_MS = 3_600_000

/**
 * Makes a certificate authority with an EC P-256 key.
 *
 * @throws {MissingPackagesError} where `@peculiar/x509` is not installed.
 * @example
 * ```ts
 * const authority = await createCertificateAuthority()
 * const { cert, key } = await authority.issue({ names: ['db.example.com'] })
 * ```
 */
export async function createCertificateAuthority(
  name = 'pgbearer demo CA',
): Promise<CertificateAuthority> {
  requireDemoPackages(['@peculiar/x509', 'reflect-metadata'])
  // @peculiar/x509 needs this polyfill to be there first.
  await import('reflect-metadata')
  const x509 = await import('@peculiar/x509')
  const keys = await generateKeys(EC)
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    name: new x509.Name([{ CN: [{ utf8String: name }] }]),
    keys,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    ...validity({}),
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })

  const issue = async (options: CertificateOptions = {}): Promise<CertificatePair> => {
    const { commonName = 'localhost', names = LOCAL_NAMES, usage = 'server' } = options
    const subject = await generateKeys(options.keyType === 'RSA' ? RSA : EC)
    const certificate = await x509.X509CertificateGenerator.create({
      subject: new x509.Name(
        [...(options.organisation ?? []), ['CN', commonName] as const].map(
          ([attribute, value]) => ({
            [attribute]: [{ utf8String: value }],
          }),
        ),
      ),
      issuer: root.subject,
      publicKey: subject.publicKey,
      signingKey: keys.privateKey,
      signingAlgorithm: { name: 'ECDSA', hash: options.hash ?? 'SHA-256' },
      ...validity(options),
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage[`${usage}Auth`]]),
        new x509.SubjectAlternativeNameExtension(
          names.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value })),
        ),
        await x509.AuthorityKeyIdentifierExtension.create(keys.publicKey),
      ],
    })
    return {
      cert: `${certificate.toString('pem')}\n`,
      key: await privateKeyPem(subject.privateKey),
    }
  }
  return { cert: `${root.toString('pem')}\n`, issue }
}

function validity(options: CertificateOptions): { notBefore: Date; notAfter: Date } {
  return {
    notBefore: options.notBefore ?? new Date(Date.now() - HOUR_MS),
    notAfter: options.notAfter ?? new Date(Date.now() + 24 * HOUR_MS),
  }
}

async function generateKeys(
  algorithm: webcrypto.EcKeyGenParams | webcrypto.RsaHashedKeyGenParams,
): Promise<webcrypto.CryptoKeyPair> {
  return await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
}

async function privateKeyPem(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key)).toString('base64')
  const lines = der.match(/.{1,64}/g) ?? []
  return ['-----BEGIN PRIVATE KEY-----', ...lines, '-----END PRIVATE KEY-----', ''].join('\n')
}
