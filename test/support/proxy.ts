/** A proxy in this process, with its files in a temporary directory and its log kept. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createLog } from '../../src/log.ts'
import { createServer, type Server, type ServerOptions } from '../../src/server.ts'

export interface LogLine {
  readonly level: string
  readonly msg: string
  readonly code?: string
  readonly reason?: string
  readonly detail?: string
  readonly [field: string]: unknown
}

export interface TestProxy extends AsyncDisposable {
  readonly server: Server
  readonly host: '127.0.0.1'
  readonly port: number
  readonly directory: string
  /** What was logged so far. */
  readonly lines: readonly LogLine[]
  /** Everything that was written, for a search. */
  logText(): string
  /** Resolves with the first line that fits, now or later. */
  logged(fits: (line: LogLine) => boolean): Promise<LogLine>
  /** Replaces a file in the directory. */
  writeFile(name: string, text: string, mode?: number): void
}

export type TestProxyOptions = Partial<Omit<ServerOptions, 'log' | 'baseDirectory'>> & {
  /** Text of pg_hba.conf. */
  readonly hba: string
  readonly ident?: string
  /** Further files by name. */
  readonly files?: Readonly<Record<string, string>>
}

/** Starts a proxy on a free port of 127.0.0.1 and a Unix socket in its directory. */
export async function startProxy({
  hba,
  ident,
  files = {},
  ...settings
}: TestProxyOptions): Promise<TestProxy> {
  const directory = mkdtempSync(path.join(tmpdir(), 'pgbearer-test-'))
  const write = (name: string, text: string, mode = 0o600): void => {
    const file = path.join(directory, name)
    writeFileSync(file, text)
    chmodSync(file, mode)
  }
  write('pg_hba.conf', hba)
  if (ident !== undefined) {
    write('pg_ident.conf', ident)
  }
  for (const [name, text] of Object.entries(files)) {
    write(name, text)
  }
  const kept = keepLog()
  try {
    const server = await createServer({
      listen_addresses: ['127.0.0.1'],
      unix_socket_directories: ['.'],
      port: 0,
      log_connections: ['all'],
      shutdown_timeout: 0,
      upstream: { host: '127.0.0.1', port: 1, sslmode: 'disable' },
      ...settings,
      validator_hosts: { ...inThisThread(settings), ...settings.validator_hosts },
      baseDirectory: directory,
      log: kept.log,
    })
    const tcp = server.addresses.find((address) => address.kind === 'tcp')
    if (tcp === undefined) {
      throw new Error('the proxy does not listen on TCP')
    }
    return {
      server,
      host: '127.0.0.1',
      port: tcp.port,
      directory,
      lines: kept.lines,
      logText: kept.text,
      logged: kept.logged,
      writeFile: write,
      async [Symbol.asyncDispose]() {
        await server.close({ timeout: 0 })
        rmSync(directory, { recursive: true, force: true })
      },
    }
  } catch (error) {
    rmSync(directory, { recursive: true, force: true })
    throw error
  }
}

/** Fixtures by path, so that they need no build and can share what a test puts on globalThis. */
function inThisThread({
  oauth_validator_libraries: libraries = [],
}: Pick<ServerOptions, 'oauth_validator_libraries'>): NonNullable<
  ServerOptions['validator_hosts']
> {
  return Object.fromEntries(
    libraries
      .filter((name) => path.isAbsolute(name))
      .map((name) => [name, { isolation: 'none' as const }]),
  )
}

function keepLog(): {
  log: ReturnType<typeof createLog>
  lines: LogLine[]
  text: () => string
  logged: (fits: (line: LogLine) => boolean) => Promise<LogLine>
} {
  const lines: LogLine[] = []
  const written: string[] = []
  const waiting = new Set<(line: LogLine) => void>()
  const log = createLog({
    level: 'debug',
    write(text) {
      written.push(text)
      const line = JSON.parse(text) as LogLine
      lines.push(line)
      for (const tell of waiting) {
        tell(line)
      }
    },
  })
  const logged = (fits: (line: LogLine) => boolean): Promise<LogLine> => {
    const known = lines.find(fits)
    if (known !== undefined) {
      return Promise.resolve(known)
    }
    return new Promise((resolve) => {
      const tell = (line: LogLine): void => {
        if (fits(line)) {
          waiting.delete(tell)
          resolve(line)
        }
      }
      waiting.add(tell)
    })
  }
  return { log, lines, text: () => written.join(''), logged }
}
