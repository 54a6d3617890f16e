import { createPrivateKey, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer } from 'node:tls'
import { expect, test } from 'vitest'

import { createCertificateAuthority } from '../../src/demo/certificates.ts'

const authority = await createCertificateAuthority('a test CA')

test('a certificate is signed by its authority, and by no other', async () => {
  const other = await createCertificateAuthority('a test CA')
  const certificate = new X509Certificate((await authority.issue()).cert)
  expect(certificate.verify(new X509Certificate(authority.cert).publicKey)).toBe(true)
  expect(certificate.verify(new X509Certificate(other.cert).publicKey)).toBe(false)
})

test('only the authority may sign certificates', async () => {
  expect(new X509Certificate(authority.cert).ca).toBe(true)
  expect(new X509Certificate((await authority.issue()).cert).ca).toBe(false)
})

test('the key belongs to the certificate', async () => {
  const { cert, key } = await authority.issue()
  expect(new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))).toBe(true)
})

test('a certificate is good for the names and addresses it was issued for, and no others', async () => {
  const { cert } = await authority.issue({ names: ['db.example.com', '127.0.0.1'] })
  const certificate = new X509Certificate(cert)
  expect(certificate.checkHost('db.example.com')).toBe('db.example.com')
  expect(certificate.checkIP('127.0.0.1')).toBe('127.0.0.1')
  expect(certificate.checkHost('localhost')).toBeUndefined()
  expect(certificate.checkIP('127.0.0.2')).toBeUndefined()
})

test('a common name may have any character', async () => {
  const { cert } = await authority.issue({ commonName: 'alice "x", y+z=1', usage: 'client' })
  const { subject } = new X509Certificate(cert)
  expect(subject.replaceAll('\\', '')).toBe('CN=alice "x", y+z=1')
})

test('validity, signature and key are as asked for', async () => {
  const notAfter = new Date('2020-02-03T04:05:06Z')
  const notBefore = new Date('2020-01-02T03:04:05Z')
  const { cert } = await authority.issue({ notBefore, notAfter, hash: 'SHA-384', keyType: 'RSA' })
  const certificate = new X509Certificate(cert)
  expect(new Date(certificate.validFrom)).toEqual(notBefore)
  expect(new Date(certificate.validTo)).toEqual(notAfter)
  expect(certificate.publicKey.asymmetricKeyType).toBe('rsa')
  // ecdsa-with-SHA384, 1.2.840.10045.4.3.3
  expect(certificate.raw.includes(Buffer.from('2a8648ce3d040303', 'hex'))).toBe(true)
})

test.each([
  { what: 'of another authority', strange: true, code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' },
  {
    what: 'that has expired',
    options: { notAfter: new Date(Date.now() - 60_000) },
    code: 'CERT_HAS_EXPIRED',
  },
  {
    what: 'that is not yet valid',
    options: { notBefore: new Date(Date.now() + 3_600_000) },
    code: 'CERT_NOT_YET_VALID',
  },
  {
    what: 'for another name',
    options: { names: ['elsewhere.example.com'] },
    code: 'ERR_TLS_CERT_ALTNAME_INVALID',
  },
  { what: 'for clients', options: { usage: 'client' as const }, code: 'INVALID_PURPOSE' },
  { what: 'that is right', options: {}, code: undefined },
])('a TLS client sees a certificate $what as that', async ({ strange, options, code }) => {
  const issuer = strange === true ? await createCertificateAuthority('strange') : authority
  const server = createServer(await issuer.issue(options))
  server.on('tlsClientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const socket = connect({ port, host: '127.0.0.1', ca: authority.cert })
  const outcome = await new Promise<string | undefined>((resolve) => {
    socket.on('secureConnect', () => resolve(undefined))
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code))
  })
  socket.destroy()
  server.close()
  expect(outcome).toBe(code)
})
