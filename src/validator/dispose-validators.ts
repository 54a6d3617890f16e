/**
 * Ends what modules hold as long as the process lives: key sets, agents, timers.
 *
 * @module
 */
import type { Log } from '../log.ts'
import { settlesWithin } from './cancellation.ts'
import { describeThrown } from './describe-thrown.ts'
import type { LoadedValidator } from './loaded-validator.ts'
import { NO_SECRETS, scrubText } from './scrub.ts'

/** How long a module's `[Symbol.asyncDispose]` is waited for. */
export const DISPOSE_TIMEOUT_MS = 5000

const disposed = new WeakSet<LoadedValidator>()

/**
 * Calls `[Symbol.asyncDispose]` of each module that has one, once in its life. Never rejects: what a
 * module does wrong here is logged.
 */
export async function disposeValidators(
  validators: readonly LoadedValidator[],
  options: { readonly log: Log; readonly timeoutMs?: number },
): Promise<void> {
  await Promise.all(validators.map((validator) => disposeOne(validator, options)))
}

/** Disposes of what an init function returned and nobody will use. */
export function disposeQuietly(module: unknown): void {
  try {
    const dispose: unknown = (module as Partial<AsyncDisposable> | null)?.[Symbol.asyncDispose]
    if (typeof dispose === 'function') {
      Promise.resolve(Reflect.apply(dispose, module, []) as unknown).catch(() => {})
    }
  } catch {
    // It is not to be used anyway, and the error that brought us here says more.
  }
}

async function disposeOne(
  validator: LoadedValidator,
  options: { readonly log: Log; readonly timeoutMs?: number },
): Promise<void> {
  const { dispose } = validator.callbacks
  if (dispose === undefined || disposed.has(validator)) {
    return
  }
  disposed.add(validator)
  const { name } = validator
  const work = new Promise<unknown>((resolve) => {
    resolve(dispose())
  }).catch((error: unknown) => {
    options.log.warning('could not dispose of OAuth validator module', {
      validator: name,
      detail: scrubText(describeThrown(error), NO_SECRETS),
    })
  })
  const timeoutMs = options.timeoutMs ?? DISPOSE_TIMEOUT_MS
  if (!(await settlesWithin(work, timeoutMs))) {
    options.log.warning('OAuth validator module is still disposing', {
      validator: name,
      waited_ms: timeoutMs,
    })
  }
}
