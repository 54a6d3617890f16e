/**
 * What the log says of the error that ended a connection.
 *
 * @module
 */
import { ReportError } from './errors.ts'
import type { Log } from './log.ts'

/** Writes both faces of an error, the client's and the log's, as one line (and one for a cause of its own). */
export function logReport(error: ReportError, log: Log): void {
  const cause = error.cause instanceof ReportError ? error.cause : undefined
  if (cause?.audience === 'log') {
    log.log(cause.message, { code: cause.code, sqlState: cause.sqlState })
  }
  const severity = error.audience === 'log' && error.sqlState === '08P01' ? 'log' : 'fatal'
  log[severity](error.message, {
    code: error.code,
    sqlState: error.sqlState,
    reason: error.reason,
    detail: [error.detail, error.logDetail].filter(Boolean).join('\n') || undefined,
    hint: error.hint,
    ...error.logFields,
  })
}
