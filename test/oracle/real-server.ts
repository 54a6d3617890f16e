/** A real PostgreSQL of the machine (`PGBEARER_ORACLE_BIN`), with a validator of ours in C. */
import { execFile } from 'node:child_process'
import { chmod, copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

import { type ByteString, fromBytes, toText } from '../../src/byte-string.ts'
import { findFreePort } from '../../src/demo/free-port.ts'
import { keep } from '../../src/demo/keeper.ts'
import { giveTo, makeServerDirectory } from '../../src/demo/postgres-installation.ts'

const run = promisify(execFile)

/** One entry of a log, PostgreSQL's or ours, as far as the two can be compared. */
export interface LogEntry {
  readonly level: string
  readonly sqlState: string
  readonly message: string
  readonly detail?: string
}

export interface RealServer extends AsyncDisposable {
  readonly port: number
  readonly socketDirectory: string
  readonly hbaFile: string
  /** What the backend of the client on this port has logged. */
  entries(clientPort: number): Promise<readonly LogEntry[]>
  /** Runs SQL as the superuser. */
  psql(sql: string, database?: string): Promise<string>
}

export interface RealServerOptions {
  readonly hba: string
  readonly ident: string
  readonly settings?: Readonly<Record<string, string>>
  /** Copied, because PostgreSQL may run as somebody else. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca: string }
}

/** Where the programs are. @throws {Error} where nobody has said. */
export function oracleBin(): string {
  const bin = process.env['PGBEARER_ORACLE_BIN']
  if (bin === undefined) {
    throw new Error('PGBEARER_ORACLE_BIN is not set: the bin directory of a PostgreSQL 18 or later')
  }
  return bin
}

export async function startRealServer(options: RealServerOptions): Promise<RealServer> {
  const bin = oracleBin()
  const { directory, account } = await makeServerDirectory('pgbearer-oracle-')
  const kept = keep(directory, account)
  try {
    const asServer = { cwd: '/', ...account }
    const data = path.join(directory, 'data')
    const library = await compileValidator(bin, directory)
    await run(
      `${bin}/initdb`,
      ['-D', data, '-U', 'postgres', '-E', 'UTF8', '--locale=C', '--no-sync', '--auth=trust'],
      asServer,
    )
    const port = await findFreePort()
    const sockets = path.join(directory, 'run')
    await mkdir(sockets)
    const tls = await writeTls(directory, options.tls)
    await writeFile(
      path.join(data, 'postgresql.auto.conf'),
      settingsText({
        port: String(port),
        listen_addresses: '127.0.0.1',
        unix_socket_directories: sockets,
        oauth_validator_libraries: library,
        log_connections: 'receipt,authentication,authorization',
        log_line_prefix: '<%p %r %e> ',
        log_timezone: 'UTC',
        fsync: 'off',
        ...tls,
        ...options.settings,
      }),
    )
    await writeFile(path.join(data, 'pg_hba.conf'), options.hba)
    await writeFile(path.join(data, 'pg_ident.conf'), options.ident)
    await giveTo(account, directory)
    kept.start([`${bin}/postgres`, '-D', data], { LC_ALL: 'C' })
    let failure: string | undefined
    void kept.ended.then(({ output }) => {
      failure = output
    })
    const ready = async (): Promise<boolean> =>
      (await readFile(path.join(data, 'postmaster.pid'), 'utf8').catch(() => ''))
        .trimEnd()
        .endsWith('ready')
    while (!(await ready())) {
      if (failure !== undefined) {
        throw new Error(`PostgreSQL did not start:\n${failure}`)
      }
      await sleep(20)
    }
    const psql = async (sql: string, database = 'postgres'): Promise<string> => {
      const where = ['-h', sockets, '-p', String(port), '-U', 'postgres', '-d', database]
      return (await run(`${bin}/psql`, ['-XAtq', '-v', 'ON_ERROR_STOP=1', ...where, '-c', sql]))
        .stdout
    }
    return {
      port,
      socketDirectory: sockets,
      hbaFile: path.join(data, 'pg_hba.conf'),
      entries: async (clientPort) =>
        parseLog(fromBytes(await readFile(path.join(directory, 'log'))), clientPort),
      psql,
      async [Symbol.asyncDispose]() {
        await kept.end()
      },
    }
  } catch (error) {
    await kept.end()
    throw error
  }
}

// The headers are those of the installation that is asked, so that the module fits it.
async function compileValidator(bin: string, directory: string): Promise<string> {
  const headers = (await run(`${bin}/pg_config`, ['--includedir-server'])).stdout.trim()
  const source = path.join(import.meta.dirname, 'oracle-validator.c')
  const library = path.join(directory, 'oracle-validator.so')
  await run('cc', ['-shared', '-fPIC', '-O1', '-I', headers, '-o', library, source])
  await chmod(library, 0o755)
  return library
}

async function writeTls(
  directory: string,
  tls: RealServerOptions['tls'],
): Promise<Readonly<Record<string, string>>> {
  if (tls === undefined) {
    return {}
  }
  const settings: Record<string, string> = { ssl: 'on' }
  for (const [name, file] of Object.entries(tls)) {
    const copy = path.join(directory, `${name}.pem`)
    await copyFile(file, copy)
    await chmod(copy, 0o600)
    settings[`ssl_${name}_file`] = copy
  }
  return settings
}

function settingsText(settings: Readonly<Record<string, string>>): string {
  return Object.entries(settings)
    .map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`)
    .join('')
}

/*
 *   <pid host(port) sqlstate> LEVEL:  text
 *   <TAB>further lines of the text
 */
function parseLog(text: ByteString, clientPort: number): readonly LogEntry[] {
  let entries: LogEntry[] = []
  for (const bytes of text.replaceAll('\n\t', '\u0001').split('\n')) {
    const line = toText(bytes as ByteString)
    const [, from, sqlState = '', level = '', rest = ''] =
      /^<\d+ (\S*) (\w{5})> ([A-Z0-9]+): {2}(.*)$/s.exec(line) ?? []
    if (from !== `127.0.0.1(${clientPort})`) {
      continue
    }
    const body = rest.replaceAll('\u0001', '\n')
    if (body.startsWith('connection received:')) {
      // Another client had the port before.
      entries = []
    }
    const last = entries.at(-1)
    if (level === 'DETAIL' && last !== undefined) {
      entries[entries.length - 1] = { ...last, detail: body }
    } else if (level === 'HINT' || level === 'CONTEXT' || level === 'LOCATION') {
      continue
    } else {
      entries.push({ level: level.toLowerCase(), sqlState, message: body })
    }
  }
  return entries
}
