/**
 * libpq's C functions, callable from JavaScript.
 *
 * Only for a process of its own (`libpq-child.ts`): a mistake in here ends the process.
 * Names and constants are those of `libpq-fe.h` of PostgreSQL 18.
 *
 * @module
 */

/** An address; null is NULL. */
export type Pointer = bigint | null

/** What is used of libpq. Strings are UTF-8 without NUL; a NULL string is null. */
export interface LibpqFunctions {
  PQconnectStart(conninfo: string): Pointer
  PQconnectPoll(conn: Pointer): number
  PQfinish(conn: Pointer): void
  PQstatus(conn: Pointer): number
  PQerrorMessage(conn: Pointer): string
  PQsocket(conn: Pointer): number
  PQbackendPID(conn: Pointer): number
  PQfullProtocolVersion(conn: Pointer): number
  PQserverVersion(conn: Pointer): number
  PQparameterStatus(conn: Pointer, name: string): string | null
  PQsslAttribute(conn: Pointer, name: string): string | null
  PQsslInUse(conn: Pointer): number
  PQconnectionUsedPassword(conn: Pointer): number
  PQsetnonblocking(conn: Pointer, nonblocking: number): number
  PQsetNoticeProcessor(conn: Pointer, processor: Pointer, argument: Pointer): Pointer
  PQsendQuery(conn: Pointer, sql: string): number
  PQsendQueryParams(
    conn: Pointer,
    sql: string,
    count: number,
    types: null,
    values: readonly (string | null)[],
    lengths: null,
    formats: null,
    resultFormat: number,
  ): number
  PQflush(conn: Pointer): number
  PQconsumeInput(conn: Pointer): number
  PQisBusy(conn: Pointer): number
  PQgetResult(conn: Pointer): Pointer
  PQnotifies(conn: Pointer): Pointer
  PQputCopyData(conn: Pointer, bytes: Uint8Array, length: number): number
  PQputCopyEnd(conn: Pointer, error: string | null): number
  PQgetCopyData(conn: Pointer, buffer: [Pointer], async: number): number
  PQresultStatus(result: Pointer): number
  PQresultErrorMessage(result: Pointer): string
  PQresultErrorField(result: Pointer, field: number): string | null
  PQcmdStatus(result: Pointer): string
  PQntuples(result: Pointer): number
  PQnfields(result: Pointer): number
  PQfname(result: Pointer, field: number): string
  PQgetvalue(result: Pointer, row: number, field: number): string
  PQgetisnull(result: Pointer, row: number, field: number): number
  PQclear(result: Pointer): void
  PQfreemem(pointer: Pointer): void
  PQcancelCreate(conn: Pointer): Pointer
  PQcancelErrorMessage(cancel: Pointer): string
  PQcancelFinish(cancel: Pointer): void
  PQsetAuthDataHook(hook: Pointer): void
  PQgetCurrentTimeUSec(): number | bigint
}

const PROTOTYPES: Readonly<Record<keyof LibpqFunctions, string>> = {
  PQconnectStart: 'void *PQconnectStart(const char *conninfo)',
  PQconnectPoll: 'int PQconnectPoll(void *conn)',
  PQfinish: 'void PQfinish(void *conn)',
  PQstatus: 'int PQstatus(void *conn)',
  PQerrorMessage: 'const char *PQerrorMessage(void *conn)',
  PQsocket: 'int PQsocket(void *conn)',
  PQbackendPID: 'int PQbackendPID(void *conn)',
  PQfullProtocolVersion: 'int PQfullProtocolVersion(void *conn)',
  PQserverVersion: 'int PQserverVersion(void *conn)',
  PQparameterStatus: 'const char *PQparameterStatus(void *conn, const char *name)',
  PQsslAttribute: 'const char *PQsslAttribute(void *conn, const char *name)',
  PQsslInUse: 'int PQsslInUse(void *conn)',
  PQconnectionUsedPassword: 'int PQconnectionUsedPassword(void *conn)',
  PQsetnonblocking: 'int PQsetnonblocking(void *conn, int nonblocking)',
  PQsetNoticeProcessor: 'void *PQsetNoticeProcessor(void *conn, void *processor, void *argument)',
  PQsendQuery: 'int PQsendQuery(void *conn, const char *sql)',
  PQsendQueryParams:
    'int PQsendQueryParams(void *conn, const char *sql, int count, const uint32_t *types, ' +
    'const char **values, const int *lengths, const int *formats, int resultFormat)',
  PQflush: 'int PQflush(void *conn)',
  PQconsumeInput: 'int PQconsumeInput(void *conn)',
  PQisBusy: 'int PQisBusy(void *conn)',
  PQgetResult: 'void *PQgetResult(void *conn)',
  PQnotifies: 'void *PQnotifies(void *conn)',
  PQputCopyData: 'int PQputCopyData(void *conn, const uint8_t *bytes, int length)',
  PQputCopyEnd: 'int PQputCopyEnd(void *conn, const char *error)',
  PQgetCopyData: 'int PQgetCopyData(void *conn, _Out_ void **buffer, int async)',
  PQresultStatus: 'int PQresultStatus(void *result)',
  PQresultErrorMessage: 'const char *PQresultErrorMessage(void *result)',
  PQresultErrorField: 'const char *PQresultErrorField(void *result, int field)',
  PQcmdStatus: 'const char *PQcmdStatus(void *result)',
  PQntuples: 'int PQntuples(void *result)',
  PQnfields: 'int PQnfields(void *result)',
  PQfname: 'const char *PQfname(void *result, int field)',
  PQgetvalue: 'const char *PQgetvalue(void *result, int row, int field)',
  PQgetisnull: 'int PQgetisnull(void *result, int row, int field)',
  PQclear: 'void PQclear(void *result)',
  PQfreemem: 'void PQfreemem(void *pointer)',
  PQcancelCreate: 'void *PQcancelCreate(void *conn)',
  PQcancelErrorMessage: 'const char *PQcancelErrorMessage(void *cancel)',
  PQcancelFinish: 'void PQcancelFinish(void *cancel)',
  PQsetAuthDataHook: 'void PQsetAuthDataHook(void *hook)',
  PQgetCurrentTimeUSec: 'int64_t PQgetCurrentTimeUSec()',
}

export const CONNECTION_OK = 0
export const CONNECTION_BAD = 1
export const PGRES_POLLING_FAILED = 0
export const PGRES_POLLING_READING = 1
export const PGRES_POLLING_WRITING = 2
export const PGRES_POLLING_OK = 3
export const PGRES_COPY_OUT = 3
export const PGRES_COPY_IN = 4
export const PGRES_COPY_BOTH = 8
export const PGRES_EMPTY_QUERY = 0
export const PGRES_COMMAND_OK = 1
export const PGRES_TUPLES_OK = 2
/** `PG_DIAG_SQLSTATE`, the letter of the field in an ErrorResponse. */
export const PG_DIAG_SQLSTATE: number = 'C'.charCodeAt(0)
export const PG_DIAG_MESSAGE_PRIMARY: number = 'M'.charCodeAt(0)
export const PG_DIAG_MESSAGE_DETAIL: number = 'D'.charCodeAt(0)
const PQAUTHDATA_OAUTH_BEARER_TOKEN = 1

/** What the server made of the client's OAuth settings, as libpq asks its application for a token. */
export interface TokenRequest {
  readonly openidConfiguration: string | null
  readonly scope: string | null
}

/** Answers a token request: the token, null to fail, or undefined for libpq's builtin flow. */
export type TokenHook = (conn: bigint, request: TokenRequest) => string | null | undefined

export interface Libpq extends LibpqFunctions {
  /** Waits in another thread until the socket is ready or the time is up (`PQsocketPoll`). */
  waitForSocket(socket: number, direction: 'read' | 'write' | 'both', ms: number): Promise<void>
  /** Sends a cancel request from another thread (`PQcancelBlocking`). */
  cancelBlocking(cancel: Pointer): Promise<boolean>
  setTokenHook(hook: TokenHook): void
  /** Makes a C function of one that is told of notices by the `argument` of `PQsetNoticeProcessor`. */
  noticeProcessor(listener: (argument: bigint, message: string) => void): bigint
  /** Copies bytes out of C's memory. */
  bytesAt(pointer: Pointer, length: number): Buffer
  /** Reads a `PGnotify`. */
  notificationAt(pointer: Pointer): { channel: string; pid: number; payload: string }
}

/**
 * Loads libpq.
 *
 * `deep` (RTLD_DEEPBIND) makes libpq find its own OpenSSL before the one inside Node; without it
 * the process crashes in the first TLS handshake.
 *
 * @param path - absolute path of `libpq.so.5.*`.
 */
export async function loadLibpq(path: string): Promise<Libpq> {
  const koffi = await import('koffi')
  const library = koffi.load(path, { deep: true })
  const functions = Object.fromEntries(
    Object.entries(PROTOTYPES).map(([name, prototype]) => [name, library.func(prototype)]),
  ) as unknown as LibpqFunctions
  const socketPoll = library.func(
    'int PQsocketPoll(int socket, int forRead, int forWrite, int64_t endTime)',
  )
  const cancelBlocking = library.func('int PQcancelBlocking(void *cancel)')
  const hookType = koffi.proto('int PQauthDataHook(int type, void *conn, void *data)')
  const noticeType = koffi.proto('void PQnoticeProcessor(void *argument, const char *message)')
  const requestType = koffi.struct('PGoauthBearerRequest', {
    openid_configuration: 'const char *',
    scope: 'const char *',
    async: 'void *',
    cleanup: 'void *',
    token: 'void *',
    user: 'void *',
  })
  const notifyType = koffi.struct('pgNotify', {
    relname: 'const char *',
    be_pid: 'int',
    extra: 'const char *',
  })

  const authDataHook = (hook: TokenHook) => (type: number, conn: bigint, data: bigint) => {
    const DEFAULT = 0
    const HANDLED = 1
    const FAILED = -1
    if (type !== PQAUTHDATA_OAUTH_BEARER_TOKEN) {
      return DEFAULT
    }
    const asked = koffi.decode(data, requestType) as Record<string, string | null>
    const token = hook(conn, {
      openidConfiguration: asked['openid_configuration'] ?? null,
      scope: asked['scope'] ?? null,
    })
    if (token === undefined) {
      return DEFAULT
    }
    if (token === null) {
      return FAILED
    }
    // Never freed: libpq wants it to stay until the connection is made, and the process is short.
    const bytes = Buffer.from(`${token}\0`, 'utf8')
    const memory: unknown = koffi.alloc('uint8_t', bytes.length)
    koffi.encode(memory, 'uint8_t', bytes, bytes.length)
    koffi.encode(data, koffi.offsetof(requestType, 'token'), 'void *', memory)
    return HANDLED
  }

  return {
    ...functions,
    waitForSocket: (socket, direction, ms) =>
      new Promise((resolve) => {
        const end = Number(functions.PQgetCurrentTimeUSec()) + ms * 1000
        const read = direction === 'write' ? 0 : 1
        const write = direction === 'read' ? 0 : 1
        socketPoll.async(socket, read, write, end, () => resolve())
      }),
    cancelBlocking: (cancel) =>
      new Promise((resolve) => {
        cancelBlocking.async(cancel, (_error: unknown, sent: number) => resolve(sent === 1))
      }),
    setTokenHook: (hook) =>
      functions.PQsetAuthDataHook(koffi.register(authDataHook(hook), koffi.pointer(hookType))),
    noticeProcessor: (listener) => koffi.register(listener, koffi.pointer(noticeType)),
    bytesAt: (pointer, length) => Buffer.from(new Uint8Array(koffi.view(pointer, length))),
    notificationAt: (pointer) => {
      const { relname, be_pid, extra } = koffi.decode(pointer, notifyType) as {
        relname: string
        be_pid: number
        extra: string
      }
      return { channel: relname, pid: be_pid, payload: extra }
    },
  }
}
