/**
 * Keeps tokens and calls the callback with libmongoc's guarantees.
 *
 * @module
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { TokenCallbackError, TokenConfigError, TokenTimeoutError } from '../errors.ts'
import { TokenCallback, type TokenFunction } from './callback.ts'
import { type CancelTimer, type Clock, monotonicClock, sleep } from './clock.ts'
import { type CredentialLike, type TokenCredential, copyCredential } from './credential.ts'
import type {
  ClientLog,
  ProvidedToken,
  TokenNeed,
  TokenProviderOptions,
  TokenSource,
} from './provider-options.ts'
import { type TokenRequest, tokenRequest } from './request.ts'
import { type CachedToken, TokenCache, backgroundRefreshDelay } from './token-cache.ts'
import { acceptCredential, callFailure, writtenOff } from './token-call.ts'
import { TokenFlight } from './token-flight.ts'

const MACHINE_TIMEOUT_MS = 60_000
const INTERACTIVE_TIMEOUT_MS = 300_000
const GRACE_MS = 30_000
// libmongoc: at least this long between the end of one call and the start of the next.
const CALL_SPACING_MS = 100

/** One call of the callback, from its start until it has settled or is written off. */
interface Call {
  readonly key: string
  readonly need: TokenNeed
  readonly flight: TokenFlight<ProvidedToken>
  readonly request: TokenRequest
  over: boolean
}

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
  readonly #fn: TokenFunction
  readonly #context: unknown
  readonly #timeoutMs: number
  readonly #graceMs: number
  readonly #backgroundRefresh: boolean
  readonly #clock: Clock
  readonly #log: ClientLog | undefined
  readonly #cache: TokenCache
  readonly #flights = new Map<string, TokenFlight<ProvidedToken>>()
  readonly #timers = new Map<string, CancelTimer>()
  readonly #inside = new AsyncLocalStorage<Call>()
  readonly #disposal = new AbortController()
  #turn: Promise<void> = Promise.resolve()
  #lastEnded: number | undefined

  /** @throws TokenConfigError without a callback, or with options that do not fit it. */
  constructor(source: TokenSource, options: TokenProviderOptions = {}) {
    const callback = typeof source === 'function' ? new TokenCallback(source) : source
    if (!(callback instanceof TokenCallback)) {
      throw new TokenConfigError(
        'no token callback is set: a function, a tokenCallback() or one of the sources is needed',
      )
    }
    this.#fn = callback.fn
    this.#context = callback.context
    this.interactive = callback.interactive
    if (options.allowedHosts !== undefined && !this.interactive) {
      throw new TokenConfigError('allowedHosts is for interactive token callbacks only')
    }
    this.allowedHosts = options.allowedHosts && Object.freeze([...options.allowedHosts])
    const timeoutMs = this.interactive ? INTERACTIVE_TIMEOUT_MS : MACHINE_TIMEOUT_MS
    this.#timeoutMs = checkedMs('timeoutMs', options.timeoutMs ?? timeoutMs)
    this.#graceMs = checkedMs('graceMs', options.graceMs ?? GRACE_MS)
    this.#backgroundRefresh = options.backgroundRefresh ?? false
    this.#clock = options.clock ?? monotonicClock
    this.#log = options.log
    this.#cache = new TokenCache(this.#clock)
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
    if (this.#inside.getStore()?.over === false) {
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
    // #takeTurn never rejects: one failed call must not fail the next.
    this.#turn = this.#turn.then(() => this.#takeTurn(key, need, flight, renewing))
    return flight
  }

  async #takeTurn(
    key: string,
    need: TokenNeed,
    flight: TokenFlight<ProvidedToken>,
    renewing: CachedToken | undefined,
  ): Promise<void> {
    try {
      await this.#space(flight.signal)
      // Somebody may have stored a token while this one waited for its turn.
      const held = this.#cache.fresh(key)
      if (held !== undefined && held !== renewing) {
        flight.succeed(provided(held, { fromCache: true }))
      } else if (!flight.abandoned) {
        await this.#call(key, need, flight)
      }
    } catch (error) {
      flight.fail(error)
    } finally {
      if (this.#flights.get(key) === flight) {
        this.#flights.delete(key)
      }
    }
  }

  async #space(signal: AbortSignal): Promise<void> {
    const earliest = (this.#lastEnded ?? -Infinity) + CALL_SPACING_MS
    // A timer may fire up to a millisecond early; the promise is "at least".
    for (let wait = earliest - this.#clock.now(); wait > 0; wait = earliest - this.#clock.now()) {
      await sleep(this.#clock, Math.ceil(wait), signal)
    }
  }

  async #call(key: string, need: TokenNeed, flight: TokenFlight<ProvidedToken>): Promise<void> {
    const call: Call = {
      key,
      need,
      flight,
      request: this.#requestFor(key, need, flight),
      over: false,
    }
    const stopDeadline = this.#armDeadline(call)
    const grace = writtenOff(this.#clock, this.#graceMs, flight.signal)
    await Promise.race([this.#ask(call), grace.promise])
    call.over = true
    stopDeadline()
    grace.stop()
    this.#lastEnded = this.#clock.now()
  }

  #requestFor(key: string, need: TokenNeed, flight: TokenFlight<ProvidedToken>): TokenRequest {
    const { reason, refreshToken } = this.#cache.renewal(key)
    return tokenRequest<unknown>({
      context: this.#context,
      username: need.username,
      target: need.target,
      issuer: need.issuer,
      discoveryUrl: need.announced?.discoveryUrl,
      scope: need.scope ?? need.announced?.scope,
      clientId: need.clientId,
      reason,
      refreshToken,
      deadline: Number.isFinite(this.#timeoutMs) ? this.#clock.now() + this.#timeoutMs : undefined,
      signal: flight.signal,
    })
  }

  /** Never rejects. */
  async #ask(call: Call): Promise<void> {
    try {
      const value = await this.#inside.run(call, async () => this.#fn(call.request))
      const credential = acceptCredential(value, this.#log)
      if (!call.over && !this.#disposal.signal.aborted) {
        const token = this.#keep(call.key, call.need, credential)
        const renewed = call.request.refreshToken !== undefined
        call.flight.succeed(provided(token, { fromCache: false, renewed }))
      }
    } catch (error) {
      this.#fall(call, error)
    } finally {
      call.over = true
    }
  }

  #fall({ key, flight }: Call, cause: unknown): void {
    const held = this.#cache.unexpired(key)
    if (held !== undefined) {
      this.#log?.debug('renewing the token failed; the one held has not expired')
      flight.succeed(provided(held, { fromCache: true }))
      return
    }
    flight.fail(callFailure(cause, flight.timedOut))
  }

  #armDeadline(call: Call): CancelTimer {
    if (!Number.isFinite(this.#timeoutMs)) {
      return () => {}
    }
    return this.#clock.after(this.#timeoutMs, () => {
      const text = `the token callback did not answer within ${this.#timeoutMs} ms`
      const error = new TokenTimeoutError(text)
      call.flight.expire(error)
      // A credential that is returned in answer to the abort still counts.
      setImmediate(() => this.#fall(call, error))
    })
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
