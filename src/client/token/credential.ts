/**
 * What a token callback returns: the counterpart of `mongoc_oidc_credential_t`.
 *
 * @module
 */
import { inspect } from 'node:util'

/** Everything a credential can carry besides the access token. */
export interface CredentialOptions {
  /**
   * How long the token lives, in milliseconds from the moment the callback settles, on the monotonic
   * clock. Absent: not known, so the token is kept until a server rejects it. 0: use it once.
   */
  readonly expiresInMs?: number | undefined
  /** Handed to the next call that renews this token. */
  readonly refreshToken?: string | undefined
}

/** The shape of a credential: {@link TokenCredential}, or a plain object that says the same. */
export interface CredentialLike extends CredentialOptions {
  readonly accessToken: string
}

/**
 * A token and its life. Setters check what they are given. A provider takes its own frozen copy when
 * the callback returns, so later changes have no effect. Printing or serialising it leaves the tokens
 * out.
 */
export class TokenCredential implements CredentialLike {
  #accessToken: string
  #expiresInMs: number | undefined
  #refreshToken: string | undefined

  constructor(accessToken: string, options: CredentialOptions = {}) {
    this.#accessToken = checkedToken('accessToken', accessToken)
    this.#expiresInMs = checkedExpiry(options.expiresInMs)
    this.#refreshToken = checkedRefreshToken(options.refreshToken)
  }

  /** The token, as it will be sent. */
  get accessToken(): string {
    return this.#accessToken
  }

  set accessToken(accessToken: string) {
    this.#assertMutable()
    this.#accessToken = checkedToken('accessToken', accessToken)
  }

  /** Milliseconds, or undefined where the life is not known. */
  get expiresInMs(): number | undefined {
    return this.#expiresInMs
  }

  set expiresInMs(expiresInMs: number | undefined) {
    this.#assertMutable()
    this.#expiresInMs = checkedExpiry(expiresInMs)
  }

  /** What renews the token, where the authorization server gave one. */
  get refreshToken(): string | undefined {
    return this.#refreshToken
  }

  set refreshToken(refreshToken: string | undefined) {
    this.#assertMutable()
    this.#refreshToken = checkedRefreshToken(refreshToken)
  }

  // Object.freeze does not reach private fields.
  #assertMutable(): void {
    if (Object.isFrozen(this)) {
      throw new TypeError('this credential belongs to a provider and cannot be changed')
    }
  }
}

// util.inspect with `getters` would print the tokens. Defined from outside because the declaration of a
// class has no room for a symbol that is a property of something else.
Object.defineProperty(TokenCredential.prototype, inspect.custom, {
  value: () => 'TokenCredential {}',
})

/**
 * Makes a credential.
 *
 * @throws TypeError if the token is not a non-empty string, or the expiry is not a finite number >= 0.
 *
 * @example
 * ```ts
 * return credential(token, { expiresInMs: 3_600_000 })
 * ```
 */
export function credential(accessToken: string, options: CredentialOptions = {}): TokenCredential {
  return new TokenCredential(accessToken, options)
}

const KNOWN_KEYS: ReadonlySet<string> = new Set(['accessToken', 'expiresInMs', 'refreshToken'])

/**
 * A provider's own copy of what a callback returned. Unknown keys are named to `note`, not refused, so
 * that later versions can add some.
 *
 * @throws TypeError if it is no credential.
 * @internal
 */
export function copyCredential(value: unknown, note?: (unknown: string) => void): TokenCredential {
  if (typeof value !== 'object' || value === null || !('accessToken' in value)) {
    throw new TypeError('user-defined OAuth flow did not provide a token')
  }
  const like = value as CredentialLike
  for (const key of Object.keys(value)) {
    if (!KNOWN_KEYS.has(key)) {
      note?.(key)
    }
  }
  const { expiresInMs, refreshToken } = like
  const copy = new TokenCredential(like.accessToken, { expiresInMs, refreshToken })
  Object.freeze(copy)
  return copy
}

function checkedToken(name: string, value: unknown): string {
  if (typeof value !== 'string' || value.length === 0) {
    throw new TypeError(`${name} must be a non-empty string`)
  }
  return value
}

function checkedRefreshToken(value: unknown): string | undefined {
  return value === undefined ? undefined : checkedToken('refreshToken', value)
}

function checkedExpiry(value: unknown): number | undefined {
  if (value === undefined) {
    return undefined
  }
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) {
    throw new TypeError('expiresInMs must be a finite number of milliseconds, 0 or more')
  }
  return value
}
