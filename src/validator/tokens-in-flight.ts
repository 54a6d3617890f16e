/**
 * The tokens that a module is looking at just now, so that what it logs outside of any connection can be
 * cleaned of them. Printing or serialising this shows none.
 *
 * @module
 */
export class TokensInFlight {
  readonly #uses = new Map<string, number>()

  /** Remembers a token until the function that this returns is called. */
  hold(token: string): () => void {
    this.#uses.set(token, (this.#uses.get(token) ?? 0) + 1)
    return () => {
      const left = (this.#uses.get(token) ?? 1) - 1
      if (left > 0) {
        this.#uses.set(token, left)
        return
      }
      this.#uses.delete(token)
    }
  }

  /** Each token once. */
  get tokens(): Iterable<string> {
    return this.#uses.keys()
  }
}
