/** A temporary directory with the certificate that all contenders show, gone at the end. @module */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createCertificateAuthority } from '../../src/demo/certificates.ts'

export interface Workspace {
  readonly directory: string
  /** PEM of an EC P-256 certificate for 127.0.0.1, and its key. */
  readonly certificate: { readonly cert: string; readonly key: string }
  /** Writes a file that only its owner reads, unless `mode` says otherwise. @returns its path. */
  readonly write: (name: string, text: string, mode?: number) => string
}

/** Makes it: `ca.crt`, `server.crt`, `server.key`, and `server.pem` with both. */
export async function makeWorkspace(): Promise<Workspace> {
  const directory = mkdtempSync(path.join(tmpdir(), 'pgbearer-bench-'))
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => process.exit(1))
  }
  // pgbouncer does not run as root, and reads its files as somebody else.
  chmodSync(directory, 0o755)
  const write = (name: string, text: string, mode = 0o600): string => {
    const file = path.join(directory, name)
    writeFileSync(file, text)
    chmodSync(file, mode)
    return file
  }
  const authority = await createCertificateAuthority('pgbearer bench CA')
  const certificate = await authority.issue()
  write('ca.crt', authority.cert)
  write('server.crt', certificate.cert)
  write('server.key', certificate.key)
  write('server.pem', certificate.cert + certificate.key)
  return { directory, certificate, write }
}
