/**
 * Keeps tokens with invented key ids from turning into requests to the provider.
 *
 * @module
 */
import { CLOCK } from '../clock.ts'

const REMEMBERED = 256
const REMEMBERED_MS = 60_000

/** Which key ids are known not to exist, and when the provider may be asked about another one. */
export class UnknownKids {
  readonly #intervalMs: number
  readonly #burst: number
  readonly #absent = new Map<string, number>()
  #turns: number
  #countedAt = CLOCK.monotonicMs()

  /** A bucket of `burst` turns that gains one every `intervalMs`. */
  constructor(intervalMs: number, burst: number) {
    this.#intervalMs = intervalMs
    this.#burst = burst
    this.#turns = burst
  }

  /** True if the provider was asked since and did not have it. */
  wasAskedFor(kid: string): boolean {
    const at = this.#absent.get(kid)
    return at !== undefined && CLOCK.monotonicMs() - at < REMEMBERED_MS
  }

  remember(kid: string): void {
    this.#absent.delete(kid)
    this.#absent.set(kid, CLOCK.monotonicMs())
    const oldest = this.#absent.size > REMEMBERED ? this.#absent.keys().next().value : undefined
    if (oldest !== undefined) {
      this.#absent.delete(oldest)
    }
  }

  /** The keys were fetched again: nothing is known about what is missing. */
  forget(): void {
    this.#absent.clear()
  }

  /** True if the provider may be asked now. */
  takeTurn(): boolean {
    const gained = Math.floor((CLOCK.monotonicMs() - this.#countedAt) / this.#intervalMs)
    if (gained > 0) {
      this.#turns = Math.min(this.#burst, this.#turns + gained)
      this.#countedAt += gained * this.#intervalMs
    }
    if (this.#turns === 0) {
      return false
    }
    // The wait for the next turn begins with the use of a full bucket, not at a tick of its own.
    if (this.#turns === this.#burst) {
      this.#countedAt = CLOCK.monotonicMs()
    }
    this.#turns -= 1
    return true
  }
}
