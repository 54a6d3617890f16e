/**
 * pgbearer's log during the demo: kept until the show comes to it, then shown as it is written.
 *
 * @module
 */

/** How long the log is waited for, in ms; a line comes as the login is decided. */
const PATIENCE_MS = 10_000

export class DemoLog {
  readonly #write: (text: string) => void
  #kept: string[] = []
  #following = false
  #wake: () => void = () => {}

  constructor(write: (text: string) => void) {
    this.#write = write
  }

  /** Takes a line from the log. */
  add(line: string): void {
    if (this.#following) {
      this.#show(line)
      return
    }
    this.#kept.push(line)
    this.#wake()
  }

  /**
   * Shows what was kept, up to the first line that matches.
   *
   * @throws {Error} where none comes.
   */
  async showUntil(pattern: RegExp): Promise<void> {
    const deadline = Date.now() + PATIENCE_MS
    for (;;) {
      const found = this.#kept.findIndex((line) => pattern.test(line))
      if (found >= 0) {
        this.#kept.splice(0, found + 1).forEach((line) => this.#show(line))
        return
      }
      const left = deadline - Date.now()
      if (left <= 0) {
        throw new Error(`pgbearer did not log ${pattern}`)
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  /** Shows what was kept so far. */
  showKept(): void {
    this.#kept.splice(0).forEach((line) => this.#show(line))
  }

  /** From now on every line is shown at once. */
  follow(): void {
    this.#following = true
    this.showKept()
  }

  #show(line: string): void {
    this.#write(`    log | ${line}`)
  }
}
