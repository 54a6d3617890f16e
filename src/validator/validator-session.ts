/**
 * One module at work for one connection, as the steps of a login see it.
 *
 * @module
 */
import type { Log } from '../log.ts'
import type { ConnectionInfo } from './contract.ts'
import type { ValidationOutcome, ValidatorFault } from './validation-outcome.ts'
import type { ValidationInput } from './validation-request.ts'

/** How long the end of a connection waits for a module: for a startup that is under way and for `shutdown`. */
export const SHUTDOWN_TIMEOUT_MS = 5000
/** How long `shutdown` is held back for a `validate` that was cancelled and has not settled. */
export const SETTLE_GRACE_MS = 1000

/** What a session is made of. */
export interface ValidatorSessionOptions {
  readonly connection: ConnectionInfo
  /** The session adds `validator` and `connection` to every line. */
  readonly log: Log
  /** Login deadline (reason: a `TimeoutError` or `AuthenticationTimeoutError`), client gone, shutdown. */
  readonly signal: AbortSignal
}

/** One module at work for one connection. */
export interface ValidatorSession {
  /**
   * Call it at the client's first SASL message, once.
   *
   * @throws ValidatorFaultError when the module fails: the login fails, the client learns nothing.
   */
  startup(): Promise<void>
  /**
   * Call it at most once, after `startup`, and never for discovery or a malformed token. Rejects only with a
   * TypeError, for a call out of order.
   */
  validate(input: ValidationInput): Promise<ValidationOutcome>
  /**
   * Call it when the connection ends, however it ends and whatever came before; again does nothing.
   * Never rejects, and waits for at most {@link SHUTDOWN_TIMEOUT_MS}.
   */
  shutdown(): Promise<void>
}

/** A module failed before there was a token to validate. For the log; the client learns nothing of it. */
export class ValidatorFaultError extends Error {
  readonly code = 'ERR_VALIDATOR_FAULT'
  override readonly name = 'ValidatorFaultError'
  readonly validator: string
  readonly reason: ValidatorFault
  /** Scrubbed. */
  readonly logDetail: string

  constructor(validator: string, reason: ValidatorFault, logDetail: string) {
    super(INTERNAL_ERROR)
    this.validator = validator
    this.reason = reason
    this.logDetail = logDetail
  }
}

/** PostgreSQL's words for all of it (`auth-oauth.c`, validate()). */
export const INTERNAL_ERROR = 'internal error in OAuth validator module'
