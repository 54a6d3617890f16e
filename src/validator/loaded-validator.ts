/**
 * A module as the host holds it: its members read once, checked, and bound.
 *
 * @module
 */
import { ValidatorLoadError } from '../errors.ts'
import {
  API_VERSION,
  type Awaitable,
  type StandardSchema,
  type ValidationRequest,
  type ValidatorState,
} from './contract.ts'
import type { Cancellation } from './cancellation.ts'
import { describeThrown } from './describe-thrown.ts'
import type { TokensInFlight } from './tokens-in-flight.ts'
import type { Turns } from './turns.ts'

/**
 * A module's callbacks, bound to it. What they return is foreign. The cancellation is for a module that
 * is somewhere else; one that is here has `state.signal`.
 */
export interface ValidatorCallbacks {
  readonly startup: ((state: ValidatorState, cancellation: Cancellation) => unknown) | undefined
  readonly validate: (
    state: ValidatorState,
    request: ValidationRequest<unknown>,
    cancellation: Cancellation,
  ) => unknown
  readonly shutdown: ((state: ValidatorState) => unknown) | undefined
  readonly dispose: (() => Awaitable<unknown>) | undefined
}

/** What comes of loading one name of `oauth_validator_libraries`. Made by `loadValidator` only. */
export interface LoadedValidator {
  /** As written in `oauth_validator_libraries`. */
  readonly name: string
  readonly callbacks: ValidatorCallbacks
  /** The names allowed after `validator.`, or a schema for them. */
  readonly options: readonly string[] | StandardSchema
  /** Instead of `options`, for a module that is somewhere else. */
  readonly checkOptions?: (raw: ReadonlyMap<string, string>) => Promise<CheckedValidatorOptions>
  readonly work: ValidatorWork
}

/** What the host keeps per module while it works. */
export interface ValidatorWork {
  readonly inFlight: TokensInFlight
  readonly turns: Turns
  /** The longest that `startup` and `validate` may take, each; undefined: the login deadline alone counts. */
  readonly timeoutMs: number | undefined
}

/** One thing that is wrong with the options of a rule. */
export interface ValidatorOptionError {
  readonly message: string
  readonly detail: string | undefined
}

/** What `request.options` will be, or everything that is wrong. */
export type CheckedValidatorOptions =
  | { readonly options: unknown; readonly errors?: undefined }
  | {
      readonly options?: undefined
      readonly errors: readonly [ValidatorOptionError, ...ValidatorOptionError[]]
    }

const OPTION_NAME = /^[A-Za-z0-9_-]+$/

/**
 * Checks and binds a module's members. The order is PostgreSQL's: version, then `validate`.
 *
 * @param module - a module namespace, or an object that a module exported or its init function returned.
 * @throws ValidatorLoadError with reason `wrong_api_version`, `no_validate` or `bad_shape`.
 */
export function bindValidator(name: string, module: unknown, work: ValidatorWork): LoadedValidator {
  if (typeof module !== 'object' || module === null) {
    throw badShape(name, `is ${module === null ? 'null' : typeof module}, not an object`)
  }
  const members = readMembers(name, module)
  checkVersion(name, members.apiVersion)
  if (members.validate === undefined) {
    throw new ValidatorLoadError(
      `OAuth validator module "${name}" must provide a "validate" callback`,
      { validator: name, reason: 'no_validate' },
    )
  }
  const bind = (member: 'startup' | 'validate' | 'shutdown' | 'dispose'): AnyFunction | undefined =>
    bindFunction(name, module, member, members[member])
  const startup = bind('startup')
  const validate = bind('validate')
  if (validate === undefined) {
    throw badShape(name, 'has a "validate" that is not a function')
  }
  return Object.freeze({
    name,
    callbacks: Object.freeze({
      startup: startup && ((state: ValidatorState) => startup(state)),
      validate: (state: ValidatorState, request: ValidationRequest<unknown>) =>
        validate(state, request),
      shutdown: bind('shutdown'),
      dispose: bind('dispose'),
    }),
    options: readOptions(name, members.options),
    work,
  })
}

/** A module that cannot be used because a member is not what the contract says. */
export function badShape(name: string, why: string, cause?: unknown): ValidatorLoadError {
  return new ValidatorLoadError(`OAuth validator module "${name}" ${why}`, {
    validator: name,
    reason: 'bad_shape',
    cause,
  })
}

type AnyFunction = (...args: readonly unknown[]) => unknown

interface Members {
  readonly apiVersion: unknown
  readonly startup: unknown
  readonly validate: unknown
  readonly shutdown: unknown
  readonly dispose: unknown
  readonly options: unknown
}

function readMembers(name: string, module: object): Members {
  const read = (key: PropertyKey): unknown => (module as Record<PropertyKey, unknown>)[key]
  try {
    return {
      apiVersion: read('apiVersion'),
      startup: read('startup'),
      validate: read('validate'),
      shutdown: read('shutdown'),
      dispose: read(Symbol.asyncDispose),
      options: read('options'),
    }
  } catch (cause) {
    throw badShape(name, `throws when it is looked at: ${describeThrown(cause)}`, cause)
  }
}

function checkVersion(name: string, apiVersion: unknown): void {
  if (apiVersion === API_VERSION) {
    return
  }
  const has =
    typeof apiVersion === 'number' || typeof apiVersion === 'string'
      ? `the module has ${JSON.stringify(apiVersion)}`
      : 'the module declares none'
  throw new ValidatorLoadError(
    `OAuth validator module "${name}": apiVersion mismatch: this pgbearer has ${API_VERSION}, ${has}`,
    { validator: name, reason: 'wrong_api_version' },
  )
}

function bindFunction(
  name: string,
  module: object,
  member: string,
  value: unknown,
): AnyFunction | undefined {
  if (value === undefined) {
    return undefined
  }
  if (typeof value !== 'function') {
    const label = member === 'dispose' ? '[Symbol.asyncDispose]' : `"${member}"`
    throw badShape(name, `has a ${label} that is not a function`)
  }
  return (...args) =>
    Reflect.apply<unknown, readonly unknown[], unknown>(value as AnyFunction, module, args)
}

function readOptions(name: string, options: unknown): readonly string[] | StandardSchema {
  if (options === undefined) {
    return []
  }
  if (isStandardSchema(options)) {
    return options
  }
  if (!Array.isArray(options)) {
    throw badShape(name, 'has "options" that are neither a list of names nor a Standard Schema')
  }
  const names: readonly unknown[] = [...(options as readonly unknown[])]
  const wrong = names.find((option) => typeof option !== 'string' || !OPTION_NAME.test(option))
  if (wrong !== undefined || names.includes(undefined)) {
    throw badShape(
      name,
      'has "options" with a name that is not made of letters, digits, "_" and "-"',
    )
  }
  return Object.freeze(names as string[])
}

function isStandardSchema(value: unknown): value is StandardSchema {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) {
    return false
  }
  const standard: unknown = (value as Record<string, unknown>)['~standard']
  return (
    typeof standard === 'object' &&
    standard !== null &&
    'validate' in standard &&
    typeof standard.validate === 'function'
  )
}
