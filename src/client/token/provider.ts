/**
 * Keeps tokens and calls the callback with libmongoc's guarantees.
 *
 * @module
 */
import { TokenCallbackError, TokenConfigError } from '../errors.ts'
import { type CallbackTurn, CallbackTurns } from './callback-turns.ts'
import { TokenCallback } from './callback.ts'
import { type CancelTimer, type Clock, monotonicClock } from './clock.ts'
import { type CredentialLike, type TokenCredential, copyCredential } from './credential.ts'
import type {
  ClientLog,
  ProvidedToken,
  TokenNeed,
  TokenProviderOptions,
  TokenSource,
} from './provider-options.ts'
import { type CachedToken, TokenCache, backgroundRefreshDelay } from './token-cache.ts'
import { callFailure } from './token-call.ts'
import { TokenFlight } from './token-flight.ts'

const MACHINE_TIMEOUT_MS = 60_000
const INTERACTIVE_TIMEOUT_MS = 300_000
const GRACE_MS = 30_000

/**
 * One per pool, per upstream or per command: the tokens, and the lock around the callback.
 *
 * - Never two calls of the callback in flight, whatever is asked for concurrently.
 * - Everybody who waits for the same token shares one call; its failure reaches all of them and is not
 *   remembered.
 * - At least 100 ms between the end of a call and the start of the next.
 * - A token is renewed when less than a tenth of its life, at most 1 minute, is left; if that fails, it
 *   is used until it expires.
 * - Nothing is kept after a token was refused ({@link TokenProvider.invalidate}) but its refresh token.
 *
 * The callback and its context are copied here: later changes of a {@link TokenCallback} have no
 * effect. They live as long as the provider. After it is disposed no call starts and a late result is
 * dropped.
 *
 * @example
 * ```ts
 * const provider = new TokenProvider(async () => credential(await fetchToken()))
 * const { credential } = await provider.get({ username: 'ann' })
 * ```
 */
export class TokenProvider implements AsyncDisposable {
  /** A person may have to do something before a token comes. */
  readonly interactive: boolean
  /** Copied; see {@link TokenProviderOptions}. */
  readonly allowedHosts: readonly string[] | undefined
  readonly #turns: CallbackTurns
  readonly #backgroundRefresh: boolean
  readonly #clock: Clock
  readonly #log: ClientLog | undefined
  readonly #cache: TokenCache
  readonly #flights = new Map<string, TokenFlight<ProvidedToken>>()
  readonly #timers = new Map<string, CancelTimer>()
  readonly #disposal = new AbortController()

  /** @throws TokenConfigError without a callback, or with options that do not fit it. */
  constructor(source: TokenSource, options: TokenProviderOptions = {}) {
    const callback = typeof source === 'function' ? new TokenCallback(source) : source
    if (!(callback instanceof TokenCallback)) {
      throw new TokenConfigError(
        'no token callback is set: a function, a tokenCallback() or one of the sources is needed',
      )
    }
    const { fn, context } = callback
    this.interactive = callback.interactive
    if (options.allowedHosts !== undefined && !this.interactive) {
      throw new TokenConfigError('allowedHosts is for interactive token callbacks only')
    }
    this.allowedHosts = options.allowedHosts && Object.freeze([...options.allowedHosts])
    const defaultMs = this.interactive ? INTERACTIVE_TIMEOUT_MS : MACHINE_TIMEOUT_MS
    const timeoutMs = checkedMs('timeoutMs', options.timeoutMs ?? defaultMs)
    const graceMs = checkedMs('graceMs', options.graceMs ?? GRACE_MS)
    this.#backgroundRefresh = options.backgroundRefresh ?? false
    const { clock = monotonicClock, log } = options
    this.#clock = clock
    this.#log = log
    this.#cache = new TokenCache(clock)
    this.#turns = new CallbackTurns({ fn, context, clock, timeoutMs, graceMs, log })
  }

  /**
   * A token that is good now: the one held, or one from the callback.
   *
   * @throws TokenCallbackError if the callback failed; TokenTimeoutError if it took too long; the
   * signal's reason if that fired first.
   */
  async get(need: TokenNeed = {}): Promise<ProvidedToken> {
    need.signal?.throwIfAborted()
    this.#disposal.signal.throwIfAborted()
    const key = keyOf(need)
    const fresh = this.#cache.fresh(key)
    if (fresh !== undefined) {
      return provided(fresh, { fromCache: true })
    }
    if (this.#turns.isWithinCall) {
      throw new TokenCallbackError('the token callback asked its own provider for a token')
    }
    return this.#flightFor(key, need).join(need.signal)
  }

  /** The token held for `need`, or the latest of all; never calls the callback. */
  peek(need?: TokenNeed): TokenCredential | undefined {
    const token = need === undefined ? this.#cache.latest : this.#cache.unexpired(keyOf(need))
    return token?.credential
  }

  /** Whether {@link TokenProvider.get} would answer without a call. */
  has(need: TokenNeed): boolean {
    return this.#cache.fresh(keyOf(need)) !== undefined
  }

  /**
   * Forgets this very token because a server refused it; a token that was stored meanwhile stays.
   * Returns whether it was held.
   */
  invalidate(accessToken: string): boolean {
    return this.#cache.invalidate(accessToken)
  }

  /** Forgets the refresh token that belongs to a refused token, so that the next call starts anew. */
  forgetRefreshToken(need: TokenNeed, refreshToken: string | undefined): void {
    this.#cache.forgetRefreshToken(keyOf(need), refreshToken)
  }

  /** Holds a token that was come by elsewhere, such as one kept by an earlier run. */
  store(value: CredentialLike, need: TokenNeed = {}): void {
    this.#disposal.signal.throwIfAborted()
    this.#keep(keyOf(need), need, copyCredential(value))
  }

  /** Forgets every token. */
  clear(): void {
    this.#cache.clear()
    for (const stop of this.#timers.values()) {
      stop()
    }
    this.#timers.clear()
  }

  /** Ends all waits and the call in flight, and forgets every token. */
  async [Symbol.asyncDispose](): Promise<void> {
    const reason = new TokenCallbackError('the token provider is closed')
    this.#disposal.abort(reason)
    for (const flight of this.#flights.values()) {
      flight.cancel(reason)
      flight.fail(reason)
    }
    this.#flights.clear()
    this.clear()
  }

  #flightFor(key: string, need: TokenNeed, renewing?: CachedToken): TokenFlight<ProvidedToken> {
    const current = this.#flights.get(key)
    if (current?.open === true) {
      return current
    }
    const flight = new TokenFlight<ProvidedToken>()
    this.#flights.set(key, flight)
    this.#turns.queue({
      flight,
      begin: () => this.#begin(key, need, flight, renewing),
      succeed: (credential, { refreshToken }) => {
        if (!this.#disposal.signal.aborted) {
          const token = this.#keep(key, need, credential)
          const renewed = refreshToken !== undefined
          flight.succeed(provided(token, { fromCache: false, renewed }))
        }
      },
      fail: (cause) => this.#fall(key, flight, cause),
      end: () => {
        if (this.#flights.get(key) === flight) {
          this.#flights.delete(key)
        }
      },
    })
    return flight
  }

  #begin(
    key: string,
    need: TokenNeed,
    flight: TokenFlight<ProvidedToken>,
    renewing: CachedToken | undefined,
  ): ReturnType<CallbackTurn['begin']> {
    // Somebody may have stored a token while this one waited for its turn.
    const held = this.#cache.fresh(key)
    if (held !== undefined && held !== renewing) {
      flight.succeed(provided(held, { fromCache: true }))
      return undefined
    }
    if (flight.abandoned) {
      return undefined
    }
    const { username, target, issuer, clientId, announced, scope = announced?.scope } = need
    const { discoveryUrl } = announced ?? {}
    return {
      username,
      target,
      issuer,
      discoveryUrl,
      scope,
      clientId,
      ...this.#cache.renewal(key),
    }
  }

  #fall(key: string, flight: TokenFlight<ProvidedToken>, cause: unknown): void {
    const held = this.#cache.unexpired(key)
    if (held !== undefined) {
      this.#log?.debug('renewing the token failed; the one held has not expired')
      flight.succeed(provided(held, { fromCache: true }))
      return
    }
    flight.fail(callFailure(cause, flight.timedOut))
  }

  #keep(key: string, need: TokenNeed, credential: TokenCredential): CachedToken {
    const token = this.#cache.store(key, credential)
    this.#timers.get(key)?.()
    this.#timers.delete(key)
    const delay = backgroundRefreshDelay(credential.expiresInMs)
    // Nobody is asked to log in out of the blue.
    const alone = !this.interactive || credential.refreshToken !== undefined
    if (this.#backgroundRefresh && alone && delay !== undefined) {
      const refresh = (): void => this.#refresh(key, need, token)
      this.#timers.set(key, this.#clock.after(delay, refresh, { background: true }))
    }
    return token
  }

  #refresh(key: string, need: TokenNeed, token: CachedToken): void {
    this.#timers.delete(key)
    if (this.#cache.held(key) === token) {
      this.#flightFor(key, need, token)
        .join()
        .catch(() => {})
    }
  }
}

function keyOf({ username, target, issuer, scope, clientId }: TokenNeed): string {
  const parts = [username, target?.host, target?.port, issuer, scope, clientId]
  return JSON.stringify(parts.map((part) => part ?? null))
}

function provided(
  token: CachedToken,
  how: { readonly fromCache: boolean; readonly renewed?: boolean },
): ProvidedToken {
  const { credential, expiresAt } = token
  return Object.freeze({ credential, expiresAt, renewed: false, ...how })
}

function checkedMs(name: string, value: number): number {
  if (typeof value !== 'number' || Number.isNaN(value) || value < 0) {
    throw new TokenConfigError(`${name} must be a number of milliseconds, 0 or more`)
  }
  return value
}
