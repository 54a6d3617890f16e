/**
 * What can go wrong on the client side. Each class has a `code` that never changes; match on that.
 * No message, field or cause made here holds a token or a part of one.
 *
 * @module
 */

interface ErrorCause {
  readonly cause?: unknown
}

abstract class ClientError extends Error {
  abstract readonly code: string

  constructor(message: string, options: ErrorCause = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = new.target.name
  }
}

/** The token callback threw, rejected, or returned something that is no credential. */
export class TokenCallbackError extends ClientError {
  readonly code = 'ERR_TOKEN_CALLBACK'
}

/** The token callback took too long, or said so itself with `request.timedOut()`. */
export class TokenTimeoutError extends ClientError {
  readonly code = 'ERR_TOKEN_TIMEOUT'
}

/** Options that contradict each other or miss something; found before anything is sent. */
export class TokenConfigError extends ClientError {
  readonly code = 'ERR_TOKEN_CONFIG'
}

/** The connection is not one that a token may travel on; the token callback was not asked. */
export class InsecureTransportError extends ClientError {
  readonly code = 'ERR_INSECURE_TRANSPORT'
}

/** The server broke RFC 7628 or PostgreSQL's protocol, or asked for something that is not allowed. */
export class OAuthProtocolError extends ClientError {
  readonly code = 'ERR_OAUTH_PROTOCOL'
}

/** The server could not be reached, or went away during the login. */
export class OAuthConnectionError extends ClientError {
  readonly code = 'ERR_OAUTH_CONNECTION'
  /** What was being done: `connect`, `tls`, `startup`, `authentication`, … */
  readonly step: string

  constructor(message: string, options: { readonly step: string; readonly cause?: unknown }) {
    super(message, options)
    this.step = options.step
  }
}

/** The fields of a PostgreSQL ErrorResponse that a program looks at, and its bytes. */
export interface ServerError {
  readonly severity: string
  readonly sqlState: string
  readonly message: string
  readonly detail: string | undefined
  readonly hint: string | undefined
  /** The whole message as the server sent it, type byte included. */
  readonly bytes: Uint8Array
}

/** The server ended the login with an ErrorResponse that is not about the token. */
export class ServerRefusedError extends ClientError {
  readonly code = 'ERR_SERVER_REFUSED'
  readonly sqlState: string
  declare readonly server: ServerError

  constructor(server: ServerError) {
    super(server.message)
    this.sqlState = server.sqlState
    Object.defineProperty(this, 'server', { value: server })
  }
}

/** What the server's error challenge said (RFC 7628 §3.2.2). */
export interface RejectionChallenge {
  readonly status: string
  readonly scope: string | undefined
  readonly discoveryUrl: string | undefined
}

/** The server refused the token. */
export class TokenRejectedError extends ClientError {
  readonly code = 'ERR_TOKEN_REJECTED'
  readonly status: string
  readonly scope: string | undefined
  readonly discoveryUrl: string | undefined
  readonly sqlState: string
  declare readonly server: ServerError

  constructor(challenge: RejectionChallenge, server: ServerError) {
    super(
      challenge.status === 'invalid_token'
        ? server.message
        : `${server.message} (server rejected OAuth bearer token: ${challenge.status})`,
    )
    this.status = challenge.status
    this.scope = challenge.scope
    this.discoveryUrl = challenge.discoveryUrl
    this.sqlState = server.sqlState
    Object.defineProperty(this, 'server', { value: server })
  }
}

/** An authorization server refused a grant, or answered with something unusable. */
export class OAuthGrantError extends ClientError {
  readonly code = 'ERR_OAUTH_GRANT'
  /** RFC 6749 §5.2 `error`, where the server gave one. */
  readonly error: string | undefined
  readonly status: number | undefined

  constructor(
    message: string,
    options: {
      readonly error?: string | undefined
      readonly status?: number | undefined
      readonly cause?: unknown
    } = {},
  ) {
    super(message, options)
    this.error = options.error
    this.status = options.status
  }
}

export type AnyClientError =
  | TokenCallbackError
  | TokenTimeoutError
  | TokenConfigError
  | InsecureTransportError
  | OAuthProtocolError
  | OAuthConnectionError
  | ServerRefusedError
  | TokenRejectedError
  | OAuthGrantError

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
