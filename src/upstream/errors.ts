/** What can go wrong behind: the client reads a sentence without names, the log reads the cause. @module */
import type { Buffer } from 'node:buffer'
import { ReportError, UpstreamError } from '../errors.ts'
import { parseErrorFields } from '../protocol/error-response.ts'

/** Stable words for the log. */
export type UpstreamFailure =
  | 'settings'
  | 'connect_failed'
  | 'connect_timeout'
  | 'tls_refused'
  | 'tls_failed'
  | 'protocol_violation'
  | 'closed'
  | 'no_credential'
  | 'method_not_allowed'
  | 'method_not_supported'
  | 'channel_binding'
  | 'server_not_authenticated'
  | 'insecure_transport'
  | 'token_unavailable'

/** No usable connection came about. */
export function connectError(
  reason: UpstreamFailure,
  logDetail: string,
  cause?: unknown,
): UpstreamError {
  return new UpstreamError('could not connect to the database server', {
    reason,
    logDetail,
    cause,
  })
}

/** There is a connection, but it does not become a session. */
export function loginError(
  reason: UpstreamFailure,
  logDetail: string,
  cause?: unknown,
): UpstreamError {
  return new UpstreamError('could not log in to the database server', { reason, logDetail, cause })
}

/** The server sent an ErrorResponse before the session was ready. `bytes` are what it sent. */
export class UpstreamRefusedError extends ReportError {
  readonly code = 'ERR_UPSTREAM_REFUSED'
  /** The server's own SQLSTATE. */
  readonly sqlState: string
  /** Whole messages for the client, as they came: any notices, then the ErrorResponse. */
  readonly bytes: Buffer
  /** True where the server had not yet accepted the login. */
  readonly beforeAuthenticationOk: boolean
  /** True where the server had been sent a token. */
  readonly tokenWasSent: boolean

  /**
   * @param body - of the ErrorResponse.
   * @param bytes - the same message whole, behind the notices that came before it.
   */
  constructor(body: Buffer, bytes: Buffer, beforeAuthenticationOk: boolean, tokenWasSent = false) {
    const fields = parseErrorFields(body)
    const detail = fields.get('D')
    const hint = fields.get('H')
    super(fields.get('M') ?? 'the server sent an error without a message', {
      ...(detail === undefined ? {} : { detail }),
      ...(hint === undefined ? {} : { hint }),
      logDetail: 'the server behind refused the login',
      reason: 'refused',
    })
    this.sqlState = fields.get('C') ?? 'XX000'
    this.bytes = bytes
    this.beforeAuthenticationOk = beforeAuthenticationOk
    this.tokenWasSent = tokenWasSent
  }
}
