/**
 * The key set of one issuer over time: fetched before it is needed, kept through an outage, and never
 * asked for more often than the provider can stand.
 *
 * cold → fresh → ageing (renewed in the background) → stale (renewing fails; logins go on) → dead.
 *
 * @module
 */
import type { ValidatorLog } from 'pgbearer/validator'
import { abortable } from '../abortable.ts'
import { CLOCK } from '../clock.ts'
import { Fault } from '../refusal.ts'
import type { AdmittedKeys, KeyPolicy } from './admit-keys.ts'
import { Backoff } from './backoff.ts'
import { announceKeys, type KeySet, readKeySet } from './key-set.ts'
import type { KeySource } from './key-source.ts'
import type { SavedKeys } from './saved-keys.ts'
import { freshFor, type RefreshPolicy, renewIn } from './refresh-policy.ts'

// Without a login for this long, nothing is renewed any more.
const IDLE_MS = 3_600_000
// Logins that may wait for the same fetch.
const MAX_WAITERS = 1_000

/** The keys that are trusted now. */
export interface TrustedKeys {
  readonly keys: AdmittedKeys
  /** Counts up with every change of the keys. */
  readonly generation: number
}

interface Held extends TrustedKeys, KeySet {
  /** By the monotonic clock. */
  readonly loadedAt: number
  readonly freshMs: number
}

export interface KeptKeysOptions {
  readonly source: KeySource
  readonly keyPolicy: KeyPolicy
  readonly refresh: RefreshPolicy
  /** Where the keys survive a restart; undefined: nowhere. */
  readonly saved: SavedKeys | undefined
  readonly log: ValidatorLog
  /** Called when the provider has answered, whether or not the keys changed. */
  readonly renewed: () => void
}

export class KeptKeys implements AsyncDisposable {
  readonly #options: KeptKeysOptions
  readonly #closing = new AbortController()
  readonly #backoff = new Backoff()
  #held: Held | undefined
  #loading: Promise<TrustedKeys> | undefined
  #waiters = 0
  #lastUsed = CLOCK.monotonicMs()
  #timer: NodeJS.Timeout | undefined

  constructor(options: KeptKeysOptions) {
    this.#options = options
  }

  /** Fetches the keys if there are none; throws what went wrong. */
  async prefetch(): Promise<void> {
    if (this.#held === undefined) {
      await this.fetch(this.#closing.signal)
    }
  }

  /** How many keys there are. */
  get size(): number {
    return this.#held?.keys.keys.length ?? 0
  }

  /** A fetch is under way. */
  get isFetching(): boolean {
    return this.#loading !== undefined
  }

  /** The last fetch did not fail, or long enough ago. */
  get mayFetch(): boolean {
    return this.#backoff.waitMs === 0
  }

  /**
   * The keys, or undefined while there are none to be trusted. Asking counts as use: keys that are used
   * are kept fresh, in the background.
   */
  trusted(): TrustedKeys | undefined {
    const now = CLOCK.monotonicMs()
    this.#lastUsed = now
    const held = this.#held
    if (held === undefined || this.#isDead(held, now)) {
      return undefined
    }
    if (now - held.loadedAt >= held.freshMs) {
      this.#renewInBackground()
    }
    return held
  }

  /**
   * Waits for the fetch that is under way, or for a new one.
   *
   * @param signal - ends the waiting of this caller, not the fetch
   * @throws {Fault} what went wrong, also where that was a moment ago and nobody is asked again yet
   */
  async fetch(signal: AbortSignal): Promise<TrustedKeys> {
    if (!this.isFetching && !this.mayFetch) {
      throw this.#backoff.lastFault ?? new Fault('provider_unavailable', 'the last attempt failed')
    }
    if (this.#waiters >= MAX_WAITERS) {
      throw new Fault('overloaded', `more than ${MAX_WAITERS} logins wait for keys`)
    }
    this.#waiters += 1
    try {
      return await abortable(this.#load(), signal)
    } finally {
      this.#waiters -= 1
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer)
    this.#closing.abort(new Fault('provider_unavailable', 'the validator is shutting down'))
    await this.#loading?.catch(() => undefined)
    await this.#options.saved?.settled()
  }

  #isDead(held: Held, now: number): boolean {
    return now - held.loadedAt >= Math.max(held.freshMs, this.#options.refresh.staleUntilMs)
  }

  #renewInBackground(): void {
    if (!this.isFetching && this.mayFetch) {
      // The failure is in the log, and counted.
      this.#load().catch(() => undefined)
    }
  }

  /** Single flight: whoever comes while a fetch is under way shares it. */
  #load(): Promise<TrustedKeys> {
    this.#loading ??= this.#loadOnce().finally(() => {
      this.#loading = undefined
    })
    return this.#loading
  }

  async #loadOnce(): Promise<TrustedKeys> {
    clearTimeout(this.#timer)
    const { source, keyPolicy, refresh } = this.#options
    try {
      const { document, maxAgeSeconds } = await source.load(this.#closing.signal)
      const set = await readKeySet(document, keyPolicy)
      this.#closing.signal.throwIfAborted()
      return this.#swap(set, freshFor(source.refresh, maxAgeSeconds, refresh))
    } catch (error) {
      const restored = this.#held === undefined ? await this.#restore() : undefined
      const fault = this.#failed(error)
      if (restored === undefined) {
        throw fault
      }
      return restored
    }
  }

  /** All at once: a document is either used as a whole or not at all. */
  #swap(set: KeySet, freshMs: number): TrustedKeys {
    const { source, log, refresh, renewed, saved } = this.#options
    if (this.#backoff.failures > 0) {
      log.log(`keys from ${source.description} are available again`)
    }
    this.#backoff.succeeded()
    renewed()
    const before = this.#held
    const isNew = set.fingerprint !== before?.fingerprint
    if (isNew) {
      announceKeys(set.keys, source.description, log)
    }
    const generation = (before?.generation ?? 0) + (isNew ? 1 : 0)
    const held = { ...set, generation, loadedAt: CLOCK.monotonicMs(), freshMs }
    this.#held = held
    void saved?.save(set.keys)
    if (source.refresh !== 'never') {
      this.#schedule(renewIn(freshMs, refresh))
    }
    return held
  }

  /** Nobody answers, and there are no keys yet: those of the last process, as old as they are. */
  async #restore(): Promise<TrustedKeys | undefined> {
    const { saved, keyPolicy, refresh, source, log } = this.#options
    const found = await saved?.load(refresh.staleUntilMs)
    if (found === undefined || this.#closing.signal.aborted) {
      return undefined
    }
    const { document, ageMs } = found
    const set = await readKeySet(document, keyPolicy).catch(() => undefined)
    if (set === undefined) {
      log.warning(`the saved keys of ${source.description} are not a key set`)
      return undefined
    }
    const loadedAt = CLOCK.monotonicMs() - ageMs
    this.#held = { ...set, generation: 1, loadedAt, freshMs: 0 }
    log.warning(`keys from ${source.description} are those that were saved`, {
      keys: set.keys.keys.length,
      ageSeconds: Math.floor(ageMs / 1_000),
    })
    return this.#held
  }

  #failed(error: unknown): Fault {
    const { source, log } = this.#options
    const fault = asFault(error, source.description)
    if (this.#closing.signal.aborted) {
      return fault
    }
    const wait = this.#backoff.failed(fault)
    const held = this.#held
    log.warning(`cannot load keys: ${fault.message}`, {
      failures: this.#backoff.failures,
      // Not by asking for them: a failure is no use, and would keep an idle issuer awake.
      keys: held === undefined || this.#isDead(held, CLOCK.monotonicMs()) ? 'none' : 'kept',
    })
    this.#schedule(wait)
    return fault
  }

  #schedule(delayMs: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      if (CLOCK.monotonicMs() - this.#lastUsed >= IDLE_MS) {
        return
      }
      if (this.mayFetch) {
        this.#renewInBackground()
      } else {
        // A timer fires early by a part of a millisecond.
        this.#schedule(Math.ceil(this.#backoff.waitMs))
      }
    }, delayMs)
    this.#timer.unref()
  }
}

function asFault(error: unknown, description: string): Fault {
  if (error instanceof Fault) {
    return error
  }
  const problem = error instanceof Error ? error.message : 'unknown error'
  return new Fault('provider_bad_response', `the key set from ${description}: ${problem}`)
}
