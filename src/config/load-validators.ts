/**
 * The modules of `oauth_validator_libraries`, each with its own settings and with the host's for it.
 *
 * @module
 */
import path from 'node:path'
import { toText } from '../byte-string.ts'
import { ValidatorLoadError } from '../errors.ts'
import type { HbaLine } from '../hba/hba-line.ts'
import type { Log } from '../log.ts'
import type { ValidatorRule } from '../validator/contract.ts'
import { type LoadValidatorOptions, loadValidator } from '../validator/load-validator-module.ts'
import type { LoadedValidator } from '../validator/loaded-validator.ts'
import { isBundledValidator } from '../validator/resolve-validator-name.ts'
import { splitScope } from '../validator/validation-request.ts'
import type { ValidatorLimits } from '../validator/validator-limits.ts'
import { loadIsolatedValidator } from '../validator/worker/load-isolated-validator.ts'
import type { Settings } from './settings.ts'
import type { ValidatorHost } from './validator-hosts.ts'

/** The settings that modules are loaded by. */
export type ValidatorSettings = Pick<
  Settings,
  'oauthValidatorLibraries' | 'validators' | 'validatorHosts' | 'baseDirectory'
>

/** Modules by name, and all that is wrong with the others. */
export interface LoadedValidators {
  readonly validators: ReadonlyMap<string, LoadedValidator>
  readonly errors: readonly ValidatorLoadError[]
}

/** Loads each module once; one that fails does not hide the errors of the next. */
export async function loadValidators(
  settings: ValidatorSettings,
  lines: readonly HbaLine[],
  { log, checkOnly = false }: { readonly log: Log; readonly checkOnly?: boolean | undefined },
): Promise<LoadedValidators> {
  const validators = new Map<string, LoadedValidator>()
  const errors: ValidatorLoadError[] = []
  for (const name of new Set(settings.oauthValidatorLibraries)) {
    try {
      const loaded = await loadConfiguredValidator(name, settings, {
        rules: rulesOf(name, lines),
        checkOnly,
        log,
      })
      validators.set(name, loaded)
    } catch (error) {
      if (!(error instanceof ValidatorLoadError)) {
        throw error
      }
      errors.push(error)
    }
  }
  return { validators, errors: [...errors, ...unusedTables(settings)] }
}

/** What a module is loaded for. */
export interface ConfiguredValidatorOptions {
  /** The rules that name it. */
  readonly rules: readonly ValidatorRule[]
  readonly log: Log
  /** Nobody will log in. Default: false. */
  readonly checkOnly?: boolean
}

/**
 * Loads one module with its tables, isolated or not as they say.
 *
 * @throws ValidatorLoadError for whatever is wrong with it.
 */
export async function loadConfiguredValidator(
  name: string,
  settings: ValidatorSettings,
  { rules, log, checkOnly = false }: ConfiguredValidatorOptions,
): Promise<LoadedValidator> {
  const options: LoadValidatorOptions = {
    settings: tableOf(name, settings.validators) ?? {},
    baseDirectory: settings.baseDirectory,
    issuers: [...new Set(rules.map(({ issuer }) => issuer))],
    rules,
    log,
    checkOnly,
  }
  const host = tableOf(name, settings.validatorHosts) ?? {}
  const limits = limitsOf(host)
  if ((host.isolation ?? (isBundledValidator(name) ? 'none' : 'worker')) === 'none') {
    refuseWorkerSettings(name, host)
    return loadValidator(name, { ...options, limits })
  }
  const { workers, resource_limits: resources } = host
  return loadIsolatedValidator(name, {
    ...options,
    limits,
    ...(workers === undefined ? {} : { workers }),
    ...(resources === undefined ? {} : { resourceLimits: resourceLimitsOf(resources) }),
  })
}

function limitsOf(host: ValidatorHost): ValidatorLimits {
  const { max_concurrent_validations: maxConcurrent, validation_queue_size: maxWaiting } = host
  return {
    validatorTimeoutMs: host.validator_timeout,
    ...(maxConcurrent === undefined ? {} : { maxConcurrent }),
    ...(maxWaiting === undefined ? {} : { maxWaiting }),
  }
}

function resourceLimitsOf(
  written: NonNullable<ValidatorHost['resource_limits']>,
): NonNullable<Parameters<typeof loadIsolatedValidator>[1]['resourceLimits']> {
  const limits = {
    maxOldGenerationSizeMb: written.max_old_generation_size_mb,
    maxYoungGenerationSizeMb: written.max_young_generation_size_mb,
    codeRangeSizeMb: written.code_range_size_mb,
    stackSizeMb: written.stack_size_mb,
  }
  return Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined))
}

// They would be taken for a protection that is not there.
function refuseWorkerSettings(name: string, host: ValidatorHost): void {
  const [key] = (['workers', 'resource_limits'] as const).filter((key) => host[key] !== undefined)
  if (key !== undefined) {
    throw new ValidatorLoadError(
      `"${key}" of OAuth validator module "${name}" needs isolation = "worker"`,
      { validator: name, reason: 'unexpected_settings' },
    )
  }
}

function rulesOf(validator: string, lines: readonly HbaLine[]): ValidatorRule[] {
  return lines.flatMap(({ oauth, file, line }) =>
    oauth?.validator === validator
      ? [
          {
            place: `${file}:${line}`,
            issuer: toText(oauth.issuer),
            scope: splitScope(toText(oauth.scope)),
            delegateIdentMapping: oauth.delegateIdentMapping,
            options: Object.fromEntries(oauth.validatorOptions),
          },
        ]
      : [],
  )
}

/** `[validators.acme]` is the table of `./validators/acme.js`, too, unless it has one of its full name. */
function tableName(validator: string, tables: Readonly<Record<string, unknown>>): string {
  return Object.hasOwn(tables, validator) ? validator : path.parse(validator).name
}

function tableOf<T>(validator: string, tables: Readonly<Record<string, T>>): T | undefined {
  const name = tableName(validator, tables)
  return Object.hasOwn(tables, name) ? tables[name] : undefined
}

// A table that nothing reads is a typing error, perhaps in the name of an audience's validator.
function unusedTables(settings: ValidatorSettings): ValidatorLoadError[] {
  const { oauthValidatorLibraries: libraries, validators, validatorHosts } = settings
  const unused = (section: string, tables: Readonly<Record<string, unknown>>) => {
    const read = libraries.map((name) => tableName(name, tables))
    return Object.keys(tables)
      .filter((name) => !read.includes(name))
      .map(
        (name) =>
          new ValidatorLoadError(
            `settings [${section}.${name}] belong to no name in "oauth_validator_libraries"`,
            { validator: name, reason: 'unexpected_settings' },
          ),
      )
  }
  return [...unused('validators', validators), ...unused('validator_hosts', validatorHosts)]
}
