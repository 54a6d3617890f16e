/**
 * Everything real: a PostgreSQL 18 that wants SCRAM passwords, an issuer with keys, and the proxy with
 * TLS between them.
 */
import type { EmbeddedPostgres } from '../../src/demo/embedded-postgres.ts'
import { makeTestCertificates, type TestCertificates } from './certificates.ts'
import { perFile } from './per-file.ts'
import { startPostgres } from './postgres.ts'
import { startProxy, type TestProxy, type TestProxyOptions } from './proxy.ts'
import { startTokenIssuer, type TokenIssuer } from './token-issuer.ts'

export interface WholePath extends AsyncDisposable {
  readonly postgres: EmbeddedPostgres
  readonly issuer: TokenIssuer
  readonly certificates: TestCertificates
  readonly proxy: TestProxy
  /** libpq's keywords for a login by token over TLS, verified. */
  conninfo(user: string, more?: Readonly<Record<string, string>>): Record<string, string | number>
}

export interface WholePathOptions {
  /** Lines of pg_hba.conf; `OAUTH` stands for the method with issuer and scope. */
  readonly hba?: string
  readonly proxy?: Partial<TestProxyOptions>
}

const PASSWORDS = `
[alice]
password = "alice-password"
[bob]
password = "bob-password"
[ghost]
password = "ghost-password"
[mismatched]
password = "not-the-password"
`

/** One for all tests of a file. */
export function withWholePath(options: WholePathOptions = {}): () => WholePath {
  return perFile(() => startWholePath(options))
}

export async function startWholePath({
  hba = 'hostssl all all 127.0.0.1/32 OAUTH\nhostssl replication all 127.0.0.1/32 OAUTH\nlocal all all OAUTH',
  proxy: proxyOptions = {},
}: WholePathOptions): Promise<WholePath> {
  const certificates = await makeTestCertificates()
  const [postgres, issuer] = await Promise.all([
    startPostgres({
      hba: 'host all,replication all 127.0.0.1/32 scram-sha-256',
      settings: { wal_level: 'logical', max_wal_senders: 4 },
    }),
    startTokenIssuer({ tls: certificates.server, algorithm: 'RS256' }),
  ])
  for (const role of ['alice', 'bob', 'mismatched']) {
    await postgres.query(`create role ${role} login replication password '${role}-password'`)
  }
  const proxy = await startProxy({
    hba: hba.replaceAll('OAUTH', `oauth issuer=${issuer.issuer} scope=db`),
    oauth_validator_libraries: ['jwt'],
    validators: {
      jwt: {
        audiences: [issuer.audience],
        http: { ca: certificates.files.ca, egress: 'any' },
      },
    },
    ssl: true,
    ssl_cert_file: certificates.files.cert,
    ssl_key_file: certificates.files.key,
    files: { 'users.toml': PASSWORDS },
    upstream: {
      host: postgres.host,
      port: postgres.port,
      sslmode: 'disable',
      users_file: 'users.toml',
    },
    ...proxyOptions,
  })
  return {
    postgres,
    issuer,
    certificates,
    proxy,
    conninfo: (user, more = {}) => ({
      host: 'localhost',
      hostaddr: proxy.host,
      port: proxy.port,
      user,
      dbname: 'postgres',
      sslmode: 'verify-full',
      sslrootcert: certificates.files.ca,
      oauth_issuer: issuer.issuer,
      oauth_client_id: 'psql',
      require_auth: 'oauth',
      ...more,
    }),
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]()
      await issuer[Symbol.asyncDispose]()
      await postgres[Symbol.asyncDispose]()
      await certificates[Symbol.asyncDispose]()
    },
  }
}
