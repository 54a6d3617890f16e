/**
 * The end of a connection's patience: one signal from outside, a deadline of the module's own and the end of the
 * connection become one thing that a callback's promise is raced against.
 *
 * @module
 */

/** `timeout`: a deadline passed. `aborted`: the client left, or the server shuts down. */
export type CancelReason = 'timeout' | 'aborted'

/** How a callback ended. */
export type Settled<T> =
  | { readonly kind: 'returned'; readonly value: T }
  | { readonly kind: 'threw'; readonly error: unknown }
  | { readonly kind: 'cancelled'; readonly reason: CancelReason }

/** Made per connection; {@link release} it when the login is over. */
export class Cancellation {
  #outer: AbortSignal | undefined
  #reason: CancelReason | undefined
  #waiting: ((reason: CancelReason) => void) | undefined
  #controller: AbortController | undefined
  #listener: ((reason: CancelReason) => void) | undefined

  /** @param outer - login deadline, client gone or shutdown, whichever comes first. */
  constructor(outer: AbortSignal) {
    if (outer.aborted) {
      this.cancel(reasonOf(outer))
      return
    }
    this.#outer = outer
    outer.addEventListener('abort', this, { once: true })
  }

  /** The outer signal aborted. */
  handleEvent(): void {
    if (this.#outer !== undefined) {
      this.cancel(reasonOf(this.#outer))
    }
  }

  get reason(): CancelReason | undefined {
    return this.#reason
  }

  /** Made when a module first asks for it: most never do. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#reason !== undefined) {
        this.#controller.abort(abortReason(this.#reason))
      }
    }
    return this.#controller.signal
  }

  /** The one who hears of it without a signal, which costs more; undefined takes it back. */
  set onCancel(listener: ((reason: CancelReason) => void) | undefined) {
    this.#listener = listener
  }

  /** The first reason stays. */
  cancel(reason: CancelReason): void {
    if (this.#reason !== undefined) {
      return
    }
    this.#reason = reason
    this.#waiting?.(reason)
    this.#listener?.(reason)
    this.#controller?.abort(abortReason(reason))
  }

  /**
   * Waits for a callback, but not past the cancellation nor longer than `timeoutMs`, which cancels. One
   * at a time; never rejects.
   */
  race<T>(work: Promise<T>, timeoutMs?: number): Promise<Settled<T>> {
    return new Promise((resolve) => {
      if (this.#reason !== undefined) {
        work.catch(() => {})
        resolve({ kind: 'cancelled', reason: this.#reason })
        return
      }
      const timer =
        timeoutMs === undefined ? undefined : setTimeout(() => this.cancel('timeout'), timeoutMs)
      const settle = (settled: Settled<T>): void => {
        clearTimeout(timer)
        this.#waiting = undefined
        resolve(settled)
      }
      this.#waiting = (reason) => settle({ kind: 'cancelled', reason })
      work.then(
        (value) => settle({ kind: 'returned', value }),
        (error: unknown) => settle({ kind: 'threw', error }),
      )
    })
  }

  /** Lets go of the outer signal; {@link cancel} still works. */
  release(): void {
    this.#outer?.removeEventListener('abort', this)
    this.#outer = undefined
  }
}

/** Waits for `work` for at most `timeoutMs`; says whether it settled. Never rejects. */
export function settlesWithin(work: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), timeoutMs)
    const settle = (): void => {
      clearTimeout(timer)
      resolve(true)
    }
    work.then(settle, settle)
  })
}

function reasonOf(signal: AbortSignal): CancelReason {
  const reason: unknown = signal.reason
  if (!(reason instanceof Error)) {
    return 'aborted'
  }
  const timedOut =
    reason.name === 'TimeoutError' ||
    ('code' in reason && reason.code === 'ERR_AUTHENTICATION_TIMEOUT')
  return timedOut ? 'timeout' : 'aborted'
}

/** What a module's signal says. A fresh one each time: the module may do with it what it likes. */
export function abortReason(reason: CancelReason): DOMException {
  return reason === 'timeout'
    ? new DOMException('the validator ran out of time', 'TimeoutError')
    : new DOMException('the connection has ended', 'AbortError')
}
