/**
 * How long a provider that failed is left alone: 1, 2, 4 … 60 s, each less by chance, so that many who
 * wait for the same provider do not come back together.
 *
 * @module
 */
import { CLOCK } from '../clock.ts'
import type { Fault } from '../refusal.ts'

const FIRST_MS = 1_000
const MAX_MS = 60_000
// Full jitter may come out as no wait at all, which would be a second request in the same step.
const MIN_MS = 250

export class Backoff {
  #failures = 0
  #retryAt = 0
  #lastFault: Fault | undefined

  /** In a row. */
  get failures(): number {
    return this.#failures
  }

  /** What went wrong last; undefined after a success. */
  get lastFault(): Fault | undefined {
    return this.#lastFault
  }

  /** Nobody is to be asked for so many milliseconds more; 0: now. */
  get waitMs(): number {
    return Math.max(0, this.#retryAt - CLOCK.monotonicMs())
  }

  /** @returns how long to wait now, in milliseconds */
  failed(fault: Fault): number {
    const step = Math.min(MAX_MS, FIRST_MS * 2 ** this.#failures)
    const wait = Math.max(MIN_MS, Math.random() * step)
    this.#failures += 1
    this.#lastFault = fault
    this.#retryAt = CLOCK.monotonicMs() + wait
    return wait
  }

  succeeded(): void {
    this.#failures = 0
    this.#lastFault = undefined
    this.#retryAt = 0
  }
}
