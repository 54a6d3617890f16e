/**
 * What a token callback is given: the counterpart of `mongoc_oidc_callback_params_t`.
 *
 * @module
 */
import { TokenTimeoutError } from '../errors.ts'

/** The version of {@link TokenRequest}. Goes up only when fields are added; nothing is removed. */
export const TOKEN_CALLBACK_VERSION = 1

/** The server that the token is for, as the user configured it. */
export interface TokenTarget {
  /** Host name, address, or the directory of a Unix socket. */
  readonly host: string
  readonly port: number
  readonly database: string | undefined
}

/**
 * Why a token is wanted. `initial`: none is held. `expiring`: the one held has little life left.
 * `rejected`: a server refused the one held, so the same one will not do.
 */
export type TokenReason = 'initial' | 'expiring' | 'rejected'

/** The facts of a request. */
export interface TokenRequestFields<Context = unknown> {
  readonly context: Context
  /** The role in the startup packet. */
  readonly username: string | undefined
  readonly target: TokenTarget | undefined
  /** The authorization server the *user* configured and trusts. */
  readonly issuer: string | undefined
  /** What the server announced, already checked against `issuer`. */
  readonly discoveryUrl: string | undefined
  /** The user's, else the server's. */
  readonly scope: string | undefined
  readonly clientId: string | undefined
  /** From the credential that is being renewed. */
  readonly refreshToken: string | undefined
  readonly reason: TokenReason
  /** A point on `performance.now()`'s clock, in milliseconds; undefined: no deadline. */
  readonly deadline: number | undefined
  /** Fires at the deadline, and when nobody waits for the token any more. */
  readonly signal: AbortSignal
}

/** What the callback gets; frozen. Printing it leaves the refresh token out. */
export interface TokenRequest<Context = unknown> extends TokenRequestFields<Context> {
  readonly version: number
  /** Ends the call as timed out: throws {@link TokenTimeoutError}. */
  timedOut(): never
}

/**
 * Makes a request as a provider makes it, so that a callback can be tested by itself. Everything that
 * is left out is undefined; `reason` is `initial` and `signal` one that never fires.
 *
 * @example
 * ```ts
 * const credential = await myCallback(tokenRequest({ username: 'ann' }))
 * ```
 */
export function tokenRequest<Context = undefined>(
  fields: Partial<TokenRequestFields<Context>> = {},
): TokenRequest<Context> {
  const request = {
    version: TOKEN_CALLBACK_VERSION,
    context: fields.context as Context,
    username: fields.username,
    target: fields.target === undefined ? undefined : Object.freeze({ ...fields.target }),
    issuer: fields.issuer,
    discoveryUrl: fields.discoveryUrl,
    scope: fields.scope,
    clientId: fields.clientId,
    reason: fields.reason ?? 'initial',
    deadline: fields.deadline,
    signal: fields.signal ?? new AbortController().signal,
    timedOut,
  }
  Object.defineProperty(request, 'refreshToken', { value: fields.refreshToken })
  return Object.freeze(request) as unknown as TokenRequest<Context>
}

function timedOut(): never {
  throw new TokenTimeoutError('token callback was cancelled due to timeout')
}
