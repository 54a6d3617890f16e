/**
 * What is compared: pgbearer and the two proxies that people know, each one process on one core, all
 * in front of the same server, with the same certificate, and none of them writing a log.
 *
 * @module
 */
import { chownSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { findFreePort } from '../../src/demo/free-port.ts'
import { SERVER_NODE } from './machine.ts'
import { type Core, startProgram } from './programs.ts'
import type { Workspace } from './workspace.ts'

/** A proxy that runs. */
export interface Proxy {
  readonly pid: number
  /** Plain, and TLS where it is asked for. */
  readonly port: number
  /** Where TLS begins with the first byte; only a TLS terminator has it. */
  readonly tlsPort?: number
  stop(): Promise<void>
}

const MAX_CLIENTS = 4000
const CLI = fileURLToPath(new URL('../../src/cli.js', import.meta.url))

export interface PgbearerOptions {
  /** Of the server behind. */
  readonly upstreamPort: number
  /** Text of pg_hba.conf. */
  readonly hba: string
  /** Further lines of `pgbearer.toml`, before the tables. */
  readonly settings?: string
  /** `[validators.*]` tables. */
  readonly tables?: string
  /** Text of `users_file`. */
  readonly users?: string
  /** Default: its own. */
  readonly core?: Core
}

/** `name` is for its files. */
export async function startPgbearer(
  { directory, write }: Workspace,
  name: string,
  { upstreamPort, hba, settings = '', tables = '', users, core = 'server' }: PgbearerOptions,
): Promise<Proxy> {
  const port = await findFreePort()
  write(`${name}.hba`, hba)
  if (users !== undefined) {
    write(`${name}.users.toml`, users)
  }
  const config = write(
    `${name}.toml`,
    `listen_addresses = ["127.0.0.1"]
port = ${port}
max_connections = ${MAX_CLIENTS}
hba_file = "${name}.hba"
ssl = true
ssl_cert_file = "server.crt"
ssl_key_file = "server.key"
${settings}
[upstream]
host = "127.0.0.1"
port = ${upstreamPort}
sslmode = "disable"
${users === undefined ? '' : `users_file = "${name}.users.toml"`}
${tables}
`,
  )
  const flags = (process.env['BENCH_NODE_OPTIONS'] ?? '').split(' ').filter(Boolean)
  const program = await startProgram(
    SERVER_NODE,
    [...flags, CLI, 'serve', '-c', path.join(directory, path.basename(config))],
    { core, port },
  )
  return { ...program, port }
}

/** One thread; terminates TLS on a port of its own, since it does not speak PostgreSQL. */
export async function startHaproxy(
  { directory, write }: Workspace,
  upstreamPort: number,
): Promise<Proxy> {
  const port = await findFreePort()
  const tlsPort = await findFreePort()
  const config = write(
    'haproxy.cfg',
    `global
  nbthread 1
  maxconn ${MAX_CLIENTS}
defaults
  mode tcp
  timeout connect 10s
  timeout client 1h
  timeout server 1h
listen plain
  bind 127.0.0.1:${port}
  server postgres 127.0.0.1:${upstreamPort}
listen terminator
  bind 127.0.0.1:${tlsPort} ssl crt ${directory}/server.pem
  server postgres 127.0.0.1:${upstreamPort}
`,
  )
  const program = await startProgram('haproxy', ['-db', '-f', config], { core: 'server', port })
  return { ...program, port, tlsPort }
}

export interface PgbouncerOptions {
  readonly upstreamPort: number
  /** Bytes; absent: its default, 4096. */
  readonly packetBuffer?: number
  /** `any` asks for nothing; `scram-sha-256` knows the roles of `users`. */
  readonly authType: 'any' | 'scram-sha-256'
  /** Role by database: what `any` logs in as upstream. */
  readonly databases: Readonly<Record<string, string>>
  /** Secret by role, as `pg_authid.rolpassword` has it. */
  readonly users?: Readonly<Record<string, string>>
}

/** Session pooling; `name` is for its files. */
export async function startPgbouncer(
  workspace: Workspace,
  name: string,
  options: PgbouncerOptions,
): Promise<Proxy> {
  const port = await findFreePort()
  const config = writePgbouncerFiles(workspace, name, options, port)
  const program = await startProgram('pgbouncer', [config], { core: 'server', port })
  return { ...program, port }
}

function writePgbouncerFiles(
  { write, certificate }: Workspace,
  name: string,
  options: PgbouncerOptions,
  port: number,
): string {
  const { upstreamPort, authType } = options
  const databases = Object.entries(options.databases).map(
    ([database, role]) =>
      `${database} = host=127.0.0.1 port=${upstreamPort} dbname=postgres` +
      (authType === 'any' ? ` user=${role}` : ''),
  )
  const users = Object.entries(options.users ?? {}).map(([role, secret]) => `"${role}" "${secret}"`)
  const account = pgbouncerAccount()
  const give = (file: string, text: string): string => {
    const written = write(`${name}.${file}`, text)
    if (account !== undefined) {
      chownSync(written, account.uid, account.gid)
    }
    return written
  }
  return give(
    'ini',
    `[databases]
${databases.join('\n')}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = ${authType}
auth_file = ${give('users', `${users.join('\n')}\n`)}
pool_mode = session
max_client_conn = ${MAX_CLIENTS}
default_pool_size = ${MAX_CLIENTS}
client_tls_sslmode = allow
client_tls_cert_file = ${give('crt', certificate.cert)}
client_tls_key_file = ${give('key', certificate.key)}
log_connections = 0
log_disconnections = 0
log_stats = 0
${options.packetBuffer === undefined ? '' : `pkt_buf = ${options.packetBuffer}`}
server_idle_timeout = 5
${account === undefined ? '' : `user = ${account.name}`}
`,
  )
}

/** It refuses to be root. */
function pgbouncerAccount(): { name: string; uid: number; gid: number } | undefined {
  const NOBODY = 65_534
  return process.getuid?.() === 0 ? { name: 'nobody', uid: NOBODY, gid: NOBODY } : undefined
}
