/**
 * How many may do something at the same time: TLS handshakes and logins, which block the event loop
 * while they compute and would otherwise stall the sessions that are in.
 *
 * @module
 */
import { TooManyConnectionsError } from '../errors.ts'

export interface GateOptions {
  /** How many may be inside at once. */
  readonly limit: number
  /** How many may wait; one more is refused. */
  readonly queue: number
  /** How long a place is held at most, in ms: somebody who stalls inside must not keep others out. */
  readonly lease: number
}

/** Gives a place back; calling it again does nothing. */
export type Leave = () => void

/** Lets in so many at a time, the others in the order of their coming. */
export class Gate {
  readonly #options: GateOptions
  readonly #waiting = new Set<() => void>()
  #inside = 0

  constructor(options: GateOptions) {
    this.#options = options
  }

  get inside(): number {
    return this.#inside
  }

  get waiting(): number {
    return this.#waiting.size
  }

  /**
   * Waits for a place.
   *
   * @throws TooManyConnectionsError where the queue is full; the signal's reason once it aborts.
   */
  async enter(signal: AbortSignal): Promise<Leave> {
    signal.throwIfAborted()
    if (this.#inside < this.#options.limit) {
      return this.#admit()
    }
    if (this.#waiting.size >= this.#options.queue) {
      throw new TooManyConnectionsError({ logDetail: 'too many logins are waiting' })
    }
    return new Promise((resolve, reject) => {
      const abandon = (): void => {
        this.#waiting.delete(admit)
        reject(signal.reason as Error)
      }
      const admit = (): void => {
        signal.removeEventListener('abort', abandon)
        resolve(this.#admit())
      }
      signal.addEventListener('abort', abandon, { once: true })
      this.#waiting.add(admit)
    })
  }

  #admit(): Leave {
    this.#inside += 1
    let held = true
    const leave = (): void => {
      if (held) {
        held = false
        clearTimeout(expiry)
        this.#inside -= 1
        this.#admitNext()
      }
    }
    const expiry = setTimeout(leave, this.#options.lease)
    expiry.unref()
    return leave
  }

  #admitNext(): void {
    const [next] = this.#waiting
    if (next !== undefined && this.#inside < this.#options.limit) {
      this.#waiting.delete(next)
      next()
    }
  }
}
