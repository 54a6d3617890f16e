/**
 * Time as the client side needs it: monotonic, and injectable so that no test waits.
 *
 * @module
 */

/** Ends a timer; calling it again does nothing. */
export type CancelTimer = () => void

/** A monotonic clock in milliseconds. The wall clock may jump without any effect here. */
export interface Clock {
  /** Milliseconds since an arbitrary origin; never goes back. */
  now(): number
  /** Calls `run` once after `delayMs`. A background timer does not keep the process alive. */
  after(delayMs: number, run: () => void, options?: { readonly background?: boolean }): CancelTimer
}

// setTimeout fires at once beyond this.
const MAX_TIMEOUT_MS = 2 ** 31 - 1

/** `performance.now()` and `setTimeout`. */
export const monotonicClock: Clock = {
  now: () => performance.now(),
  after(delayMs, run, options = {}) {
    const timer = setTimeout(run, Math.min(delayMs, MAX_TIMEOUT_MS))
    if (options.background === true) {
      timer.unref()
    }
    return () => clearTimeout(timer)
  },
}

/** Waits; an abort ends the wait early by rejecting with the signal's reason. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(signal.reason)
      return
    }
    const stop = (): void => {
      cancel()
      reject(signal?.reason)
    }
    const cancel = clock.after(delayMs, () => {
      signal?.removeEventListener('abort', stop)
      resolve()
    })
    signal?.addEventListener('abort', stop, { once: true })
  })
}
