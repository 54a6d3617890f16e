/**
 * What the demo plays on: a PostgreSQL with two roles, an authorization server, and pgbearer in front,
 * with TLS everywhere. The settings are files, as a user would write them.
 *
 * @module
 */
import { randomBytes } from 'node:crypto'
import { mkdtempSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { Log } from '../log.ts'
import { createServerFromFile, type Server } from '../server.ts'
import { type AuthorizationServer, startAuthorizationServer } from './authorization-server.ts'
import { type CertificatePair, createCertificateAuthority } from './certificates.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded-postgres.ts'
import { findFreePort } from './free-port.ts'
import { keep } from './keeper.ts'

/** A person, who logs in by the device flow. */
export const PERSON = 'alice'
/** A program, which logs in by client credentials. */
export const PROGRAM = 'reporter'
/** Clients of this database send the token as a password. */
export const PASSWORD_DATABASE = 'legacy'
export const SCOPE = 'db'
const PREFERRED_PORT = 6432
const PORT_ATTEMPTS = 10

export interface Stage extends AsyncDisposable {
  /** Settings, rules and certificates. */
  readonly directory: string
  /** The authority that signed all certificates. */
  readonly caFile: string
  readonly rules: string
  readonly postgres: EmbeddedPostgres
  readonly authorizationServer: AuthorizationServer
  readonly proxy: Server
  readonly proxyPort: number
}

export interface StageOptions {
  readonly log: Log
  /** Stops between one step and the next. */
  readonly signal: AbortSignal
  /** Told of each server as it is there. */
  readonly onReady: (what: string, where: string) => void
}

/**
 * Starts everything, or nothing: what was started before a failure is ended.
 *
 * @throws {MissingPackagesError} where a package of the demo is not installed.
 */
export async function setStage(options: StageOptions): Promise<Stage> {
  const cleanup: (() => Promise<unknown>)[] = []
  const strike = async (): Promise<void> => {
    for (const end of cleanup.splice(0).reverse()) {
      await end()
    }
  }
  try {
    return { ...(await build(options, cleanup)), [Symbol.asyncDispose]: strike }
  } catch (error) {
    await strike()
    throw error
  }
}

async function build(
  { log, signal, onReady }: StageOptions,
  cleanup: (() => Promise<unknown>)[],
): Promise<Omit<Stage, typeof Symbol.asyncDispose>> {
  const directory = mkdtempSync(join(tmpdir(), 'pgbearer-demo-'))
  const kept = keep(directory)
  cleanup.push(() => kept.end())

  const authority = await createCertificateAuthority()
  const tls = await authority.issue()
  signal.throwIfAborted()

  const postgres = await startEmbeddedPostgres({ ssl: tls })
  cleanup.push(() => postgres.stop())
  const passwords = await createRoles(postgres)
  onReady('PostgreSQL', `${postgres.host}:${postgres.port}`)
  signal.throwIfAborted()

  const authorizationServer = await startAuthorizationServer({
    tls: { ...tls, ca: authority.cert },
    scopes: [SCOPE],
    serviceClient: PROGRAM,
  })
  cleanup.push(() => authorizationServer.stop())
  onReady('authorization server', authorizationServer.issuer)
  signal.throwIfAborted()

  const rules = rulesFor(authorizationServer)
  await writeFiles(directory, {
    'ca.crt': authority.cert,
    ...certificateFiles(tls),
    'pg_hba.conf': rules,
    'users.toml': usersToml(passwords),
  })
  const proxy = await startProxy({ directory, postgres, authorizationServer }, log)
  cleanup.push(() => proxy.server.close({ timeout: 0 }))
  onReady('pgbearer', `127.0.0.1:${proxy.port}`)
  return {
    directory,
    caFile: join(directory, 'ca.crt'),
    rules,
    postgres,
    authorizationServer,
    proxy: proxy.server,
    proxyPort: proxy.port,
  }
}

type Passwords = Readonly<Record<string, string>>

async function createRoles(postgres: EmbeddedPostgres): Promise<Passwords> {
  const passwords: Record<string, string> = {}
  for (const role of [PERSON, PROGRAM]) {
    // Neither the name nor base64url has a quote in it.
    const password = randomBytes(24).toString('base64url')
    await postgres.query(`CREATE ROLE ${role} LOGIN PASSWORD '${password}'`)
    passwords[role] = password
  }
  await postgres.query(`CREATE DATABASE ${PASSWORD_DATABASE}`)
  return passwords
}

function rulesFor({ issuer }: AuthorizationServer): string {
  const oauth = `oauth issuer="${issuer}" scope="${SCOPE}"`
  return `# TYPE  DATABASE  USER  ADDRESS       METHOD
hostssl ${PASSWORD_DATABASE}    all   127.0.0.1/32  ${oauth} token_in_password=1
hostssl all       all   127.0.0.1/32  ${oauth}
`
}

function usersToml(passwords: Passwords): string {
  return Object.entries(passwords)
    .map(([role, password]) => `[${role}]\npassword = "${password}"\n`)
    .join('\n')
}

function certificateFiles({ cert, key }: CertificatePair): Readonly<Record<string, string>> {
  return { 'server.crt': cert, 'server.key': key }
}

async function writeFiles(
  directory: string,
  files: Readonly<Record<string, string>>,
): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await writeFile(join(directory, name), text, { mode: 0o600 })
  }
}

interface Behind {
  readonly directory: string
  readonly postgres: EmbeddedPostgres
  readonly authorizationServer: AuthorizationServer
}

function settingsToml({ postgres, authorizationServer }: Behind, port: number): string {
  return `listen_addresses = ["127.0.0.1"]
port = ${port}
log_connections = ["authentication", "authorization"]
ssl = true
oauth_validator_libraries = ["jwt"]

[validators.jwt]
audiences = ["${authorizationServer.audience}"]

[validators.jwt.http]
# The authorization server is on this machine, and its certificate is our own authority's.
ca = "ca.crt"
egress = "any"

[upstream]
host = "${postgres.host}"
port = ${postgres.port}
sslmode = "verify-full"
sslrootcert = "ca.crt"
users_file = "users.toml"
`
}

async function startProxy(behind: Behind, log: Log): Promise<{ server: Server; port: number }> {
  const file = join(behind.directory, 'pgbearer.toml')
  for (let attempt = 1; ; attempt += 1) {
    const port = await findFreePort(...(attempt === 1 ? [PREFERRED_PORT] : []))
    await writeFile(file, settingsToml(behind, port))
    try {
      return { server: await createServerFromFile(file, log), port }
    } catch (error) {
      // Another program may have taken the port between our look and our listen.
      const taken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
      if (!taken || attempt === PORT_ATTEMPTS) {
        throw error
      }
    }
  }
}
