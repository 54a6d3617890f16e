/**
 * What came of one validation, read from whatever a module returned.
 *
 * A module's answer is foreign: every property is read once, must be the object's own (so that a polluted
 * `Object.prototype` decides nothing) and must have the type of the contract. Anything else is an
 * internal error.
 *
 * @module
 */
import { describeThrown } from './describe-thrown.ts'
import { containsToken, type Secrets, scrubText } from './scrub.ts'

/**
 * The longest identity, in bytes of UTF-8. OpenID Connect allows 255 characters for `sub`; names of
 * directories are longer.
 */
export const MAX_AUTHN_ID_BYTES = 1024
/** The end of the year 9999, in seconds since 1970: later is a module that counts milliseconds. */
export const MAX_EXPIRES_AT = 253_402_300_799
/** The longest `code` of a result. */
export const MAX_CODE_LENGTH = 64

const VALIDATOR_FAULTS = [
  /** `validate` returned false. */
  'returned_false',
  /** A callback threw or rejected. */
  'threw',
  /** The answer has another shape than the contract's. */
  'bad_result',
  /** The identity is no string, too long, ill-formed, has control characters or the token in it. */
  'bad_authn_id',
  /** Silence past the deadline. */
  'timeout',
  /** The client left or the server shuts down. */
  'aborted',
  /** As many validations as the module may have are running and waiting. */
  'overloaded',
  /** The module's worker ended. */
  'crashed',
  /** The module's workers end so often that it is left alone for a while. */
  'fenced',
] as const

/** Why the host speaks of an internal error of a module. */
export type ValidatorFault = (typeof VALIDATOR_FAULTS)[number]

/** True for a reason that there is. */
export function isValidatorFault(value: unknown): value is ValidatorFault {
  return VALIDATOR_FAULTS.some((fault) => fault === value)
}

/** An internal error that was found elsewhere: in a worker, or because there is none. */
export class RemoteFault extends Error {
  override readonly name = 'RemoteFault'
  readonly reason: ValidatorFault

  constructor(reason: ValidatorFault, message: string) {
    super(message)
    this.reason = reason
  }
}

/** The module decided. */
export interface DecidedOutcome {
  readonly kind: 'decided'
  readonly authorized: boolean
  /** Well-formed, without control characters, at most {@link MAX_AUTHN_ID_BYTES}; may be empty. */
  readonly authnId: string | undefined
  /** For the log only; scrubbed. */
  readonly errorDetail: string | undefined
  /** Seconds since 1970. */
  readonly expiresAt: number | undefined
  /** For the log only; scrubbed. */
  readonly code: string | undefined
}

/** The module failed: the login is refused, nothing of the module's answer counts. */
export interface InternalErrorOutcome {
  readonly kind: 'internal_error'
  readonly reason: ValidatorFault
  /** The module's own word for it (`code` of what it threw), such as `provider_unavailable`. */
  readonly code?: string | undefined
  /** For the log only; scrubbed. */
  readonly logDetail: string
}

/** What came of `validate`. Only `{ kind: 'decided', authorized: true }` is a yes. */
export type ValidationOutcome = DecidedOutcome | InternalErrorOutcome

/** Reads what `validate` returned. Never throws. */
export function readValidationResult(
  value: unknown,
  token: string,
  secrets: Secrets,
): ValidationOutcome {
  if (value === false) {
    return internalError('returned_false', 'validate returned false')
  }
  try {
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? readMembers(value, token, secrets)
      : internalError('bad_result', `validate returned ${kindOf(value)} instead of a result`)
  } catch (error) {
    const thrown = scrubText(describeThrown(error), secrets)
    return internalError('bad_result', `reading the result threw: ${thrown}`)
  }
}

/** An internal error with its reason. */
export function internalError(
  reason: ValidatorFault,
  logDetail: string,
  code?: string,
): InternalErrorOutcome {
  return { kind: 'internal_error', reason, logDetail, ...(code === undefined ? {} : { code }) }
}

const CODE = /^[a-z][a-z0-9_]*$/

/** The `code` of something that was thrown, where it is a word like those of results. Never throws. */
export function codeOfThrown(thrown: unknown, tokens: readonly string[]): string | undefined {
  try {
    const code: unknown = (thrown as { readonly code?: unknown } | null)?.code
    const isWord = typeof code === 'string' && code.length <= MAX_CODE_LENGTH && CODE.test(code)
    return isWord && !tokens.some((token) => token.includes(code)) ? code : undefined
  } catch {
    return undefined
  }
}

function readMembers(result: object, token: string, secrets: Secrets): ValidationOutcome {
  const authorized = own(result, 'authorized')
  const authnId = own(result, 'authnId') ?? undefined
  const errorDetail = own(result, 'errorDetail')
  const expiresAt = own(result, 'expiresAt')
  const code = own(result, 'code')

  if (typeof authorized !== 'boolean') {
    return wrongType('authorized', 'true or false', authorized)
  }
  if (errorDetail !== undefined && typeof errorDetail !== 'string') {
    return wrongType('errorDetail', 'a string', errorDetail)
  }
  if (code !== undefined && typeof code !== 'string') {
    return wrongType('code', 'a string', code)
  }
  if (expiresAt !== undefined && !isTime(expiresAt)) {
    return wrongType('expiresAt', 'a number of seconds since 1970', expiresAt)
  }
  if (authnId !== undefined && typeof authnId !== 'string') {
    return internalError('bad_authn_id', `authnId is ${kindOf(authnId)} instead of a string`)
  }
  const flaw = authnId === undefined ? undefined : flawOf(authnId, token)
  if (flaw !== undefined) {
    return internalError('bad_authn_id', `authnId ${flaw}`)
  }
  return {
    kind: 'decided',
    authorized,
    authnId,
    errorDetail: errorDetail === undefined ? undefined : scrubText(errorDetail, secrets),
    expiresAt,
    code: code === undefined ? undefined : scrubText(code, secrets, MAX_CODE_LENGTH),
  }
}

function own(result: object, key: string): unknown {
  return Object.hasOwn(result, key) ? (result as Record<string, unknown>)[key] : undefined
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value <= MAX_EXPIRES_AT
}

// Differs from PostgreSQL: it would print control characters verbatim, and match them. No provider
// issues such an identity, and a line feed in one means trouble in a log and in a map's expression.
function flawOf(authnId: string, token: string): string | undefined {
  if (authnId.length > MAX_AUTHN_ID_BYTES || Buffer.byteLength(authnId) > MAX_AUTHN_ID_BYTES) {
    return `is longer than ${MAX_AUTHN_ID_BYTES} bytes`
  }
  if (/\p{Cs}/u.test(authnId)) {
    return 'has half of a surrogate pair'
  }
  if (/\p{Cc}/u.test(authnId)) {
    return 'has a control character'
  }
  return containsToken(authnId, token) ? 'has the token in it' : undefined
}

function wrongType(member: string, wanted: string, value: unknown): InternalErrorOutcome {
  return internalError('bad_result', `${member} is ${kindOf(value)} instead of ${wanted}`)
}

function kindOf(value: unknown): string {
  if (value === null || value === undefined || typeof value === 'boolean') {
    return String(value)
  }
  if (typeof value === 'number') {
    return 'another number'
  }
  return Array.isArray(value) ? 'an array' : `a value of type ${typeof value}`
}
