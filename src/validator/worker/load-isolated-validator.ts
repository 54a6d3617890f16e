/**
 * Loads a module into workers: what it does wrong there costs it its own logins, and nobody else.
 *
 * @module
 */
import type { ResourceLimits } from 'node:worker_threads'
import type { ValidationRequest, ValidatorLog, ValidatorState } from '../contract.ts'
import { ValidatorLoadError } from '../../errors.ts'
import type { Cancellation } from '../cancellation.ts'
import { describeThrown } from '../describe-thrown.ts'
import type { LoadValidatorOptions } from '../load-validator-module.ts'
import type { LoadedValidator, ValidatorCallbacks } from '../loaded-validator.ts'
import { readModuleVersion } from '../module-version.ts'
import { resolveValidatorName } from '../resolve-validator-name.ts'
import { scrubText } from '../scrub.ts'
import { isValidatorFault, RemoteFault } from '../validation-outcome.ts'
import type { CheckedValidatorOptions, ValidatorOptionError } from '../validator-options.ts'
import { newValidatorWork } from '../validator-limits.ts'
import { createValidatorLog } from '../validator-log.ts'
import type { LoadedReport, RemoteRequest } from './messages.ts'
import type { ValidatorWorker } from './validator-worker.ts'
import { WorkerPool } from './worker-pool.ts'

/** How many workers a module gets, unless told otherwise. */
export const DEFAULT_WORKERS = 1
/** The heap of a worker, unless told otherwise, in MB. */
export const DEFAULT_WORKER_HEAP_MB = 256

/** What a module is loaded into workers with. */
export interface LoadIsolatedValidatorOptions extends LoadValidatorOptions {
  /** Default {@link DEFAULT_WORKERS}. */
  readonly workers?: number
  /** Default for the heap: {@link DEFAULT_WORKER_HEAP_MB}. */
  readonly resourceLimits?: ResourceLimits
  /** The compiled `worker-main`, for tests; default: the one beside this file. */
  readonly entry?: URL
}

/**
 * Like `loadValidator`, but the module runs in worker threads: a loop, a leak, an exit or an uncaught error takes
 * only its own logins down. `disposeValidators` ends the workers.
 *
 * @throws ValidatorLoadError for whatever is wrong with the module.
 */
export async function loadIsolatedValidator(
  name: string,
  options: LoadIsolatedValidatorOptions,
): Promise<LoadedValidator> {
  const work = newValidatorWork(options.limits ?? {})
  const log = options.log.child({ validator: name })
  const scrub = (text: string): string =>
    scrubText(text, { tokens: work.inFlight.tokens, forgotten: true })
  const contextLog = createValidatorLog(log, () => ({
    tokens: work.inFlight.tokens,
    forgotten: false,
  }))
  const homes = new Homes()
  const source = await resolveValidatorName(name, options.baseDirectory)
  const version =
    source.kind === 'bundled' ? undefined : (await readModuleVersion(source.specifier)).all
  const pool = new WorkerPool({
    size: options.workers ?? DEFAULT_WORKERS,
    log,
    scrub,
    worker: {
      entry: options.entry ?? workerEntry(),
      resourceLimits: {
        maxOldGenerationSizeMb: DEFAULT_WORKER_HEAP_MB,
        ...options.resourceLimits,
      },
      start: {
        name,
        settings: options.settings ?? {},
        baseDirectory: options.baseDirectory,
        issuers: [...options.issuers],
        rules: options.rules ?? [],
        checkOnly: options.checkOnly === true,
        timeoutMs: options.timeoutMs,
        version,
      },
    },
    listener: {
      onLog: ({ state, level, message, fields }) => {
        const target = homes.logOf(state) ?? contextLog
        target[isLevel(level) ? level : 'log'](message, fields as Record<string, unknown>)
      },
      onStray: (detail) =>
        log.warning('OAuth validator module left a promise that rejected', {
          detail: scrub(detail),
        }),
      onDropped: (lines) =>
        log.warning('OAuth validator module writes too much, the rest is dropped', { lines }),
      onOutput: (text) =>
        log.debug('OAuth validator module wrote to its console', { detail: scrub(text) }),
    },
  })
  const report = await openPool(name, pool)
  return Object.freeze({
    name,
    callbacks: remoteCallbacks(pool, homes, report),
    options: [],
    checkOptions: (raw: ReadonlyMap<string, string>) => checkRemotely(pool, raw),
    work,
  })
}

async function openPool(name: string, pool: WorkerPool): Promise<LoadedReport> {
  try {
    return await pool.open()
  } catch (error) {
    if (error instanceof ValidatorLoadError) {
      throw error
    }
    throw new ValidatorLoadError(
      `could not start a worker for OAuth validator module "${name}": ${describeThrown(error)}`,
      { validator: name, reason: 'not_loadable', cause: error },
    )
  }
}

/** Where the states of connections live. */
class Homes {
  readonly #homes = new WeakMap<ValidatorState, Home>()
  readonly #logs = new Map<number, ValidatorLog>()
  #last = 0

  async open(state: ValidatorState, pool: WorkerPool, cancellation: Cancellation): Promise<Home> {
    const worker = await pool.pick()
    if (cancellation.reason !== undefined) {
      throw new RemoteFault('aborted', 'the connection ended before its worker was ready')
    }
    this.#last += 1
    const home = { worker, id: this.#last, cancellation }
    worker.connections += 1
    this.#homes.set(state, home)
    this.#logs.set(home.id, state.log)
    cancellation.onCancel = (reason) =>
      worker.tell({ op: 'cancel', state: home.id, timedOut: reason === 'timeout' })
    return home
  }

  get(state: ValidatorState): Home | undefined {
    return this.#homes.get(state)
  }

  close(state: ValidatorState): void {
    const home = this.#homes.get(state)
    if (home !== undefined && this.#homes.delete(state)) {
      home.worker.connections -= 1
      home.cancellation.onCancel = undefined
      home.worker.tell({ op: 'forget', state: home.id })
      this.#logs.delete(home.id)
    }
  }

  logOf(id: number | undefined): ValidatorLog | undefined {
    return id === undefined ? undefined : this.#logs.get(id)
  }
}

interface Home {
  readonly worker: ValidatorWorker
  readonly cancellation: Cancellation
  readonly id: number
}

function remoteCallbacks(pool: WorkerPool, homes: Homes, report: LoadedReport): ValidatorCallbacks {
  const keepsState = report.startup || report.shutdown
  return Object.freeze({
    startup: keepsState
      ? async (state: ValidatorState, cancellation: Cancellation) => {
          const { worker, id } = await homes.open(state, pool, cancellation)
          try {
            await worker.call({ op: 'startup', state: id })
          } catch (error) {
            homes.close(state)
            throw error
          }
        }
      : undefined,
    validate: async (
      state: ValidatorState,
      request: ValidationRequest<unknown>,
      cancellation: Cancellation,
    ) => {
      const { worker, id } = homes.get(state) ?? (await homes.open(state, pool, cancellation))
      try {
        const { token, ...rest } = plain(request as RemoteRequest)
        return passOn(await worker.call({ op: 'validate', state: id, request: { token, ...rest } }))
      } finally {
        if (!keepsState) {
          homes.close(state)
        }
      }
    },
    shutdown: keepsState
      ? async (state: ValidatorState) => {
          const home = homes.get(state)
          try {
            await home?.worker.call({ op: 'shutdown', state: home.id })
          } catch (error) {
            // The state went with its worker: there is nothing left to shut down.
            if (!(error instanceof RemoteFault && error.reason === 'crashed')) {
              throw error
            }
          } finally {
            homes.close(state)
          }
        }
      : undefined,
    dispose: async () => {
      await Promise.allSettled(pool.workers.map((worker) => worker.call({ op: 'dispose' })))
      await pool.close()
    },
  })
}

function plain(request: RemoteRequest): RemoteRequest {
  const { token, role, issuer, scope, options, delegateIdentMapping, connection } = request
  return { token, role, issuer, scope, options, delegateIdentMapping, connection }
}

// What a worker read as an internal error stays one; the host reads the rest itself, once more.
function passOn(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('kind' in value)) {
    return value
  }
  if (value.kind === 'internal_error' && 'reason' in value && 'logDetail' in value) {
    const reason = isValidatorFault(value.reason) ? value.reason : 'bad_result'
    throw new RemoteFault(reason, String(value.logDetail))
  }
  return value
}

async function checkRemotely(
  pool: WorkerPool,
  raw: ReadonlyMap<string, string>,
): Promise<CheckedValidatorOptions> {
  const options = Object.freeze(Object.fromEntries(raw))
  const worker = await pool.pick()
  const errors = (await worker.call({ op: 'options', options })) as
    | readonly [ValidatorOptionError, ...ValidatorOptionError[]]
    | undefined
  return errors === undefined ? { options } : { errors }
}

function isLevel(level: unknown): level is 'debug' | 'log' | 'warning' {
  return level === 'debug' || level === 'log' || level === 'warning'
}

// From TypeScript source, a Node that cannot read it in a thread of its own uses the last build.
function workerEntry(): URL {
  if (import.meta.url.endsWith('.js')) {
    return new URL('./worker-main.js', import.meta.url)
  }
  return 'typescript' in process.features && process.features.typescript !== false
    ? new URL('./worker-main.ts', import.meta.url)
    : new URL('../../../dist/src/validator/worker/worker-main.js', import.meta.url)
}
