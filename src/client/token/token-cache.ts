/**
 * The tokens a provider holds, and when they stop being good.
 *
 * @module
 */
import type { Clock } from './clock.ts'
import type { TokenCredential } from './credential.ts'

// A provider that serves more identities than this forgets the oldest.
const MAX_CACHED_TOKENS = 1000

const LONGEST_MARGIN_MS = 60_000
const MARGIN_SHARE = 0.1

const REFRESH_AHEAD_MS = 300_000
const SHORTEST_REFRESHED_LIFE_MS = 60_000

/** One token with its times on the provider's clock. */
export interface CachedToken {
  readonly credential: TokenCredential
  /** When it must not be used any more; undefined: not known. */
  readonly expiresAt: number | undefined
  /** When it is renewed before use; undefined: never. */
  readonly renewAt: number | undefined
}

/** What is known about one identity: a token, or only what is left of a refused one. */
interface Entry {
  readonly token: CachedToken | undefined
  readonly refreshToken: string | undefined
  readonly rejected: boolean
}

/** Compare-and-clear access to the tokens of one provider. Touches no callback and no timer. */
export class TokenCache {
  readonly #entries = new Map<string, Entry>()
  readonly #clock: Clock
  #latest: CachedToken | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The token of `key`, whether or not it is still good. */
  held(key: string): CachedToken | undefined {
    return this.#entries.get(key)?.token
  }

  /** The token of `key` if it can be used without renewing it first. */
  fresh(key: string): CachedToken | undefined {
    const token = this.held(key)
    const { renewAt } = token ?? {}
    return renewAt === undefined || this.#clock.now() < renewAt ? token : undefined
  }

  /** The token of `key` if it has not expired; it may be due for renewal. */
  unexpired(key: string): CachedToken | undefined {
    const token = this.held(key)
    const { expiresAt } = token ?? {}
    return expiresAt === undefined || this.#clock.now() < expiresAt ? token : undefined
  }

  /** The most recently stored token that is still held and unexpired. */
  get latest(): CachedToken | undefined {
    const { expiresAt } = this.#latest ?? {}
    return expiresAt === undefined || this.#clock.now() < expiresAt ? this.#latest : undefined
  }

  /** Why the next call for `key` happens, and with which refresh token. */
  renewal(key: string): {
    readonly reason: 'initial' | 'expiring' | 'rejected'
    readonly refreshToken: string | undefined
  } {
    const entry = this.#entries.get(key)
    if (entry === undefined) {
      return { reason: 'initial', refreshToken: undefined }
    }
    return { reason: entry.rejected ? 'rejected' : 'expiring', refreshToken: entry.refreshToken }
  }

  /** Times a credential from now on, and keeps it unless it is to be used only once. */
  store(key: string, credential: TokenCredential): CachedToken {
    const token = timed(credential, this.#clock.now())
    this.#entries.delete(key)
    if (credential.expiresInMs !== 0) {
      this.#entries.set(key, { token, refreshToken: credential.refreshToken, rejected: false })
      this.#latest = token
      this.#bound()
    }
    return token
  }

  /** Forgets a token wherever it is held; another token is left alone. The refresh token stays. */
  invalidate(accessToken: string): boolean {
    let found = false
    for (const [key, entry] of this.#entries) {
      if (entry.token?.credential.accessToken === accessToken) {
        this.#entries.set(key, { ...entry, token: undefined, rejected: true })
        found = true
      }
    }
    if (this.#latest?.credential.accessToken === accessToken) {
      this.#latest = undefined
    }
    return found
  }

  /** Forgets the refresh token of `key`, unless a newer one was stored meanwhile. */
  forgetRefreshToken(key: string, refreshToken: string | undefined): void {
    const entry = this.#entries.get(key)
    if (entry !== undefined && entry.refreshToken === refreshToken) {
      this.#entries.set(key, { ...entry, refreshToken: undefined })
    }
  }

  clear(): void {
    this.#entries.clear()
    this.#latest = undefined
  }

  #bound(): void {
    const oldest = this.#entries.keys().next()
    if (this.#entries.size > MAX_CACHED_TOKENS && oldest.done !== true) {
      this.#entries.delete(oldest.value)
    }
  }
}

/** How long after a token was obtained it is renewed in the background; undefined: not at all. */
export function backgroundRefreshDelay(expiresInMs: number | undefined): number | undefined {
  if (expiresInMs === undefined || expiresInMs < SHORTEST_REFRESHED_LIFE_MS) {
    return undefined
  }
  return Math.max(expiresInMs - REFRESH_AHEAD_MS, expiresInMs / 2)
}

function timed(credential: TokenCredential, now: number): CachedToken {
  const { expiresInMs } = credential
  if (expiresInMs === undefined) {
    return Object.freeze({ credential, expiresAt: undefined, renewAt: undefined })
  }
  const margin = Math.min(LONGEST_MARGIN_MS, expiresInMs * MARGIN_SHARE)
  const expiresAt = now + expiresInMs
  return Object.freeze({ credential, expiresAt, renewAt: expiresAt - margin })
}
