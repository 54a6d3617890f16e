/**
 * The keys of one issuer over time: fetched before they are needed, kept through an outage, renewed
 * when a token names a key that is new, and never asked for more often than the provider can stand.
 *
 * cold → fresh → ageing (renewed in the background) → stale (renewing fails; logins go on) → dead.
 *
 * @module
 */
import { createHash } from 'node:crypto'
import type { ValidatorLog } from 'pgbearer/validator'
import { abortable } from '../abortable.ts'
import { CLOCK } from '../clock.ts'
import { Fault, Refusal } from '../refusal.ts'
import { type AdmittedKeys, admitKeys, type KeyPolicy, type VerificationKey } from './admit-keys.ts'
import { findKey, type KeyName } from './find-key.ts'
import type { KeySource } from './key-source.ts'
import { UnknownKids } from './unknown-kids.ts'

export interface RefreshPolicy {
  /** Keys are fresh this long, unless the provider's Cache-Control says otherwise. Default 300 s. */
  readonly refreshAfterMs: number
  /** The renewal begins this long before. Default 30 s. */
  readonly refreshAheadMs: number
  /** Keys that could not be renewed are used this long. Default 3600 s; 0: not at all. */
  readonly staleUntilMs: number
  readonly respectCacheControl: boolean
  /** At most one fetch in this time because of unknown key ids. Default 10 s. */
  readonly unknownKidIntervalMs: number
  /** So many such fetches may come at once. Default 1. */
  readonly unknownKidBurst: number
}

// A provider's Cache-Control moves the renewal inside these bounds: Keycloak's "no-cache" must not
// become a fetch for each login.
const MIN_FRESH_MS = 60_000
const MAX_FRESH_MS = 3_600_000
const FIRST_BACKOFF_MS = 1_000
const MAX_BACKOFF_MS = 60_000
// Full jitter may come out as no wait at all, which would be a second request in the same step.
const MIN_BACKOFF_MS = 250
// Without a login for this long, nothing is renewed any more.
const IDLE_MS = 3_600_000
// Logins that may wait for the same fetch.
const MAX_WAITERS = 1_000

interface Held {
  readonly keys: AdmittedKeys
  readonly fingerprint: string
  readonly loadedAt: number
  readonly freshMs: number
}

/** Where a key comes from, and when what it verified stops being believed. */
export interface FoundKey {
  readonly key: VerificationKey
  readonly generation: number
}

export class KeyRing implements AsyncDisposable {
  readonly #source: KeySource
  readonly #keyPolicy: KeyPolicy
  readonly #refresh: RefreshPolicy
  readonly #log: ValidatorLog
  readonly #unknown: UnknownKids
  readonly #closing = new AbortController()
  #held: Held | undefined
  #generation = 0
  #loading: Promise<void> | undefined
  #waiters = 0
  #failures = 0
  #retryAt = 0
  #lastFault: Fault | undefined
  #lastUsed = CLOCK.monotonicMs()
  #timer: NodeJS.Timeout | undefined

  constructor(source: KeySource, keyPolicy: KeyPolicy, refresh: RefreshPolicy, log: ValidatorLog) {
    this.#source = source
    this.#keyPolicy = keyPolicy
    this.#refresh = refresh
    this.#log = log
    this.#unknown = new UnknownKids(refresh.unknownKidIntervalMs, refresh.unknownKidBurst)
  }

  /** Fetches the keys if there are none; throws what went wrong. */
  async prefetch(): Promise<void> {
    if (this.#held === undefined) {
      await this.#wait(this.#closing.signal)
    }
  }

  /** How many keys there are. */
  get size(): number {
    return this.#held?.keys.keys.length ?? 0
  }

  /**
   * Counts up with every change of the keys; undefined while there are none to be trusted. What was
   * verified under another generation is verified again. Asking counts as use: keys that are used are
   * kept fresh.
   */
  currentGeneration(): number | undefined {
    const now = CLOCK.monotonicMs()
    this.#lastUsed = now
    const held = this.#held
    if (held === undefined || this.#isDead(held, now)) {
      return undefined
    }
    if (now - held.loadedAt >= held.freshMs) {
      this.#renewInBackground()
    }
    return this.#generation
  }

  /**
   * The key for a token. Where the key id is unknown the keys are fetched again, within the same
   * login, if that was not done a moment ago.
   *
   * @throws {Refusal} `no_matching_key`, `ambiguous_key` or `key_rejected`
   * @throws {Fault} `provider_unavailable` and the like, where there are no keys to look in
   */
  async keyFor(header: KeyName, signal: AbortSignal): Promise<FoundKey> {
    const found = this.#find(await this.#current(signal), header)
    if (found !== undefined) {
      return found
    }
    await this.#lookForNewKey(String(header.kid), signal)
    const second = this.#find(await this.#current(signal), header)
    if (second === undefined) {
      this.#unknown.remember(String(header.kid))
      throw new Refusal('no_matching_key', 'No key of the issuer has the key id of the token.')
    }
    return second
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer)
    this.#closing.abort(new Fault('provider_unavailable', 'the validator is shutting down'))
    await this.#loading?.catch(() => undefined)
  }

  #find(keys: AdmittedKeys, header: KeyName): FoundKey | undefined {
    const key = findKey(keys, header, this.#keyPolicy.allowMissingKid)
    return key === undefined ? undefined : { key, generation: this.#generation }
  }

  /** The keys; waits for them only if there are none. */
  async #current(signal: AbortSignal): Promise<AdmittedKeys> {
    if (this.currentGeneration() === undefined) {
      await this.#wait(signal)
    }
    if (this.#held === undefined) {
      throw new Fault('internal', 'a key set was loaded and is not there')
    }
    return this.#held.keys
  }

  #isDead(held: Held, now: number): boolean {
    return now - held.loadedAt >= Math.max(held.freshMs, this.#refresh.staleUntilMs)
  }

  /**
   * One fetch at a time may be caused by a key id nobody knows, and few in a row: tokens with random
   * key ids cost nothing to make. A fetch that is under way anyway is waited for.
   */
  async #lookForNewKey(kid: string, signal: AbortSignal): Promise<void> {
    const never = this.#source.refresh === 'never'
    const refused = (): Refusal =>
      new Refusal('no_matching_key', 'No key of the issuer has the key id of the token.')
    if (never || this.#unknown.wasAskedFor(kid)) {
      throw refused()
    }
    const mayFetch =
      this.#loading !== undefined ||
      (CLOCK.monotonicMs() >= this.#retryAt && this.#unknown.takeTurn())
    if (!mayFetch) {
      throw refused()
    }
    await this.#wait(signal).catch((error: unknown) => {
      // The old keys are still good, and the token's is not among them.
      throw this.currentGeneration() === undefined ? error : refused()
    })
  }

  async #wait(signal: AbortSignal): Promise<void> {
    if (this.#loading === undefined && CLOCK.monotonicMs() < this.#retryAt) {
      throw this.#lastFault ?? new Fault('provider_unavailable', 'the last attempt failed')
    }
    if (this.#waiters >= MAX_WAITERS) {
      throw new Fault('overloaded', `more than ${MAX_WAITERS} logins wait for keys`)
    }
    this.#waiters += 1
    try {
      await abortable(this.#load(), signal)
    } finally {
      this.#waiters -= 1
    }
  }

  #renewInBackground(): void {
    if (this.#loading === undefined && CLOCK.monotonicMs() >= this.#retryAt) {
      // The failure is in the log, and counted.
      this.#load().catch(() => undefined)
    }
  }

  /** Single flight: whoever comes while a fetch is under way shares it. */
  #load(): Promise<void> {
    this.#loading ??= this.#loadOnce().finally(() => {
      this.#loading = undefined
    })
    return this.#loading
  }

  async #loadOnce(): Promise<void> {
    clearTimeout(this.#timer)
    try {
      const { document, maxAgeSeconds } = await this.#source.load(this.#closing.signal)
      const keys = await admitKeys(document, this.#keyPolicy)
      this.#closing.signal.throwIfAborted()
      this.#swap(keys, fingerprintOf(document.keys), maxAgeSeconds)
    } catch (error) {
      throw this.#failed(error)
    }
  }

  /** All at once: a document is either used as a whole or not at all. */
  #swap(keys: AdmittedKeys, fingerprint: string, maxAgeSeconds: number | undefined): void {
    if (this.#failures > 0) {
      this.#log.log(`keys from ${this.#source.description} are available again`)
    }
    this.#failures = 0
    this.#retryAt = 0
    this.#lastFault = undefined
    this.#unknown.forget()
    if (fingerprint !== this.#held?.fingerprint) {
      this.#generation += 1
      this.#announce(keys)
    }
    const freshMs = this.#freshMs(maxAgeSeconds)
    this.#held = { keys, fingerprint, loadedAt: CLOCK.monotonicMs(), freshMs }
    if (this.#source.refresh !== 'never') {
      const spread = 0.9 + Math.random() * 0.2
      this.#schedule(Math.max(0, (freshMs - this.#refresh.refreshAheadMs) * spread))
    }
  }

  #freshMs(maxAgeSeconds: number | undefined): number {
    const { refresh } = this.#source
    if (refresh === 'never') {
      return Infinity
    }
    if (refresh !== 'by_policy') {
      return refresh.afterMs
    }
    return maxAgeSeconds === undefined || !this.#refresh.respectCacheControl
      ? this.#refresh.refreshAfterMs
      : Math.min(MAX_FRESH_MS, Math.max(MIN_FRESH_MS, maxAgeSeconds * 1000))
  }

  #failed(error: unknown): Fault {
    const fault = asFault(error, this.#source.description)
    if (this.#closing.signal.aborted) {
      return fault
    }
    const step = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** this.#failures)
    const wait = Math.max(MIN_BACKOFF_MS, Math.random() * step)
    this.#failures += 1
    this.#lastFault = fault
    this.#retryAt = CLOCK.monotonicMs() + wait
    this.#log.warning(`cannot load keys: ${fault.message}`, {
      failures: this.#failures,
      keys: this.currentGeneration() === undefined ? 'none' : 'kept',
    })
    this.#schedule(wait)
    return fault
  }

  #schedule(delayMs: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      if (CLOCK.monotonicMs() - this.#lastUsed < IDLE_MS) {
        this.#renewInBackground()
      }
    }, delayMs)
    this.#timer.unref()
  }

  #announce(keys: AdmittedKeys): void {
    this.#log.log(`keys loaded from ${this.#source.description}`, { keys: keys.keys.length })
    for (const alarm of keys.alarms) {
      this.#log.warning(`in the key set from ${this.#source.description}: ${alarm}`)
    }
    if (keys.keys.length === 0) {
      this.#log.warning(
        `the key set from ${this.#source.description} has no key that can verify a token`,
        { hint: 'A provider that signs with a shared secret (HS256) publishes no keys.' },
      )
    }
  }
}

function asFault(error: unknown, description: string): Fault {
  if (error instanceof Fault) {
    return error
  }
  const problem = error instanceof Error ? error.message : 'unknown error'
  return new Fault('provider_bad_response', `the key set from ${description}: ${problem}`)
}

function fingerprintOf(keys: unknown): string {
  return createHash('sha256').update(JSON.stringify(keys)).digest('base64')
}
