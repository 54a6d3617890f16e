/** Channel binding data `tls-server-end-point`. @module */
import { Buffer } from 'node:buffer'
import { createHash } from 'node:crypto'

// The hash in a certificate's signatureAlgorithm, by the DER of its OID (RFC 4055, RFC 5758).
const SIGNATURE_HASHES: Readonly<Record<string, string>> = {
  '2a864886f70d010104': 'sha256', // md5WithRSAEncryption: MD5 and SHA-1 become SHA-256
  '2a864886f70d010105': 'sha256', // sha1WithRSAEncryption
  '2a864886f70d01010e': 'sha224',
  '2a864886f70d01010b': 'sha256',
  '2a864886f70d01010c': 'sha384',
  '2a864886f70d01010d': 'sha512',
  '2a8648ce3d0401': 'sha256', // ecdsa-with-SHA1
  '2a8648ce3d040301': 'sha224',
  '2a8648ce3d040302': 'sha256',
  '2a8648ce3d040303': 'sha384',
  '2a8648ce3d040304': 'sha512',
}

const RSASSA_PSS = '2a864886f70d01010a'

// The hash in RSASSA-PSS-params (RFC 4055 §3.1).
const DIGESTS: Readonly<Record<string, string>> = {
  '2b0e03021a': 'sha256', // id-sha1
  '608648016503040204': 'sha224',
  '608648016503040201': 'sha256',
  '608648016503040202': 'sha384',
  '608648016503040203': 'sha512',
}

const SEQUENCE = 0x30
const OBJECT_IDENTIFIER = 0x06
const CONTEXT_0 = 0xa0

/**
 * The hash of a server's certificate that RFC 5929 §4.1 prescribes: with the hash of the certificate's
 * own signature, or SHA-256 where that is MD5 or SHA-1.
 *
 * @param certificate - DER.
 * @returns `undefined` where RFC 5929 defines none, such as for Ed25519.
 */
export function tlsServerEndPoint(certificate: Buffer): Buffer | undefined {
  const name = signatureHash(certificate)
  return name === undefined ? undefined : createHash(name).update(certificate).digest()
}

// Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OID, parameters }, … }
function signatureHash(certificate: Buffer): string | undefined {
  const [, algorithm] = children(child(certificate, SEQUENCE))
  const [oid, parameters] = children(algorithm?.tag === SEQUENCE ? algorithm.content : undefined)
  const name = oid?.tag === OBJECT_IDENTIFIER ? oid.content.toString('hex') : ''
  if (name !== RSASSA_PSS) {
    return SIGNATURE_HASHES[name]
  }
  const fields = children(parameters?.tag === SEQUENCE ? parameters.content : undefined)
  const hash = fields.find((field) => field.tag === CONTEXT_0)
  if (hash === undefined) {
    return 'sha256' // the default is SHA-1, which becomes SHA-256
  }
  const [digest] = children(child(hash.content, SEQUENCE))
  return DIGESTS[digest?.content.toString('hex') ?? '']
}

interface Element {
  readonly tag: number
  readonly content: Buffer
}

function child(der: Buffer, tag: number): Buffer | undefined {
  const [first] = children(der)
  return first?.tag === tag ? first.content : undefined
}

/** The DER elements in `der`, up to the first that is broken. */
function children(der: Buffer = Buffer.alloc(0)): readonly Element[] {
  const elements: Element[] = []
  let at = 0
  while (at + 2 <= der.length) {
    const short = der[at + 1] ?? 0
    const lengthBytes = short < 0x80 ? 0 : short & 0x7f
    const start = at + 2 + lengthBytes
    if (lengthBytes > 4 || short === 0x80 || start > der.length) {
      break
    }
    const length = lengthBytes === 0 ? short : der.readUIntBE(at + 2, lengthBytes)
    if (start + length > der.length) {
      break
    }
    elements.push({ tag: der[at] ?? 0, content: der.subarray(start, start + length) })
    at = start + length
  }
  return elements
}
