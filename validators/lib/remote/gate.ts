/**
 * What stands between logins and a provider that is asked for each of them: so many questions at a
 * time, so many waiting, and none at all for a while when the answers stop coming.
 *
 * @module
 */
import { abortable } from '../abortable.ts'
import { CLOCK } from '../clock.ts'
import { Fault } from '../refusal.ts'

export interface GateOptions {
  /** Questions under way. Default 64. */
  readonly maxConcurrent: number
  /** Questions that wait. Default 256. */
  readonly maxQueue: number
  /** Failures in a row after which nobody is asked. Default 5. */
  readonly failures: number
  /** For how long; then one question is let through. Default 10 s. */
  readonly pauseMs: number
}

export class Gate {
  readonly #options: GateOptions
  readonly #waiting: (() => void)[] = []
  #running = 0
  #failures = 0
  #closedUntil = 0

  constructor(options: GateOptions) {
    this.#options = options
  }

  /**
   * Runs `ask` when it is its turn.
   *
   * @throws {Fault} `overloaded`, or `provider_unavailable` without having asked
   */
  async run<T>(ask: () => Promise<T>, signal: AbortSignal): Promise<T> {
    await this.#enter(signal)
    try {
      this.#refuseWhileClosed()
      return await this.#counted(ask)
    } finally {
      this.#leave()
    }
  }

  /** Closes the gate, as a provider's Retry-After asks for. */
  pause(ms: number): void {
    this.#closedUntil = Math.max(this.#closedUntil, CLOCK.monotonicMs() + ms)
  }

  #refuseWhileClosed(): void {
    const now = CLOCK.monotonicMs()
    if (now < this.#closedUntil) {
      throw new Fault('provider_unavailable', 'the provider failed a moment ago and is left alone')
    }
    if (this.#failures >= this.#options.failures) {
      // Half open: this one is the trial, and nobody else until it is over.
      this.#closedUntil = now + this.#options.pauseMs
    }
  }

  /**
   * Our own credentials being wrong counts too: asking more often does not make them right. An answer that
   * cannot be used does not: whose token makes answers too large would close the gate for everybody.
   */
  async #counted<T>(ask: () => Promise<T>): Promise<T> {
    try {
      const answer = await ask()
      this.#reopen()
      return answer
    } catch (error) {
      if (error instanceof Fault && error.code !== 'provider_bad_response') {
        this.#failures += 1
      } else {
        this.#reopen()
      }
      if (this.#failures >= this.#options.failures) {
        this.pause(this.#options.pauseMs)
      }
      throw error
    }
  }

  /** An answer, also one that refuses a token or is of no use, shows that the provider is there. */
  #reopen(): void {
    this.#failures = 0
    this.#closedUntil = 0
  }

  async #enter(signal: AbortSignal): Promise<void> {
    if (this.#running < this.#options.maxConcurrent) {
      this.#running += 1
      return
    }
    if (this.#waiting.length >= this.#options.maxQueue) {
      throw new Fault(
        'overloaded',
        `more than ${this.#options.maxQueue} logins wait for the provider`,
      )
    }
    let turn = (): void => undefined
    const arrived = new Promise<void>((resolve) => {
      turn = resolve
    })
    this.#waiting.push(turn)
    try {
      await abortable(arrived, signal)
    } catch (error) {
      const place = this.#waiting.indexOf(turn)
      if (place < 0) {
        // The turn came at the same moment: it goes to the next.
        this.#leave()
      } else {
        this.#waiting.splice(place, 1)
      }
      throw error
    }
  }

  /** A place that becomes free goes to whoever waits, without being free in between. */
  #leave(): void {
    const next = this.#waiting.shift()
    if (next === undefined) {
      this.#running -= 1
    } else {
      next()
    }
  }
}
