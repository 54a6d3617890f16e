/**
 * Everything that can go wrong, in two families.
 *
 * A {@link ReportError} ends one connection and has two faces: what the client reads (`message`,
 * `detail`, `hint`, `sqlState`) and what only the log adds (`logDetail`, `reason`). A
 * {@link ConfigFileError} is one line of a list for somebody with a file open. Every class has a
 * `code` that never changes; `docs/reference/errors.md` explains each.
 *
 * Programming mistakes of an embedder are plain `TypeError`s.
 *
 * @module
 */

export interface ReportOptions {
  readonly detail?: string
  readonly hint?: string
  /** For the log alone: which check, which line. Never a token or a part of one. */
  readonly logDetail?: string
  /** A stable word for the log: why, more exactly than `code` says. */
  readonly reason?: string
  /** More for the log alone, such as the rule and the identity. */
  readonly logFields?: Readonly<Record<string, unknown>>
  readonly cause?: unknown
}

/** Ends one connection. Subclasses fix `code`, `sqlState` and who hears of it. */
export abstract class ReportError extends Error {
  abstract readonly code: string
  abstract readonly sqlState: string
  /** `client`: an ErrorResponse and a log line. `log`: the client sees only the socket close. */
  readonly audience: 'client' | 'log' = 'client'
  readonly severity = 'FATAL'
  readonly detail: string | undefined
  readonly hint: string | undefined
  readonly logDetail: string | undefined
  readonly reason: string | undefined
  readonly logFields: Readonly<Record<string, unknown>>

  constructor(message: string, options: ReportOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = new.target.name
    this.detail = options.detail
    this.hint = options.hint
    this.logDetail = options.logDetail
    this.reason = options.reason
    this.logFields = options.logFields ?? {}
  }
}

/** The client broke the protocol: 08P01, told to the client. */
export class ProtocolViolationError extends ReportError {
  readonly code = 'ERR_PROTOCOL_VIOLATION'
  readonly sqlState = '08P01'
}

/** Bytes too broken to be answered (PostgreSQL's COMMERROR): 08P01, logged, then a silent close. */
export class SilentProtocolViolationError extends ReportError {
  readonly code = 'ERR_PROTOCOL_VIOLATION'
  readonly sqlState = '08P01'
  override readonly audience = 'log'
}

export class UnsupportedFeatureError extends ReportError {
  readonly code = 'ERR_UNSUPPORTED_FEATURE'
  readonly sqlState = '0A000'
}

/** A startup parameter has an impossible value: 22023. */
export class InvalidParameterError extends ReportError {
  readonly code = 'ERR_INVALID_PARAMETER'
  readonly sqlState = '22023'
}

/** No user name, or another reason to refuse before any rule is looked at: 28000. */
export class InvalidAuthorizationError extends ReportError {
  readonly code = 'ERR_INVALID_AUTHORIZATION'
  readonly sqlState = '28000'
}

export class NoHbaEntryError extends ReportError {
  readonly code = 'ERR_HBA_NO_ENTRY'
  readonly sqlState = '28000'
}

export class HbaRejectError extends ReportError {
  readonly code = 'ERR_HBA_REJECT'
  readonly sqlState = '28000'
}

/**
 * A rule asks who is a member of a role, and the server behind has not said yet: 57P03. To go on with the
 * next rule could be to skip a `reject`.
 */
export class MembershipsUnknownError extends ReportError {
  readonly code = 'ERR_MEMBERSHIPS_UNKNOWN'
  readonly sqlState = '57P03'
  override readonly reason = 'memberships_unknown'

  constructor(options: Pick<ReportOptions, 'logFields'> = {}) {
    super('the database system is not yet accepting connections', {
      ...options,
      logDetail: 'Role memberships have not been read from the server behind yet.',
    })
  }
}

/** Every refusal during OAUTHBEARER: the client reads the same sentence whatever the cause was. */
export class OAuthAuthenticationError extends ReportError {
  readonly code = 'ERR_OAUTH_AUTHENTICATION'
  readonly sqlState = '28000'

  /** @param user - the requested role, for the sentence. */
  constructor(user: string, options: ReportOptions = {}) {
    super(`OAuth bearer authentication failed for user "${user}"`, options)
  }
}

/** A token sent as a password was refused; PostgreSQL's sentence for passwords, 28P01. */
export class PasswordAuthenticationError extends ReportError {
  readonly code = 'ERR_PASSWORD_AUTHENTICATION'
  readonly sqlState = '28P01'

  /** @param user - the requested role, for the sentence. */
  constructor(user: string, options: ReportOptions = {}) {
    super(`password authentication failed for user "${user}"`, options)
  }
}

/** The client's certificate is good, but not for this role. */
export class CertificateAuthenticationError extends ReportError {
  readonly code = 'ERR_CERTIFICATE_AUTHENTICATION'
  readonly sqlState = '28000'

  /** @param method - of the rule: PostgreSQL's sentence names it. */
  constructor(user: string, method: string, options: ReportOptions = {}) {
    const named = method === 'cert' ? 'certificate' : `"${method}"`
    super(`${named} authentication failed for user "${user}"`, options)
  }
}

/** `authentication_timeout` ran out; the client sees only the close (57014 in the log). */
export class AuthenticationTimeoutError extends ReportError {
  readonly code = 'ERR_AUTHENTICATION_TIMEOUT'
  readonly sqlState = '57014'
  override readonly audience = 'log'

  constructor(options: ReportOptions = {}) {
    super('canceling authentication due to timeout', options)
  }
}

export class TooManyConnectionsError extends ReportError {
  readonly code = 'ERR_TOO_MANY_CONNECTIONS'
  readonly sqlState = '53300'

  constructor(options: ReportOptions = {}) {
    super('sorry, too many clients already', options)
  }
}

/** A login that arrives while the server shuts down: 57P03. */
export class ServerClosingError extends ReportError {
  readonly code = 'ERR_SERVER_CLOSING'
  readonly sqlState = '57P03'

  constructor(options: ReportOptions = {}) {
    super('the database system is shutting down', options)
  }
}

/** A session that is ended by a shutdown: 57P01. */
export class AdminShutdownError extends ReportError {
  readonly code = 'ERR_ADMIN_SHUTDOWN'
  readonly sqlState = '57P01'

  constructor(options: ReportOptions = {}) {
    super('terminating connection due to administrator command', options)
  }
}

/** The server behind cannot be reached or cannot be logged in to. The client learns no address. */
export class UpstreamError extends ReportError {
  readonly code = 'ERR_UPSTREAM'
  readonly sqlState = '08006'
}

/** Something that should not have happened here; the client learns nothing but XX000. */
export class InternalError extends ReportError {
  readonly code = 'ERR_INTERNAL'
  readonly sqlState = 'XX000'
}

export type AnyReportError =
  | ProtocolViolationError
  | SilentProtocolViolationError
  | UnsupportedFeatureError
  | InvalidParameterError
  | InvalidAuthorizationError
  | NoHbaEntryError
  | HbaRejectError
  | MembershipsUnknownError
  | OAuthAuthenticationError
  | PasswordAuthenticationError
  | CertificateAuthenticationError
  | AuthenticationTimeoutError
  | TooManyConnectionsError
  | ServerClosingError
  | AdminShutdownError
  | UpstreamError
  | InternalError

export interface ConfigFileErrorOptions {
  /** The file as the operator named it. */
  readonly file: string
  /** First physical line, from 1; absent where the whole file is meant. */
  readonly line?: number
  /** Default F0000, config_file_error. */
  readonly sqlState?: string
  readonly hint?: string
  readonly detail?: string
  /** PostgreSQL's views leave `error` NULL, or word it differently, for a few errors. */
  readonly viewMessage?: string | null
  readonly cause?: unknown
}

/** One thing that is wrong in one line of one configuration file. */
export class ConfigFileError extends Error {
  readonly code = 'ERR_CONFIG_FILE'
  override readonly name = 'ConfigFileError'
  readonly file: string
  readonly line: number | undefined
  readonly sqlState: string
  readonly hint: string | undefined
  readonly detail: string | undefined
  readonly viewMessage: string | null

  constructor(message: string, options: ConfigFileErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.file = options.file
    this.line = options.line
    this.sqlState = options.sqlState ?? 'F0000'
    this.hint = options.hint
    this.detail = options.detail
    this.viewMessage = options.viewMessage === undefined ? message : options.viewMessage
  }

  /** `file:line: message`, the form that editors and CI systems link. */
  get located(): string {
    const at = this.line === undefined ? this.file : `${this.file}:${this.line}`
    return `${at}: ${this.message}`
  }
}

/** All that is wrong with a configuration, in the order of the files. */
export class ConfigError extends AggregateError {
  readonly code = 'ERR_CONFIG'
  override readonly name = 'ConfigError'
  declare readonly errors: (ConfigFileError | ValidatorLoadError)[]

  constructor(errors: readonly (ConfigFileError | ValidatorLoadError)[]) {
    super(
      errors,
      errors.map((error) => ('located' in error ? error.located : error.message)).join('\n'),
    )
  }
}

export type ValidatorLoadReason =
  | 'not_found'
  | 'not_loadable'
  | 'changed'
  | 'wrong_api_version'
  | 'no_validate'
  | 'bad_shape'
  | 'unexpected_settings'
  | 'init_failed'
  | 'init_timed_out'

/** A validator module cannot be used; stops a start and leaves a reload without effect. */
export class ValidatorLoadError extends Error {
  readonly code = 'ERR_VALIDATOR_LOAD'
  override readonly name = 'ValidatorLoadError'
  /** As written in `oauth_validator_libraries`. */
  readonly validator: string
  readonly reason: ValidatorLoadReason

  constructor(
    message: string,
    options: { readonly validator: string; readonly reason: ValidatorLoadReason; cause?: unknown },
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.validator = options.validator
    this.reason = options.reason
  }
}
