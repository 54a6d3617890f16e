/**
 * How much a module in a worker may say: whatever it writes to its log or its console is work for the thread that serves
 * all connections, and nothing else there bounds it.
 *
 * @module
 */

/** Lines that a worker may write in a second, on average. */
export const LINES_PER_SECOND = 500
/** Lines that it may write at once after it was quiet. */
export const LINES_AT_ONCE = 1000
/** Characters of console output that count as one line. */
export const CHARACTERS_PER_LINE = 1024

const REPORT_AFTER_MS = 1000

/** A bucket of lines that fills up again. */
export class FloodGate {
  readonly #onDropped: (lines: number) => void
  readonly #now: () => number
  #left = LINES_AT_ONCE
  #filledAt: number
  #dropped = 0

  /**
   * @param onDropped - hears how many lines were dropped, a second after the first of them.
   * @param now - a clock in ms that never goes back.
   */
  constructor(onDropped: (lines: number) => void, now: () => number = () => performance.now()) {
    this.#onDropped = onDropped
    this.#now = now
    this.#filledAt = now()
  }

  /** Says whether a text of so many characters may pass, and counts it. */
  lets(characters = 1): boolean {
    const lines = Math.ceil(characters / CHARACTERS_PER_LINE)
    this.#fill()
    if (this.#left >= lines) {
      this.#left -= lines
      return true
    }
    this.#drop(lines)
    return false
  }

  #fill(): void {
    const now = this.#now()
    const gained = ((now - this.#filledAt) * LINES_PER_SECOND) / 1000
    this.#filledAt = now
    this.#left = Math.min(LINES_AT_ONCE, this.#left + gained)
  }

  #drop(lines: number): void {
    if (this.#dropped === 0) {
      setTimeout(() => {
        const dropped = this.#dropped
        this.#dropped = 0
        this.#onDropped(dropped)
      }, REPORT_AFTER_MS).unref()
    }
    this.#dropped += lines
  }
}

/** Lets a stream drop what the gate does not let through, as if it had been written. */
export function gateOutput(stream: NodeJS.WriteStream, gate: FloodGate): void {
  const write = stream.write.bind(stream) as (...args: readonly unknown[]) => boolean
  stream.write = (chunk: unknown, ...others: readonly unknown[]): boolean => {
    if (gate.lets(lengthOf(chunk))) {
      return write(chunk, ...others)
    }
    const done = others.at(-1)
    if (typeof done === 'function') {
      process.nextTick(done)
    }
    return true
  }
}

function lengthOf(chunk: unknown): number {
  return typeof chunk === 'string' || chunk instanceof Uint8Array ? chunk.length : 1
}
