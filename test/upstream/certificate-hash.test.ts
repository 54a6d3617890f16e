import { Buffer } from 'node:buffer'
import { createHash, webcrypto } from 'node:crypto'
import type * as X509 from '@peculiar/x509'
import * as fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { tlsServerEndPoint } from '../../src/upstream/certificate-hash.ts'

interface KeyAlgorithm extends webcrypto.Algorithm {
  readonly hash?: string
  readonly namedCurve?: string
  readonly modulusLength?: number
  readonly publicExponent?: Uint8Array
}

let x509: typeof X509

beforeAll(async () => {
  // @peculiar/x509 needs this polyfill to be there first.
  await import('reflect-metadata')
  x509 = await import('@peculiar/x509')
})

async function certificate(key: KeyAlgorithm, signing: object): Promise<Buffer> {
  const algorithm = key as webcrypto.EcKeyGenParams
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const made = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=localhost',
    keys,
    signingAlgorithm: { ...key, ...signing },
  })
  return Buffer.from(made.rawData)
}

const EC = { name: 'ECDSA', namedCurve: 'P-256' }
const RSA = { modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) }

describe('the channel binding of a certificate', () => {
  test.each([
    ['SHA-1', 'sha256'],
    ['SHA-256', 'sha256'],
    ['SHA-384', 'sha384'],
    ['SHA-512', 'sha512'],
  ])('signed with ECDSA or RSA and %s is its %s', async (hash, expected) => {
    const all = [
      await certificate(EC, { hash }),
      await certificate({ name: 'RSASSA-PKCS1-v1_5', hash, ...RSA }, {}),
      await certificate({ name: 'RSA-PSS', hash, ...RSA }, { saltLength: 32 }),
    ]
    for (const der of all) {
      expect(tlsServerEndPoint(der)).toEqual(createHash(expected).update(der).digest())
    }
  })

  test('signed with Ed25519 is not defined', async () => {
    expect(tlsServerEndPoint(await certificate({ name: 'Ed25519' }, {}))).toBeUndefined()
  })

  test('is not defined for what is no certificate, and does no harm', () => {
    const any = fc.uint8Array({ maxLength: 64 })
    fc.assert(fc.property(any, (bytes) => tlsServerEndPoint(Buffer.from(bytes)) === undefined))
  })

  test('is not defined for a certificate that is cut off before its signature', async () => {
    const der = await certificate(EC, { hash: 'SHA-256' })
    for (let length = 0; length < der.length; length += 1) {
      expect(tlsServerEndPoint(der.subarray(0, length))).toBeUndefined()
    }
  })
})
