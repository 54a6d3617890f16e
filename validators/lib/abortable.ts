/**
 * Waiting for something that others wait for too: who gives up leaves, and the work goes on.
 *
 * @module
 */

/** Somebody who may have to wait: asked for the signal, which costs to make, only when it comes to that. */
export interface Waiter {
  readonly signal: AbortSignal
}

/** Settles as `promise` does, or rejects with the signal's reason when that comes first. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) {
    promise.catch(() => undefined)
    return Promise.reject(signal.reason)
  }
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    void promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
