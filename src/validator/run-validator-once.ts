/**
 * One module alone for one token: the engine of `pgbearer check-validator`. No socket, no rules file, no
 * user map.
 *
 * @module
 */
import type { Log } from '../log.ts'
import { openValidatorSession } from './host.ts'
import type { LoadedValidator } from './loaded-validator.ts'
import type { ValidationOutcome, ValidatorFault } from './validation-outcome.ts'
import { checkValidatorOptions, type ValidatorOptionError } from './validator-options.ts'
import { ValidatorFaultError } from './validator-session.ts'

/** What would come from a rule, a startup packet and a client. */
export interface ValidatorTrial {
  readonly token: string
  readonly role: string
  /** Default: empty. */
  readonly issuer?: string
  /** Separated by blanks. Default: empty. */
  readonly scope?: string
  /** By the name after `validator.`. Default: none. */
  readonly options?: ReadonlyMap<string, string>
  /** Default: false. */
  readonly delegateIdentMapping?: boolean
  /** Default: the role, as PostgreSQL does. */
  readonly database?: string
  /** Default: undefined, a Unix socket. */
  readonly clientAddress?: string
  readonly log: Log
  /** Aborting it with a `TimeoutError` is the login deadline. */
  readonly signal: AbortSignal
}

/** How long each callback took, in milliseconds; undefined where it did not run. */
export interface ValidatorTimings {
  readonly startupMs: number | undefined
  readonly validateMs: number | undefined
  readonly shutdownMs: number | undefined
}

/** How a trial ended. */
export type ValidatorTrialResult = { readonly timings: ValidatorTimings } & (
  | { readonly kind: 'options_refused'; readonly errors: readonly ValidatorOptionError[] }
  /** No b64token of RFC 6750 or too long: PostgreSQL does not ask a module then, nor do we. */
  | { readonly kind: 'malformed_token' }
  | {
      readonly kind: 'startup_failed'
      readonly reason: ValidatorFault
      readonly logDetail: string
    }
  | { readonly kind: 'validated'; readonly outcome: ValidationOutcome }
)

/** The longest token that fits into a SASLInitialResponse (`PG_MAX_AUTH_TOKEN_LENGTH`). */
export const MAX_BEARER_TOKEN_LENGTH = 65_497

// auth-oauth.c, validate_token_format(): RFC 6750 section 2.1, and "=" alone is let through.
const B64TOKEN = /^[A-Za-z0-9._~+/-]*=*$/

/**
 * Runs startup, validate and shutdown once, and measures them.
 *
 * @example
 * ```ts
 * const trial = await runValidatorOnce(loaded, { token, role: 'ali', log, signal })
 * ```
 */
export async function runValidatorOnce(
  loaded: LoadedValidator,
  trial: ValidatorTrial,
): Promise<ValidatorTrialResult> {
  const checked = await checkValidatorOptions(loaded, trial.options ?? new Map())
  if (checked.errors !== undefined) {
    return { kind: 'options_refused', errors: checked.errors, timings: NOTHING_RAN }
  }
  if (!isBearerToken(trial.token)) {
    return { kind: 'malformed_token', timings: NOTHING_RAN }
  }
  return runSession(loaded, trial, checked.options)
}

const NOTHING_RAN: ValidatorTimings = Object.freeze({
  startupMs: undefined,
  validateMs: undefined,
  shutdownMs: undefined,
})

function isBearerToken(token: string): boolean {
  return token !== '' && token.length <= MAX_BEARER_TOKEN_LENGTH && B64TOKEN.test(token)
}

async function runSession(
  loaded: LoadedValidator,
  trial: ValidatorTrial,
  options: unknown,
): Promise<ValidatorTrialResult> {
  const session = openValidatorSession(loaded, {
    connection: {
      id: 'trial',
      database: trial.database ?? trial.role,
      clientAddress: trial.clientAddress,
      tls: false,
    },
    log: trial.log,
    signal: trial.signal,
  })
  const startup = await timed(session.startup())
  if (!startup.ok) {
    await session.shutdown()
    const fault = asFault(startup.error)
    const timings = { ...NOTHING_RAN, startupMs: startup.ms }
    return { kind: 'startup_failed', reason: fault.reason, logDetail: fault.logDetail, timings }
  }
  const validate = await timed(
    session.validate({
      token: trial.token,
      role: trial.role,
      issuer: trial.issuer ?? '',
      scope: trial.scope ?? '',
      options,
      delegateIdentMapping: trial.delegateIdentMapping ?? false,
    }),
  )
  const shutdown = await timed(session.shutdown())
  if (!validate.ok) {
    throw validate.error
  }
  const timings = { startupMs: startup.ms, validateMs: validate.ms, shutdownMs: shutdown.ms }
  return { kind: 'validated', outcome: validate.value, timings }
}

type Timed<T> =
  | { readonly ok: true; readonly value: T; readonly ms: number }
  | { readonly ok: false; readonly error: unknown; readonly ms: number }

async function timed<T>(work: Promise<T>): Promise<Timed<T>> {
  const began = performance.now()
  try {
    const value = await work
    return { ok: true, value, ms: performance.now() - began }
  } catch (error) {
    return { ok: false, error, ms: performance.now() - began }
  }
}

function asFault(error: unknown): ValidatorFaultError {
  if (error instanceof ValidatorFaultError) {
    return error
  }
  throw error
}
