/**
 * What a statement gave, copied out of a `PGresult`.
 *
 * @module
 */
import {
  type Libpq,
  PG_DIAG_MESSAGE_DETAIL,
  PG_DIAG_MESSAGE_PRIMARY,
  PG_DIAG_SQLSTATE,
  PGRES_COMMAND_OK,
  PGRES_EMPTY_QUERY,
  PGRES_TUPLES_OK,
  type Pointer,
} from './libpq-binding.ts'

/** A row in text form; NULL is null. */
export type LibpqRow = readonly (string | null)[]

/** What one statement gave. */
export interface LibpqResult {
  readonly ok: boolean
  /** The whole text of the error, as psql prints it; empty where there is none. */
  readonly error: string
  readonly sqlState: string | undefined
  readonly message: string | undefined
  readonly detail: string | undefined
  /** Such as `INSERT 0 1`. */
  readonly command: string
  readonly fields: readonly string[]
  readonly rows: readonly LibpqRow[]
  /** What COPY TO STDOUT sent. */
  readonly copied?: Uint8Array
}

/** Reads a result and frees it. */
export function takeResult(pq: Libpq, result: Pointer): LibpqResult {
  const status = pq.PQresultStatus(result)
  const fields = Array.from({ length: pq.PQnfields(result) }, (_, field) => field)
  const value = (row: number, field: number): string | null =>
    pq.PQgetisnull(result, row, field) === 1 ? null : pq.PQgetvalue(result, row, field)
  const taken: LibpqResult = {
    ok: [PGRES_EMPTY_QUERY, PGRES_COMMAND_OK, PGRES_TUPLES_OK].includes(status),
    error: pq.PQresultErrorMessage(result),
    sqlState: pq.PQresultErrorField(result, PG_DIAG_SQLSTATE) ?? undefined,
    message: pq.PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) ?? undefined,
    detail: pq.PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL) ?? undefined,
    command: pq.PQcmdStatus(result),
    fields: fields.map((field) => pq.PQfname(result, field)),
    rows: Array.from({ length: pq.PQntuples(result) }, (_, row) =>
      fields.map((field) => value(row, field)),
    ),
  }
  pq.PQclear(result)
  return taken
}

/** The result of a statement that could not even be sent. */
export function failure(error: string): LibpqResult {
  return {
    ok: false,
    error,
    sqlState: undefined,
    message: undefined,
    detail: undefined,
    command: '',
    fields: [],
    rows: [],
  }
}
