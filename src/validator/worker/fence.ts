/**
 * Keeps a module whose workers end again and again from being started again and again: that costs others their time.
 *
 * @module
 */

/** So many ends within {@link FENCE_WINDOW_MS} fence a module off. */
export const FENCE_AFTER = 5
export const FENCE_WINDOW_MS = 60_000
/** How long a module stays fenced off before the next try. */
export const FENCE_MS = 30_000
/** It doubles with each try that ends within {@link FENCE_WINDOW_MS}, up to this. */
export const LONGEST_FENCE_MS = 240_000

/** The circuit breaker of one module. */
export class Fence {
  readonly #now: () => number
  #ends: number[] = []
  #until = -Infinity
  #length = 0

  /** @param now - a clock in ms that never goes back. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** Ends within {@link FENCE_WINDOW_MS}, as of the last one. */
  get recently(): number {
    return this.#ends.length
  }

  /** How long the module is still fenced off, in ms; 0: it may be started. */
  get leftMs(): number {
    return Math.max(0, this.#until - this.#now())
  }

  /** A worker ended by itself. @returns true where that fences the module off. */
  noteEnd(): boolean {
    const now = this.#now()
    this.#ends = [...this.#ends.filter((end) => end > now - FENCE_WINDOW_MS), now]
    const onTrial = now < this.#until + FENCE_WINDOW_MS
    if (!onTrial && this.#ends.length < FENCE_AFTER) {
      return false
    }
    // The others of a pool may end while it is fenced off already.
    if (this.leftMs === 0) {
      this.#length = onTrial ? Math.min(this.#length * 2, LONGEST_FENCE_MS) : FENCE_MS
      this.#until = now + this.#length
    }
    return true
  }
}
