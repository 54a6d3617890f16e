/**
 * What an OAUTHBEARER client says (RFC 7628 §3.1).
 *
 * @module
 */
import { Buffer } from 'node:buffer'
import { OAuthProtocolError } from '../errors.ts'
import { bearerTokenFault } from '../token/bearer-token.ts'

/** The name on the wire. */
export const OAUTHBEARER = 'OAUTHBEARER'

/** The lone kvsep that answers a failure (RFC 7628 §3.2.3). */
export const KVSEP: Buffer = Buffer.from([1])

/**
 * The initial response with a token.
 *
 * @throws OAuthProtocolError if the token could not travel; nothing of it is in the error.
 */
export function tokenResponse(accessToken: string): Buffer {
  const fault = bearerTokenFault(accessToken)
  if (fault !== undefined) {
    throw new OAuthProtocolError(fault)
  }
  return Buffer.from(`n,,\u0001auth=Bearer ${accessToken}\u0001\u0001`, 'latin1')
}

/** The initial response without one: asks the server where tokens come from (§4.3). */
export function discoveryResponse(): Buffer {
  return Buffer.from('n,,\u0001auth=\u0001\u0001', 'latin1')
}
