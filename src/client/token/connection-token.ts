/**
 * The token that one connection logged in with.
 *
 * @module
 */
import { inspect } from 'node:util'

/** Independent of the provider: what happens to the cache does not change it. Printing hides it. */
export class ConnectionToken {
  #accessToken: string | undefined
  /** When the token expires, in milliseconds on the provider's clock; undefined: not known. */
  readonly expiresAt: number | undefined

  constructor(accessToken: string, expiresAt?: number) {
    this.#accessToken = accessToken
    this.expiresAt = expiresAt
  }

  /** The token, until it is cleared. */
  get accessToken(): string | undefined {
    return this.#accessToken
  }

  /** Drops the token, for when the connection has ended. */
  clear(): void {
    this.#accessToken = undefined
  }
}

// util.inspect with `getters` would print the tokens. Defined from outside because the declaration of a
// class has no room for a symbol that is a property of something else.
Object.defineProperty(ConnectionToken.prototype, inspect.custom, {
  value: () => 'ConnectionToken {}',
})
