/**
 * The bearer token inside an `auth` value or a password (RFC 6750 §2.1).
 *
 * @module
 */

/** A token's syntax is right, or the sentence that the log gets. The token's characters are in neither. */
export type BearerToken =
  | { readonly kind: 'token'; readonly token: string }
  | { readonly kind: 'malformed'; readonly detail: string }

/*
 *   b64token    = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="
 *
 * PostgreSQL (validate_token_format() in auth-oauth.c) tolerates a token of "=" alone.
 */
const B64TOKEN = /^[A-Za-z0-9._~+/-]*=*$/

/** Reads the value of the `auth` key: `Bearer`, blanks, token. */
export function parseAuthValue(auth: string): BearerToken {
  if (!/^bearer /i.test(auth)) {
    return {
      kind: 'malformed',
      detail: 'Client response indicated a non-Bearer authentication scheme.',
    }
  }
  return parseBearerToken(auth.replace(/^.{7} */s, ''))
}

/** Checks a bare token, as it comes in a password message. */
export function parseBearerToken(token: string): BearerToken {
  if (token === '') {
    return { kind: 'malformed', detail: 'Bearer token is empty.' }
  }
  if (!B64TOKEN.test(token)) {
    return { kind: 'malformed', detail: 'Bearer token is not in the correct format.' }
  }
  return { kind: 'token', token }
}
