/**
 * How many may go at once: some run, some wait their turn, and the rest is told at once that there is no
 * room.
 *
 * @module
 */

/** One that runs or waits. */
export interface Turn {
  /** Undefined when it may run at once; else settles when it may. */
  readonly comes: Promise<void> | undefined
  /** Ends it, also while it waits; again does nothing. */
  end(): void
}

/** The turns of one module. */
export class Turns {
  readonly #maxRunning: number
  readonly #maxWaiting: number
  readonly #waiting: Set<() => void> = new Set()
  #running = 0

  /** @throws TypeError unless there is room for at least one to run. */
  constructor(maxRunning: number, maxWaiting: number) {
    if (!(maxRunning >= 1) || !(maxWaiting >= 0)) {
      throw new TypeError(`cannot let ${maxRunning} run and ${maxWaiting} wait`)
    }
    this.#maxRunning = maxRunning
    this.#maxWaiting = maxWaiting
  }

  get running(): number {
    return this.#running
  }

  get waiting(): number {
    return this.#waiting.size
  }

  /** Asks for a turn; undefined where there is no room even to wait. First come, first served. */
  take(): Turn | undefined {
    if (this.#running < this.#maxRunning) {
      this.#running += 1
      return { comes: undefined, end: once(() => this.#next()) }
    }
    return this.#waiting.size < this.#maxWaiting ? this.#wait() : undefined
  }

  #wait(): Turn {
    let start = (): void => {}
    const comes = new Promise<void>((resolve) => {
      start = resolve
    })
    this.#waiting.add(start)
    const end = once(() => {
      if (!this.#waiting.delete(start)) {
        this.#next()
      }
    })
    return { comes, end }
  }

  // The one that waits longest takes over the place of the one that ended.
  #next(): void {
    const [start] = this.#waiting
    if (start === undefined) {
      this.#running -= 1
      return
    }
    this.#waiting.delete(start)
    start()
  }
}

function once(act: () => void): () => void {
  let done = false
  return () => {
    if (!done) {
      done = true
      act()
    }
  }
}
