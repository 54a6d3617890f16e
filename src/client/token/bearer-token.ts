/**
 * The syntax of a bearer token.
 *
 * @module
 */

/**
 * The longest token that fits PostgreSQL's PG_MAX_AUTH_TOKEN_LENGTH (65535) with everything around it
 * in a SASLInitialResponse.
 */
export const MAX_BEARER_TOKEN_LENGTH = 65_497

// RFC 6750 §2.1: b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="
const B64TOKEN = /^[A-Za-z0-9\-._~+/]+=*$/

/** Why this is no bearer token, in words that hold no part of it; undefined when it is one. */
export function bearerTokenFault(token: string): string | undefined {
  if (token.length === 0) {
    return 'the access token is empty'
  }
  if (token.length > MAX_BEARER_TOKEN_LENGTH) {
    return `the access token is longer than ${MAX_BEARER_TOKEN_LENGTH} bytes`
  }
  if (!B64TOKEN.test(token)) {
    return 'the access token is not in the format of RFC 6750'
  }
  return undefined
}
