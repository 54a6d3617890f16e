/** A proxy by a settings file, in this process. */
import { chmodSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { onTestFinished } from 'vitest'
import { createLog } from '../../src/log.ts'
import { logReload } from '../../src/reload/log-reload.ts'
import { createServerFromFile, type Server } from '../../src/server.ts'
import { fixtureValidator } from '../support/oauth-proxy.ts'
import type { LogLine } from '../support/proxy.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

export interface FileProxy {
  readonly server: Server
  readonly port: number
  readonly path: (name: string) => string
  /** Puts a file in place as a careful program does: whole. */
  readonly write: (name: string, text: string) => void
  /** What was logged since the last call. */
  readonly fresh: () => readonly LogLine[]
  readonly lines: readonly LogLine[]
  /** As SIGHUP does. */
  readonly hangup: () => Promise<void>
}

export interface FileProxyOptions {
  /** Lines at the top of the settings. */
  readonly settings?: string
  /** Lines in `[upstream]`. */
  readonly upstream?: string
  /** More validators, by their paths. */
  readonly validators?: readonly string[]
  /** Files by name, `pg_hba.conf` among them. */
  readonly files: Readonly<Record<string, string>>
}

/** The settings of {@link startFileProxy}. */
export function settingsText({
  settings = '',
  upstream = '',
  validators = [],
}: Omit<FileProxyOptions, 'files'>): string {
  const libraries = [fixtureValidator('accepts-anything'), ...validators]
  return `listen_addresses = ["127.0.0.1"]
port = 0
oauth_validator_libraries = ${JSON.stringify(libraries)}
${libraries.map((library) => `validator_hosts.${path.parse(library).name}.isolation = "none"`).join('\n')}
${settings}
[upstream]
${upstream || 'host = "127.0.0.1"\nport = 1\nsslmode = "disable"'}
`
}

/** Older than what is read afterwards, for whoever looks at the time of a file. */
const SETTLED_MS = 50

export async function startFileProxy(options: FileProxyOptions): Promise<FileProxy> {
  const directory = await temporaryDirectory()
  const at = (name: string): string => path.join(directory.path, name)
  const write = (name: string, text: string): void => {
    mkdirSync(path.dirname(at(name)), { recursive: true })
    writeFileSync(at(`${name}~`), text)
    chmodSync(at(`${name}~`), 0o600)
    renameSync(at(`${name}~`), at(name))
  }
  write('pgbearer.toml', settingsText(options))
  for (const [name, text] of Object.entries(options.files)) {
    write(name, text)
  }
  await sleep(SETTLED_MS)
  const lines: LogLine[] = []
  const log = createLog({ write: (text) => void lines.push(JSON.parse(text) as LogLine) })
  const server = await createServerFromFile(at('pgbearer.toml'), log)
  onTestFinished(() => server.close({ timeout: 0 }))
  const [address] = server.addresses
  let told = 0
  return {
    server,
    port: address?.kind === 'tcp' ? address.port : 0,
    path: at,
    write,
    lines,
    fresh: () => lines.slice(told, (told = lines.length)),
    hangup: () => logReload(server, log),
  }
}
