/**
 * A request as the policy of one issuer sees it.
 *
 * @module
 */
import type { ValidationRequest } from 'pgbearer/validator'

/** The same request with another issuer; its token stays out of sight, as in the host's. */
export function forIssuer<Options>(
  request: ValidationRequest<Options>,
  issuer: string,
): ValidationRequest<Options> {
  const { role, scope, options, delegateIdentMapping, connection } = request
  const other = { role, issuer, scope, options, delegateIdentMapping, connection }
  return Object.defineProperty(other, 'token', {
    get: () => request.token,
    enumerable: false,
  }) as ValidationRequest<Options>
}
