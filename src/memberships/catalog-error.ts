/** Why the catalog could not be read; only the log ever hears of it. @module */
import { UpstreamError } from '../errors.ts'

export function catalogError(
  reason: 'protocol_violation' | 'closed' | 'refused' | 'encoding',
  logDetail: string,
): UpstreamError {
  return new UpstreamError('could not read role memberships', { reason, logDetail })
}
