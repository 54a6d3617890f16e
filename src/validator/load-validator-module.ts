/**
 * Loads a validator module by its name in `oauth_validator_libraries`. Everything that can be wrong
 * with a module is found here, before anybody logs in, and has a message that names the module.
 *
 * @module
 */
import { ValidatorLoadError, type ValidatorLoadReason } from '../errors.ts'
import type { Log } from '../log.ts'
import type { ValidatorContext, ValidatorLog, ValidatorRule } from './contract.ts'
import { describeThrown } from './describe-thrown.ts'
import { disposeQuietly } from './dispose-validators.ts'
import { badShape, bindValidator, type LoadedValidator } from './loaded-validator.ts'
import { resolveValidatorName, type ValidatorSource } from './resolve-validator-name.ts'
import { readModuleVersion, specifierOf } from './module-version.ts'
import { newValidatorWork, type ValidatorLimits } from './validator-limits.ts'
import { createValidatorLog } from './validator-log.ts'

/** How long a module may take to be imported, and again for its init function. */
export const LOAD_TIMEOUT_MS = 30_000

/** What a module is loaded with. */
export interface LoadValidatorOptions {
  /** The `[validators.<name>]` table, as written. Default: empty. */
  readonly settings?: Readonly<Record<string, unknown>>
  /** The directory of the settings file: an absolute path. */
  readonly baseDirectory: string
  /** The issuers of the rules that name this validator. */
  readonly issuers: readonly string[]
  /** These rules themselves. Default: none. */
  readonly rules?: readonly ValidatorRule[]
  /** Nobody will log in: the module is asked to keep off the network. Default: false. */
  readonly checkOnly?: boolean
  readonly log: Log
  /** Gives up waiting; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal
  /** For the import and again for the init function. Default {@link LOAD_TIMEOUT_MS}. */
  readonly timeoutMs?: number
  readonly limits?: ValidatorLimits
  /** The version that it has to be (`readModuleVersion().all`). Default: the one that is there. */
  readonly version?: string | undefined
}

/**
 * Finds, imports, initialises and checks a module.
 *
 * @param name - a bundled name (`jwt`), a path (it starts with `./`, `../`, `/` or `file:`) or a package.
 * @throws ValidatorLoadError for whatever is wrong with the module.
 *
 * @example
 * ```ts
 * const jwt = await loadValidator('jwt', { settings, baseDirectory, issuers, log })
 * ```
 */
export async function loadValidator(
  name: string,
  options: LoadValidatorOptions,
): Promise<LoadedValidator> {
  const source = await resolveValidatorName(name, options.baseDirectory)
  return instantiateValidator(name, await importModule(name, source, options), options)
}

/**
 * Initialises and checks a module that is imported already.
 *
 * @param namespace - what `import()` gave.
 * @throws ValidatorLoadError for whatever is wrong with the module.
 */
export async function instantiateValidator(
  name: string,
  namespace: object,
  options: LoadValidatorOptions,
): Promise<LoadedValidator> {
  const exported = mainExport(name, namespace)
  const work = newValidatorWork(options.limits ?? {})
  if (typeof exported !== 'function') {
    refuseSettings(name, options.settings ?? {})
    return bindValidator(name, exported, work)
  }
  const log = createValidatorLog(options.log.child({ validator: name }), () => ({
    tokens: work.inFlight.tokens,
    forgotten: false,
  }))
  const module = await runInit(name, exported as UnknownInit, options, log)
  try {
    return bindValidator(name, module, work)
  } catch (error) {
    disposeQuietly(module)
    throw error
  }
}

type UnknownInit = (settings: unknown, context: ValidatorContext) => unknown

async function importModule(
  name: string,
  source: ValidatorSource,
  options: LoadValidatorOptions,
): Promise<object> {
  if (source.kind === 'bundled') {
    return importFrom(name, source.specifier, options)
  }
  const version = await readModuleVersion(source.specifier)
  if (options.version !== undefined && options.version !== version.all) {
    throw changed(name, 'has changed since it was loaded: reload the configuration')
  }
  const found = specifierOf(source.specifier, version)
  if (found.specifier === undefined) {
    throw changed(
      name,
      `imports "${found.stale}", which has changed: restart pgbearer, or let the module have isolation = "worker"`,
    )
  }
  const module = await importFrom(name, found.specifier, options)
  if ((await readModuleVersion(source.specifier)).all !== version.all) {
    throw changed(name, 'has changed while it was loaded: reload the configuration')
  }
  return module
}

async function importFrom(
  name: string,
  specifier: string,
  options: LoadValidatorOptions,
): Promise<object> {
  const imported = await within(import(specifier) as Promise<object>, options)
  switch (imported.kind) {
    case 'returned':
      return imported.value
    case 'threw':
      throw failure(
        name,
        'not_loadable',
        `could not load OAuth validator module "${name}": ${describeImportFailure(imported.error)}`,
        imported.error,
      )
    case 'late':
      throw failure(
        name,
        'not_loadable',
        `could not load OAuth validator module "${name}": it was still loading after ${seconds(options)}`,
      )
  }
}

function changed(name: string, what: string): ValidatorLoadError {
  return failure(name, 'changed', `OAuth validator module "${name}" ${what}`)
}

function describeImportFailure(error: unknown): string {
  const isTypeScript =
    error instanceof Error &&
    'code' in error &&
    error.code === 'ERR_UNKNOWN_FILE_EXTENSION' &&
    /\.[cm]?ts"/.test(error.message)
  return isTypeScript
    ? `Node.js ${process.version} cannot load TypeScript: compile the module, or use Node.js 22.18 or later`
    : describeThrown(error)
}

/** The default export where there is one, else the module itself. */
function mainExport(name: string, namespace: object): unknown {
  if (!('default' in namespace)) {
    return namespace
  }
  const exported: unknown = namespace.default
  if (typeof exported === 'function') {
    return exported
  }
  if (typeof exported !== 'object' || exported === null) {
    throw badShape(name, 'has a default export that is neither an init function nor an object')
  }
  // CommonJS that was compiled from a module with a default export.
  return '__esModule' in exported && 'default' in exported ? exported.default : exported
}

function refuseSettings(name: string, settings: Readonly<Record<string, unknown>>): void {
  const keys = Object.keys(settings)
  if (keys.length > 0) {
    const list = keys.map((key) => `"${key}"`).join(', ')
    throw failure(
      name,
      'unexpected_settings',
      `OAuth validator module "${name}" takes no settings (it has no init function), but it was given ${list}`,
    )
  }
}

async function runInit(
  name: string,
  init: UnknownInit,
  options: LoadValidatorOptions,
  log: ValidatorLog,
): Promise<unknown> {
  const context: ValidatorContext = Object.freeze({
    name,
    log,
    baseDirectory: options.baseDirectory,
    issuers: Object.freeze([...options.issuers]),
    rules: frozenCopy(options.rules ?? []) as readonly ValidatorRule[],
    checkOnly: options.checkOnly === true,
  })
  const settings = frozenCopy(options.settings ?? {})
  const work = new Promise<unknown>((resolve) => {
    resolve(init(settings, context))
  })
  const done = await within(work, options, disposeQuietly)
  switch (done.kind) {
    case 'returned':
      return done.value
    case 'threw':
      throw failure(
        name,
        'init_failed',
        `init function of OAuth validator module "${name}" failed: ${describeThrown(done.error)}`,
        done.error,
      )
    case 'late':
      throw failure(
        name,
        'init_timed_out',
        `init function of OAuth validator module "${name}" was still running after ${seconds(options)}`,
      )
  }
}

type Done<T> =
  | { readonly kind: 'returned'; readonly value: T }
  | { readonly kind: 'threw'; readonly error: unknown }
  | { readonly kind: 'late' }

/** Waits for `work` within the bounds of the options; what comes later goes to `discard`. */
function within<T>(
  work: Promise<T>,
  options: LoadValidatorOptions,
  discard: (value: T) => void = () => {},
): Promise<Done<T>> {
  const { signal } = options
  return new Promise((resolve, reject) => {
    let given = false
    const giveUp = (act: () => void): void => {
      if (!given) {
        given = true
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
        act()
      }
    }
    const onAbort = (): void => giveUp(() => reject(signal?.reason as Error))
    const timer = setTimeout(
      () => giveUp(() => resolve({ kind: 'late' })),
      options.timeoutMs ?? LOAD_TIMEOUT_MS,
    )
    work.then(
      (value) => (given ? discard(value) : giveUp(() => resolve({ kind: 'returned', value }))),
      (error: unknown) => giveUp(() => resolve({ kind: 'threw', error })),
    )
    signal?.addEventListener('abort', onAbort, { once: true })
    if (signal?.aborted === true) {
      onAbort()
    }
  })
}

/** Tables and lists are copied and frozen at every depth; dates and the like are handed on. */
function frozenCopy(value: unknown): unknown {
  if (Array.isArray(value)) {
    return Object.freeze(value.map(frozenCopy))
  }
  if (typeof value !== 'object' || value === null || !isTable(value)) {
    return value
  }
  return Object.freeze(
    Object.fromEntries(Object.entries(value).map(([key, item]) => [key, frozenCopy(item)])),
  )
}

function isTable(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

function failure(
  name: string,
  reason: ValidatorLoadReason,
  message: string,
  cause?: unknown,
): ValidatorLoadError {
  return new ValidatorLoadError(message, { validator: name, reason, cause })
}

function seconds(options: LoadValidatorOptions): string {
  return `${(options.timeoutMs ?? LOAD_TIMEOUT_MS) / 1000} s`
}
