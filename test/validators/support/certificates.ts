/** A private certificate authority and a server certificate for this machine, made for one run. */
import { createCertificateAuthority } from '../../../src/demo/certificates.ts'

export interface TestCertificates {
  /** PEM of the authority. */
  readonly ca: string
  readonly cert: string
  readonly key: string
}

let made: Promise<TestCertificates> | undefined

/** For `127.0.0.1`, `localhost`, `login.test` and `evil.test`. */
export function testCertificates(): Promise<TestCertificates> {
  made ??= make()
  return made
}

async function make(): Promise<TestCertificates> {
  const authority = await createCertificateAuthority()
  const pair = await authority.issue({
    names: ['127.0.0.1', 'localhost', 'login.test', 'evil.test'],
  })
  return { ca: authority.cert, ...pair }
}
