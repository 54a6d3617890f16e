/**
 * The `validator.*` options of a rule, checked against what the module allows when the rules are loaded.
 * PostgreSQL can check names only when somebody connects, and values not at all.
 *
 * @module
 */
import { printable } from '../log.ts'
import { settlesWithin } from './cancellation.ts'
import type { StandardSchema } from './contract.ts'
import { describeThrown } from './describe-thrown.ts'
import type {
  CheckedValidatorOptions,
  LoadedValidator,
  ValidatorOptionError,
} from './loaded-validator.ts'

/** How long a schema may take over the options of one rule. */
export const OPTIONS_TIMEOUT_MS = 5000

export type { CheckedValidatorOptions, ValidatorOptionError }

/**
 * Checks the options of one rule.
 *
 * @param rawOptions - by the name after `validator.`; of a repeated one the last value.
 *
 * @example
 * ```ts
 * await checkValidatorOptions(jwt, new Map([['tenant', 'a']]))
 * ```
 */
export async function checkValidatorOptions(
  loaded: LoadedValidator,
  rawOptions: ReadonlyMap<string, string>,
): Promise<CheckedValidatorOptions> {
  if (loaded.checkOptions !== undefined) {
    return loaded.checkOptions(rawOptions)
  }
  const allowed = loaded.options
  return isList(allowed)
    ? checkNames(loaded.name, allowed, rawOptions)
    : checkSchema(loaded.name, allowed, rawOptions)
}

function isList(allowed: readonly string[] | StandardSchema): allowed is readonly string[] {
  return Array.isArray(allowed)
}

function checkNames(
  validator: string,
  allowed: readonly string[],
  raw: ReadonlyMap<string, string>,
): CheckedValidatorOptions {
  const unknown = [...raw.keys()].filter((option) => !allowed.includes(option))
  return outcome(
    unknown.map((option) => unrecognized(validator, option)),
    Object.freeze(table(raw)),
  )
}

async function checkSchema(
  validator: string,
  schema: StandardSchema,
  raw: ReadonlyMap<string, string>,
): Promise<CheckedValidatorOptions> {
  const { input, seen } = watched(table(raw))
  const work = new Promise<Awaited<ReturnType<StandardSchema['~standard']['validate']>>>(
    (resolve) => {
      resolve(schema['~standard'].validate(input))
    },
  )
  if (!(await settlesWithin(work, OPTIONS_TIMEOUT_MS))) {
    return { errors: [failed(validator, `it took longer than ${OPTIONS_TIMEOUT_MS / 1000} s`)] }
  }
  try {
    const result = await work
    if (result.issues !== undefined) {
      return outcome(
        result.issues.map((issue) => invalid(validator, issue)),
        undefined,
      )
    }
    if (result.value === input) {
      return { options: Object.freeze(table(raw)) }
    }
    // A schema that drops what it does not know (zod's objects do) never looks at it.
    const unknown = [...raw.keys()].filter((option) => !seen.has(option))
    return outcome(
      unknown.map((option) => unrecognized(validator, option)),
      result.value,
    )
  } catch (error) {
    return { errors: [failed(validator, describeThrown(error))] }
  }
}

function outcome(
  errors: readonly ValidatorOptionError[],
  options: unknown,
): CheckedValidatorOptions {
  const [first, ...rest] = errors
  return first === undefined ? { options } : { errors: [first, ...rest] }
}

// No prototype, so that an option called `__proto__` is one like any other.
function table(raw: ReadonlyMap<string, string>): Record<string, string> {
  const options: Record<string, string> = Object.create(null)
  for (const [name, value] of raw) {
    options[name] = value
  }
  return options
}

function watched(options: Record<string, string>): {
  readonly input: Record<string, string>
  readonly seen: ReadonlySet<PropertyKey>
} {
  const seen = new Set<PropertyKey>()
  const input = new Proxy(options, {
    get: (target, key) => {
      seen.add(key)
      return Reflect.get(target, key) as unknown
    },
  })
  return { input, seen }
}

function unrecognized(validator: string, option: string): ValidatorOptionError {
  return {
    message: `unrecognized authentication option name: "validator.${option}"`,
    detail: `The installed validator module ("${validator}") did not define an option named "${option}".`,
  }
}

type Issue = NonNullable<
  Awaited<ReturnType<StandardSchema['~standard']['validate']>>['issues']
>[number]

function invalid(validator: string, issue: Issue): ValidatorOptionError {
  const first = issue.path?.[0]
  const key = typeof first === 'object' ? first.key : first
  const what =
    key === undefined
      ? 'invalid authentication options "validator.*"'
      : `invalid value for authentication option "validator.${String(key)}"`
  return {
    message: `${what}: ${printable(issue.message.slice(0, 500))}`,
    detail: `The installed validator module ("${validator}") refused it.`,
  }
}

function failed(validator: string, why: string): ValidatorOptionError {
  return {
    message: `validator module "${validator}" could not check its authentication options: ${printable(why)}`,
    detail: undefined,
  }
}
