/** A real PostgreSQL and a proxy in front of it, with the same rules and the same validator. */
import path from 'node:path'
import { makeTestCertificates, type TestCertificates } from '../support/certificates.ts'
import { perFile } from '../support/per-file.ts'
import type { Certificates } from './conversation.ts'
import { startProxy, type TestProxy } from '../support/proxy.ts'
import { type LogEntry, type RealServer, startRealServer } from './real-server.ts'
import { MAPS, RULES } from './scripts/rules.ts'

export interface Pair extends AsyncDisposable {
  readonly real: RealServer
  readonly proxy: TestProxy
  readonly certificates: TestCertificates
  /** Certificates of clients, by the name that scripts call them. */
  readonly clients: Certificates
}

export function withPair(): () => Pair {
  return perFile(startPair)
}

async function startPair(): Promise<Pair> {
  const certificates = await makeTestCertificates()
  const { cert, key, ca } = certificates.files
  const rules = `local all,replication all trust\n${RULES}`
  const real = await startRealServer({
    hba: rules,
    ident: MAPS,
    settings: { timezone: 'UTC' },
    tls: { cert, key, ca },
  })
  for (const role of ['alice', 'bob', 'carol', '"al""ice"', '"é"', `"${'a'.repeat(63)}"`]) {
    await real.psql(`create role ${role} login replication`)
  }
  await real.psql('create role nologin; create role crew; grant crew to bob')
  for (const database of [
    'plain',
    'mapped',
    'delegated',
    'tls',
    'fullcert',
    'fullmap',
    'onlycert',
    'certmap',
  ]) {
    await real.psql(`create database ${database}`)
  }
  const proxy = await startProxy({
    hba: rules,
    ident: MAPS,
    role_memberships: { crew: ['bob'] },
    log_connections: ['receipt', 'authentication', 'authorization'],
    oauth_validator_libraries: [path.join(import.meta.dirname, 'oracle-validator.js')],
    ssl: true,
    ssl_cert_file: cert,
    ssl_key_file: key,
    ssl_ca_file: ca,
    upstream: { host: real.socketDirectory, port: real.port },
  })
  const issue = (commonName: string): Promise<Certificates[string]> =>
    certificates.authority.issue({ commonName, usage: 'client' })
  return {
    clients: {
      alice: await issue('alice'),
      bob: await issue('bob'),
      staff: await issue('bob@staff.example'),
      nameless: await issue(''),
    },
    real,
    proxy,
    certificates,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]()
      await real[Symbol.asyncDispose]()
      await certificates[Symbol.asyncDispose]()
    },
  }
}

/** What the proxy has logged of the client on this port. */
export function ourEntries({ lines }: TestProxy, clientPort: number): readonly LogEntry[] {
  const received = lines.findLast(({ msg }) => msg.endsWith(` port=${clientPort}`))
  return lines
    .filter(({ level, connection }) => level !== 'debug' && connection === received?.['connection'])
    .map(({ level, msg, sqlState, detail }) => ({
      level,
      sqlState: typeof sqlState === 'string' ? sqlState : '00000',
      message: msg,
      ...(detail === undefined ? {} : { detail }),
    }))
}
