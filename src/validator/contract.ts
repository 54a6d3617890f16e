/**
 * The validator contract: PostgreSQL's `OAuthValidatorCallbacks` (`src/include/libpq/oauth.h`) with
 * TypeScript's manners. A module is its callbacks; only `apiVersion` and `validate` are required.
 *
 * @module
 */

export type Awaitable<T> = T | PromiseLike<T>

/** The only version of this contract so far (PostgreSQL's `PG_OAUTH_VALIDATOR_MAGIC`). */
export const API_VERSION = 1

/** The part of a Standard Schema (https://standardschema.dev) that options need; any zod schema is one. */
export interface StandardSchema<Output = unknown> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => Awaitable<
      | { readonly value: Output; readonly issues?: undefined }
      | {
          readonly issues: readonly {
            readonly message: string
            readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
          }[]
        }
    >
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined
  }
}

/** The log of a module: every line names the module. Never hand it a token. */
export interface ValidatorLog {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void
  log(message: string, fields?: Readonly<Record<string, unknown>>): void
  warning(message: string, fields?: Readonly<Record<string, unknown>>): void
}

/** One per connection, made by the host before `startup` and dropped after `shutdown`. */
export interface ValidatorState<PrivateData = unknown> {
  /** The module's own (PostgreSQL's `private_data`); `undefined` until `startup` sets it. */
  privateData: PrivateData
  readonly log: ValidatorLog
  /** Aborts at the login deadline, when the client leaves and when the connection ends, before `shutdown`. */
  readonly signal: AbortSignal
  /** pgbearer's version, such as `0.1.0` (PostgreSQL's `sversion`). */
  readonly hostVersion: string
}

/** Who is asking, as far as the socket and the startup packet say. */
export interface ConnectionInfo {
  /** Unique in the life of the process; the same as in the log. */
  readonly id: string
  readonly database: string
  /** Numeric address, or undefined for a Unix socket. */
  readonly clientAddress: string | undefined
  readonly tls: boolean
}

/** What `validate` is asked. Printing it, spreading it or serialising it leaves the token out. */
export interface ValidationRequest<Options = Readonly<Record<string, string>>> {
  /** Syntactically well-formed (RFC 6750 b64token, at most 65497 bytes); nothing else was checked. */
  readonly token: string
  /** The role asked for in the startup packet. */
  readonly role: string
  /** The rule's `issuer`, as written. */
  readonly issuer: string
  /** The rule's `scope`, split at blanks. */
  readonly scope: readonly string[]
  /** The rule's `validator.*` options, checked when the rules were loaded. */
  readonly options: Options
  /** True: the module alone decides whether this token may be this role (no user map is consulted). */
  readonly delegateIdentMapping: boolean
  readonly connection: ConnectionInfo
}

/** What `validate` answers. All of it must be properties of the object's own; each is read once. */
export interface ValidatorResult {
  /** Lets the client in only if it is exactly `true` (and the user map agrees). */
  readonly authorized: boolean
  /**
   * Who the token belongs to; the input of the user map. Logged also on refusal. Absent or null means
   * anonymous, which logs in only under `delegate_ident_mapping`. At most 1024 bytes of UTF-8, without
   * control characters and without the token; anything else is an internal error.
   */
  readonly authnId?: string | null | undefined
  /** Why not, for the log only (PostgreSQL 19's `error_detail`). Never a token or a part of one. */
  readonly errorDetail?: string | undefined
  /** When the token stops being valid, in seconds since 1970 (a JWT's `exp`); before the year 10000. */
  readonly expiresAt?: number | undefined
  /** A stable word for the log, such as `expired` or `wrong_audience`. */
  readonly code?: string | undefined
}

/**
 * A validator module.
 *
 * - `startup` runs at the client's first SASL message, also for a discovery request.
 * - `validate` runs at most once per connection, never for discovery or a malformed token. `false`, a
 *   throw, a rejection or another shape is an internal error: the login fails, the client learns nothing.
 * - `shutdown` runs exactly once for every `startup` that succeeded, however the connection ends.
 *
 * @example
 * ```ts
 * export const apiVersion = 1
 * export function validate(state, request) {
 *   return { authorized: request.token === 'open-sesame', authnId: 'ali' }
 * }
 * ```
 */
export interface ValidatorModule<
  PrivateData = unknown,
  Options = Readonly<Record<string, string>>,
> {
  readonly apiVersion: typeof API_VERSION
  startup?(state: ValidatorState<PrivateData>): Awaitable<void>
  validate(
    state: ValidatorState<PrivateData>,
    request: ValidationRequest<Options>,
  ): Awaitable<ValidatorResult | false>
  shutdown?(state: ValidatorState<PrivateData>): Awaitable<void>
  /** The names allowed after `validator.` in a rule, or a schema for them. Default: none. */
  readonly options?: readonly string[] | StandardSchema<Options>
  /** Ends what lives as long as the process: key sets, HTTP agents. */
  [Symbol.asyncDispose]?(): PromiseLike<void>
}

/** A module as the loader holds it, whatever its state and options are. */
// oxlint-disable-next-line typescript/no-explicit-any -- the one place where the types of a module are erased
export type AnyValidatorModule = ValidatorModule<any, any>

/**
 * A rule that names the validator, as far as it is known when the module is loaded. A module that could
 * never serve it says so then: a throw of the init function stops a start, and leaves a reload without effect.
 */
export interface ValidatorRule {
  /** Where the rule stands, for messages: `pg_hba.conf:12`. */
  readonly place: string
  /** As written. */
  readonly issuer: string
  /** Split at blanks. */
  readonly scope: readonly string[]
  /** True: no user map is consulted for this rule, the module alone decides about the role. */
  readonly delegateIdentMapping: boolean
  /** The rule's `validator.*`, as written: what the module's own `options` say of them is checked later. */
  readonly options: Readonly<Record<string, string>>
}

/** What an init function is told besides its settings. */
export interface ValidatorContext {
  /** The name in `oauth_validator_libraries`. */
  readonly name: string
  readonly log: ValidatorLog
  /** The directory of the settings file: relative paths in settings start here. */
  readonly baseDirectory: string
  /** The issuers of the rules that name this validator, so that keys can be fetched before a login. */
  readonly issuers: readonly string[]
  /** These rules, in the order of the file. Empty where no rule names this validator. */
  readonly rules: readonly ValidatorRule[]
  /**
   * True where nobody will log in (`pgbearer check`): check the settings and the files that they name, and ask
   * nobody over the network. Such a module is disposed of without a validation.
   */
  readonly checkOnly?: boolean
}

/**
 * A module that needs settings default-exports this (PostgreSQL's `_PG_oauth_validator_module_init`).
 * It gets its `[validators.<name>]` table as written; a throw stops a start.
 */
export type ValidatorInit = (
  settings: Readonly<Record<string, unknown>>,
  context: ValidatorContext,
) => Awaitable<AnyValidatorModule>

/** Returns its argument: exists so that `privateData` and `options` are inferred. */
export function defineValidator<PrivateData, Options = Readonly<Record<string, string>>>(
  module: ValidatorModule<PrivateData, Options>,
): ValidatorModule<PrivateData, Options> {
  return module
}
