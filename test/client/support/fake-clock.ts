import type { CancelTimer, Clock } from '../../../src/client/token/clock.ts'

interface Timer {
  readonly at: number
  readonly delayMs: number
  readonly background: boolean
  readonly run: () => void
}

/** A clock that stands still until it is advanced. */
export class FakeClock implements Clock {
  #now: number
  readonly timers: Set<Timer> = new Set()
  /** Every delay that was ever asked for. */
  readonly delays: number[] = []

  constructor(now = 1_000_000) {
    this.#now = now
  }

  now(): number {
    return this.#now
  }

  after(delayMs: number, run: () => void, options: { background?: boolean } = {}): CancelTimer {
    const timer = {
      at: this.#now + delayMs,
      delayMs,
      background: options.background ?? false,
      run,
    }
    this.delays.push(delayMs)
    this.timers.add(timer)
    return () => this.timers.delete(timer)
  }

  /** Moves time on, running what is due in order, and lets everything that follows from it happen. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms
    await settled()
    for (;;) {
      const due = [...this.timers].filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0]
      if (due === undefined) {
        break
      }
      this.timers.delete(due)
      this.#now = Math.max(this.#now, due.at)
      due.run()
      await settled()
    }
    this.#now = end
  }
}

/** Lets promises and immediates that are ready run. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve))
  }
}
