/**
 * A running proxy: its listeners, the snapshot that new connections get, and its end.
 *
 * @module
 */
import { setMaxListeners } from 'node:events'
import type net from 'node:net'
import { ClientConnection } from './client-connection.ts'
import { loadSettingsFile, settingsFromObject } from './config/load-settings.ts'
import type { Settings, SettingsInput } from './config/settings.ts'
import { AuthenticationTimeoutError, ServerClosingError } from './errors.ts'
import { Gate } from './listener/gate.ts'
import { type ListenAddress, type Listeners, listen } from './listener/listen.ts'
import { peerOf } from './listener/peer.ts'
import { createLog, type Log } from './log.ts'
import { ConfigurationWatch } from './reload/configuration-watch.ts'
import { keepRestartOnly } from './reload/restart-only.ts'
import { serveConnection } from './session.ts'
import type { Services } from './services.ts'
import { loadSnapshot, type Snapshot } from './snapshot.ts'
import { disposeSnapshot, SnapshotHolder } from './snapshot-holder.ts'
import { CancelRegistry } from './upstream/cancel-registry.ts'

/** The settings of `pgbearer.toml` as an object, and what a program adds to them. */
export type ServerOptions = SettingsInput & {
  /** Relative paths start here; default: the working directory. */
  readonly baseDirectory?: string
  /** Default: JSON lines on stderr, as `log_format` and `log_min_messages` say. */
  readonly log?: Log
}

export interface Server {
  /** What clients connect to. */
  readonly addresses: readonly ListenAddress[]
  /** Connections that have said who they are. */
  readonly clientCount: number
  /**
   * Loads settings, rules, maps, validators, certificates and users anew, all of them or nothing, and asks
   * for role memberships. Settings that need a restart stay, and the log names them.
   *
   * @throws ConfigError with every error; the old ones stay in force then.
   */
  reload(): Promise<void>
  /**
   * Takes no more clients, lets sessions finish for `timeout` ms (default: `shutdown_timeout`), then ends
   * them with 57P01. Resolves when everything is closed. A second call with a shorter time wins.
   */
  close(options?: { readonly timeout?: number }): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Starts a proxy.
 *
 * @throws ConfigError where settings, rules, maps, certificates or validators are wrong; the system's
 *   error where an address cannot be listened on.
 * @example
 * ```ts
 * const server = await createServer({
 *   port: 6432,
 *   hba_file: 'pg_hba.conf',
 *   oauth_validator_libraries: ['jwt'],
 *   validators: { jwt: { audiences: ['https://db.example.com'] } },
 *   upstream: { host: '10.0.0.5', sslmode: 'verify-full', users_file: 'users.toml' },
 * })
 * ```
 */
export async function createServer({
  baseDirectory,
  log,
  ...written
}: ServerOptions): Promise<Server> {
  const load = (): Settings => settingsFromObject(written, baseDirectory)
  return startServer(load, log)
}

/** Starts a proxy by a settings file, which a reload reads again. */
export async function createServerFromFile(file: string, log?: Log): Promise<Server> {
  return startServer(() => loadSettingsFile(file), log)
}

async function startServer(load: () => Settings, given: Log | undefined): Promise<Server> {
  const watch = new ConfigurationWatch()
  const { log, snapshot } = await watch.load(async () => {
    const settings = load()
    const log = given ?? createLog({ format: settings.logFormat, level: settings.logMinMessages })
    return { log, snapshot: await loadSnapshot(settings, log) }
  })
  const server = new ProxyServer(load, watch, log, snapshot)
  try {
    await server.start()
  } catch (error) {
    await server.close({ timeout: 0 })
    throw error
  }
  return server
}

/** Before they have said who they are, so many times `max_connections` may be open (as in PostgreSQL). */
const UNKNOWN_CLIENTS_FACTOR = 2
/** A stalled client holds its place among the handshakes or logins no longer than this, in ms. */
const HANDSHAKE_LEASE = 2000
const LOGIN_LEASE = 10_000

class ProxyServer implements Server {
  readonly #load: () => Settings
  readonly #watch: ConfigurationWatch
  readonly #settings: Settings
  readonly #log: Log
  readonly #snapshots: SnapshotHolder
  readonly #services: Services
  readonly #connections = new Map<ClientConnection, Promise<void>>()
  readonly #closing = new AbortController()
  readonly #ending = new AbortController()
  #listeners: Listeners | undefined
  #nextId = 0
  #closed: Promise<void> | undefined
  #reloading: Promise<void> = Promise.resolve()

  constructor(load: () => Settings, watch: ConfigurationWatch, log: Log, snapshot: Snapshot) {
    const { settings } = snapshot
    this.#load = load
    this.#watch = watch
    this.#settings = settings
    this.#log = log
    const queue = settings.loginQueueSize
    this.#services = {
      log,
      handshakes: new Gate({
        limit: settings.maxHandshakesInProgress,
        queue,
        lease: HANDSHAKE_LEASE,
      }),
      logins: new Gate({ limit: settings.maxLoginsInProgress, queue, lease: LOGIN_LEASE }),
      cancelKeys: new CancelRegistry(),
      clients: new Set(),
      closing: this.#closing.signal,
      ending: this.#ending.signal,
    }
    this.#snapshots = new SnapshotHolder(snapshot, this.#services)
    // Every session listens: Node would warn of a leak at the eleventh.
    setMaxListeners(0, this.#closing.signal, this.#ending.signal)
  }

  get addresses(): readonly ListenAddress[] {
    return this.#listeners?.addresses ?? []
  }

  get clientCount(): number {
    return this.#services.clients.size
  }

  /** The server behind need not be there: who needs memberships is refused until it is. */
  async start(): Promise<void> {
    await this.#snapshots.current.memberships?.start(this.#closing.signal)
    this.#listeners = await listen({
      addresses: this.#settings.listenAddresses,
      socketDirectories: this.#settings.unixSocketDirectories,
      baseDirectory: this.#settings.baseDirectory,
      port: this.#settings.port,
      log: this.#log,
      onConnection: (socket, local) => this.#accept(socket, local),
    })
    this.#watchFiles()
  }

  #watchFiles(): void {
    const { reloadOnChange } = this.#snapshots.current.settings
    if (reloadOnChange && !this.#closing.signal.aborted) {
      this.#watch.start(this, this.#log)
    } else {
      this.#watch.stop()
    }
  }

  /** One after the other: the newest request decides what is in force at the end. */
  reload(): Promise<void> {
    const reloaded = this.#reloading.then(() => this.#reload())
    this.#reloading = reloaded.catch(() => {})
    return reloaded
  }

  async #reload(): Promise<void> {
    this.#log.log('received reload request, reloading configuration files')
    const snapshot = await this.#watch.load(async () => {
      const settings = keepRestartOnly(this.#load(), this.#settings, this.#log)
      return await loadSnapshot(settings, this.#log)
    })
    const { memberships } = this.#snapshots.current
    if (memberships !== undefined) {
      snapshot.memberships?.inherit(memberships)
    }
    await snapshot.memberships?.start(this.#closing.signal)
    if (this.#closing.signal.aborted) {
      snapshot.memberships?.stop()
      await disposeSnapshot(snapshot)
      throw new ServerClosingError({ reason: 'shutdown' })
    }
    await this.#snapshots.replace(snapshot)
    this.#watchFiles()
  }

  close({ timeout = this.#snapshots.current.settings.shutdownTimeout } = {}): Promise<void> {
    this.#closing.abort()
    this.#watch.stop()
    const timer = setTimeout(() => this.#endSessions(), timeout)
    this.#closed ??= this.#close()
    return this.#closed.finally(() => clearTimeout(timer))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    await this.#listeners?.close()
    while (this.#connections.size > 0) {
      await Promise.all(this.#connections.values())
    }
    await this.#snapshots.dispose()
  }

  #endSessions(): void {
    for (const client of this.#connections.keys()) {
      client.abort(new AuthenticationTimeoutError({ reason: 'shutdown' }))
    }
    this.#ending.abort()
  }

  #accept(socket: net.Socket, local: boolean): void {
    const peer = peerOf(socket, local)
    const limit = UNKNOWN_CLIENTS_FACTOR * this.#settings.maxConnections
    if (peer === undefined || this.#closing.signal.aborted || this.#connections.size >= limit) {
      socket.on('error', () => {})
      socket.destroy()
      return
    }
    const id = (this.#nextId += 1).toString(36)
    const client = new ClientConnection(socket, {
      id,
      peer,
      log: this.#log.child({ connection: id }),
    })
    this.#connections.set(client, this.#serve(client))
  }

  async #serve(client: ClientConnection): Promise<void> {
    const { services, release } = this.#snapshots.take()
    await serveConnection(client, services)
    this.#connections.delete(client)
    await release()
  }
}
