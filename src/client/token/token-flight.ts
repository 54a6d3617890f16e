/**
 * One call of the callback and everybody who waits for its result.
 *
 * @module
 */
/** Shared by all waiters; settles once. The signal fires when nobody is left, and at the deadline. */
export class TokenFlight<Result> {
  readonly #controller = new AbortController()
  readonly #result: Promise<Result>
  #resolve: (result: Result) => void = () => {}
  #reject: (error: unknown) => void = () => {}
  #waiters = 0
  #timedOut = false
  #settled = false

  constructor() {
    this.#result = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    // Nobody may be waiting any more when it fails; that is no unhandled rejection.
    this.#result.catch(() => {})
  }

  /** For the callback. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Nobody waits, or it has been cancelled: a result is kept, but no call is begun for it. */
  get abandoned(): boolean {
    return this.#controller.signal.aborted
  }

  /** Whether somebody may still join: neither settled, so that no old error is handed out, nor abandoned. */
  get open(): boolean {
    return !this.#settled && !this.abandoned
  }

  get timedOut(): boolean {
    return this.#timedOut
  }

  /** Waits for the result; leaves with the signal's reason when the waiter's own signal fires. */
  join(signal?: AbortSignal): Promise<Result> {
    this.#waiters += 1
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        reject(signal?.reason)
        this.#waiters -= 1
        if (this.#waiters === 0) {
          this.cancel(signal?.reason)
        }
      }
      signal?.addEventListener('abort', leave, { once: true })
      const stay = (): void => signal?.removeEventListener('abort', leave)
      this.#result.finally(stay).then(resolve, reject)
    })
  }

  /** Fires the signal; the waiters go on waiting for what the callback makes of it. */
  expire(reason: unknown): void {
    this.#timedOut = true
    this.#controller.abort(reason)
  }

  cancel(reason: unknown): void {
    this.#controller.abort(reason)
  }

  succeed(result: Result): void {
    this.#settled = true
    this.#resolve(result)
  }

  fail(error: unknown): void {
    this.#settled = true
    this.#reject(error)
  }
}
