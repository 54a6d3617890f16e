/**
 * One libpq connection, driven without blocking so that a process can have many.
 *
 * @module
 */
import {
  CONNECTION_BAD,
  CONNECTION_OK,
  type Libpq,
  PGRES_COPY_BOTH,
  PGRES_COPY_IN,
  PGRES_COPY_OUT,
  PGRES_POLLING_FAILED,
  PGRES_POLLING_OK,
  PGRES_POLLING_READING,
  PGRES_POLLING_WRITING,
  type Pointer,
  type TokenRequest,
} from './libpq-binding.ts'
import { failure, type LibpqResult, takeResult } from './libpq-result.ts'

/** What libpq knows of a connection when the login is over. */
export interface LibpqLoginReport {
  readonly ok: boolean
  /** libpq's error text, as psql prints it; empty where all went well. */
  readonly error: string
  readonly backendPid: number
  /** 30000 or 30002. */
  readonly protocolVersion: number
  readonly serverVersion: number
  /** The ParameterStatus values that a server of today sends. */
  readonly parameterStatus: Readonly<Record<string, string>>
  /** Undefined without TLS. */
  readonly tls:
    | { readonly protocol: string; readonly cipher: string; readonly alpn: string }
    | undefined
  readonly usedPassword: boolean
  /** How often, and with what, libpq asked for a token. */
  readonly tokenRequests: readonly TokenRequest[]
  readonly notices: readonly string[]
}

export interface LibpqNotification {
  readonly channel: string
  readonly pid: number
  readonly payload: string
}

// How long a wait for the socket lasts before it is looked at again whether anybody still wants it.
const SLICE_MS = 200

const PARAMETERS = [
  'application_name',
  'client_encoding',
  'DateStyle',
  'default_transaction_read_only',
  'in_hot_standby',
  'integer_datetimes',
  'IntervalStyle',
  'is_superuser',
  'scram_iterations',
  'search_path',
  'server_encoding',
  'server_version',
  'session_authorization',
  'standard_conforming_strings',
  'TimeZone',
] as const

/** A connection in the making or made. */
export class Connection {
  readonly #pq: Libpq
  readonly #conn: bigint
  readonly #notices: string[] = []
  readonly #tokenRequests: TokenRequest[] = []
  readonly #notifications: LibpqNotification[] = []
  #closed = false

  /** @throws {Error} where libpq has no memory. */
  constructor(pq: Libpq, conninfo: string) {
    const conn = pq.PQconnectStart(conninfo)
    if (conn === null) {
      throw new Error('libpq is out of memory')
    }
    this.#pq = pq
    this.#conn = conn
  }

  /** Identifies it to libpq's hook. */
  get address(): bigint {
    return this.#conn
  }

  addTokenRequest(request: TokenRequest): void {
    this.#tokenRequests.push(request)
  }

  addNotice(message: string): void {
    this.#notices.push(message)
  }

  /** The notices since the last time. */
  takeNotices(): string[] {
    return this.#notices.splice(0)
  }

  /** Logs in; a failed connection is closed already. */
  async login(): Promise<LibpqLoginReport> {
    const pq = this.#pq
    // Before the first poll the socket has to be ready for writing (libpq's manual, PQconnectPoll).
    let state =
      pq.PQstatus(this.#live) === CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING
    while (state !== PGRES_POLLING_OK && state !== PGRES_POLLING_FAILED && !this.#closed) {
      await this.#wait(state === PGRES_POLLING_READING ? 'read' : 'write')
      state = pq.PQconnectPoll(this.#live)
    }
    const report = this.#report()
    if (report.ok) {
      pq.PQsetnonblocking(this.#live, 1)
    } else {
      this.close()
    }
    return report
  }

  /** Runs SQL, which may be several statements where there are no parameters. */
  async execute(
    sql: string,
    parameters: readonly (string | null)[] | undefined,
    copyIn: readonly Uint8Array[],
  ): Promise<LibpqResult[]> {
    const pq = this.#pq
    const sent =
      parameters === undefined
        ? pq.PQsendQuery(this.#live, sql)
        : pq.PQsendQueryParams(this.#live, sql, parameters.length, null, parameters, null, null, 0)
    if (sent !== 1) {
      return [failure(pq.PQerrorMessage(this.#live))]
    }
    await this.#flush()
    const results: LibpqResult[] = []
    for (;;) {
      const result = await this.#nextResult()
      if (result === null) {
        return results
      }
      const status = pq.PQresultStatus(result)
      if (status === PGRES_COPY_IN) {
        pq.PQclear(result)
        await this.#copyIn(copyIn)
      } else if (status === PGRES_COPY_OUT || status === PGRES_COPY_BOTH) {
        results.push({ ...takeResult(pq, result), ok: true, copied: await this.#copyOut() })
      } else {
        results.push(takeResult(pq, result))
      }
    }
  }

  /** The first notifications there are; waits for one. */
  async notifications(): Promise<LibpqNotification[]> {
    while (!this.#closed) {
      this.#collectNotifications()
      if (this.#notifications.length > 0) {
        return this.#notifications.splice(0)
      }
      await this.#wait('read')
      if (this.#pq.PQconsumeInput(this.#live) !== 1) {
        throw new Error(this.#pq.PQerrorMessage(this.#live))
      }
    }
    throw new Error('the connection was closed')
  }

  /** Sends a cancel request on a connection of its own. @returns libpq's error text, or an empty one. */
  async cancel(): Promise<string> {
    const cancel = this.#pq.PQcancelCreate(this.#live)
    const sent = await this.#pq.cancelBlocking(cancel)
    const error = sent ? '' : this.#pq.PQcancelErrorMessage(cancel)
    this.#pq.PQcancelFinish(cancel)
    return error
  }

  /** Says goodbye and closes; what waits for this connection fails. */
  close(): void {
    if (!this.#closed) {
      this.#closed = true
      this.#pq.PQfinish(this.#conn)
    }
  }

  /** The C side, as long as it is there: it may have been freed during any `await`. */
  get #live(): bigint {
    if (this.#closed) {
      throw new Error('the connection was closed')
    }
    return this.#conn
  }

  async #wait(direction: 'read' | 'write' | 'both'): Promise<void> {
    await this.#pq.waitForSocket(this.#pq.PQsocket(this.#live), direction, SLICE_MS)
  }

  async #flush(): Promise<void> {
    const MORE = 1
    while (this.#pq.PQflush(this.#live) === MORE) {
      await this.#wait('both')
      this.#pq.PQconsumeInput(this.#live)
    }
  }

  async #nextResult(): Promise<Pointer> {
    // Once the server is gone, PQgetResult gives the error without further reading.
    while (this.#pq.PQisBusy(this.#live) === 1) {
      await this.#wait('read')
      if (this.#pq.PQconsumeInput(this.#live) !== 1) {
        break
      }
    }
    return this.#pq.PQgetResult(this.#live)
  }

  async #copyIn(chunks: readonly Uint8Array[]): Promise<void> {
    const WOULD_BLOCK = 0
    for (const chunk of chunks) {
      while (this.#pq.PQputCopyData(this.#live, chunk, chunk.length) === WOULD_BLOCK) {
        await this.#flush()
      }
    }
    while (this.#pq.PQputCopyEnd(this.#live, null) === WOULD_BLOCK) {
      await this.#flush()
    }
    await this.#flush()
  }

  async #copyOut(): Promise<Buffer> {
    const chunks: Buffer[] = []
    for (;;) {
      const at: [Pointer] = [null]
      const length = this.#pq.PQgetCopyData(this.#live, at, 1)
      if (length < 0) {
        return Buffer.concat(chunks)
      }
      if (length === 0) {
        await this.#wait('read')
        this.#pq.PQconsumeInput(this.#live)
      } else {
        chunks.push(this.#pq.bytesAt(at[0], length))
        this.#pq.PQfreemem(at[0])
      }
    }
  }

  #collectNotifications(): void {
    for (;;) {
      const notification = this.#pq.PQnotifies(this.#live)
      if (notification === null) {
        return
      }
      this.#notifications.push(this.#pq.notificationAt(notification))
      this.#pq.PQfreemem(notification)
    }
  }

  #report(): LibpqLoginReport {
    const pq = this.#pq
    const conn = this.#live
    const parameterStatus: Record<string, string> = {}
    for (const name of PARAMETERS) {
      const value = pq.PQparameterStatus(conn, name)
      if (value !== null) {
        parameterStatus[name] = value
      }
    }
    const attribute = (name: string): string => pq.PQsslAttribute(conn, name) ?? ''
    return {
      ok: pq.PQstatus(conn) === CONNECTION_OK,
      error: pq.PQerrorMessage(conn),
      backendPid: pq.PQbackendPID(conn),
      protocolVersion: pq.PQfullProtocolVersion(conn),
      serverVersion: pq.PQserverVersion(conn),
      parameterStatus,
      tls:
        pq.PQsslInUse(conn) === 1
          ? {
              protocol: attribute('protocol'),
              cipher: attribute('cipher'),
              alpn: attribute('alpn'),
            }
          : undefined,
      usedPassword: pq.PQconnectionUsedPassword(conn) === 1,
      tokenRequests: [...this.#tokenRequests],
      notices: this.takeNotices(),
    }
  }
}
