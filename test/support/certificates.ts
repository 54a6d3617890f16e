import {
  type CertificateAuthority,
  type CertificatePair,
  createCertificateAuthority,
} from '../../src/demo/certificates.ts'
import { makeTemporaryDirectory, type TemporaryDirectory } from './temporary-directory.ts'
import { perFile } from './per-file.ts'

export interface TestCertificates extends AsyncDisposable {
  readonly authority: CertificateAuthority
  /** For localhost, 127.0.0.1 and ::1. */
  readonly server: CertificatePair
  /** Of another authority, for the same names. */
  readonly strange: CertificatePair
  readonly directory: TemporaryDirectory
  /** Paths of the same as PEM files, for whoever wants files. */
  readonly files: {
    readonly ca: string
    readonly cert: string
    readonly key: string
    readonly strangeCa: string
  }
}

/** Certificates for the tests of a file, also as files. */
export function withCertificates(): () => TestCertificates {
  return perFile(makeTestCertificates)
}

export async function makeTestCertificates(): Promise<TestCertificates> {
  const authority = await createCertificateAuthority('pgbearer test CA')
  const strangeAuthority = await createCertificateAuthority('another CA')
  const server = await authority.issue()
  const directory = await makeTemporaryDirectory()
  return {
    authority,
    server,
    strange: await strangeAuthority.issue(),
    directory,
    files: {
      ca: await directory.write('ca.crt', authority.cert),
      cert: await directory.write('server.crt', server.cert),
      key: await directory.write('server.key', server.key),
      strangeCa: await directory.write('strange-ca.crt', strangeAuthority.cert),
    },
    [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose](),
  }
}
