/**
 * The keys of one issuer, as a login wants them: the one for this token, also where the issuer made it a
 * moment ago, without letting tokens with invented key ids decide how often the issuer is asked.
 *
 * @module
 */
import type { Waiter } from '../abortable.ts'
import { Refusal } from '../refusal.ts'
import type { VerificationKey } from './admit-keys.ts'
import { findKey, type KeyName } from './find-key.ts'
import { KeptKeys, type KeptKeysOptions, type TrustedKeys } from './kept-keys.ts'
import { UnknownKids } from './unknown-kids.ts'

/** Where a key comes from, and when what it verified stops being believed. */
export interface FoundKey {
  readonly key: VerificationKey
  readonly generation: number
}

export type KeyRingOptions = Omit<KeptKeysOptions, 'renewed'>

export class KeyRing implements AsyncDisposable {
  readonly #kept: KeptKeys
  readonly #unknown: UnknownKids
  readonly #allowMissingKid: boolean
  /** False where the keys change with the settings only. */
  readonly #mayChange: boolean

  constructor(options: KeyRingOptions) {
    const { source, keyPolicy, refresh } = options
    const unknown = new UnknownKids(refresh.unknownKidIntervalMs, refresh.unknownKidBurst)
    this.#kept = new KeptKeys({ ...options, renewed: () => unknown.forget() })
    this.#unknown = unknown
    this.#allowMissingKid = keyPolicy.allowMissingKid
    this.#mayChange = source.refresh !== 'never'
  }

  /** Fetches the keys if there are none; throws what went wrong. */
  prefetch(): Promise<void> {
    return this.#kept.prefetch()
  }

  /** How many keys there are. */
  get size(): number {
    return this.#kept.size
  }

  /**
   * Counts up with every change of the keys; undefined while there are none to be trusted. What was
   * verified under another generation is verified again. Asking counts as use: keys that are used are
   * kept fresh.
   */
  currentGeneration(): number | undefined {
    return this.#kept.trusted()?.generation
  }

  /**
   * The key for a token. Where the key id is unknown the keys are fetched again, within the same
   * login, if that was not done a moment ago.
   *
   * @throws {Refusal} `no_matching_key`, `ambiguous_key` or `key_rejected`
   * @throws {Fault} `provider_unavailable` and the like, where there are no keys to look in
   */
  async keyFor(header: KeyName, waiter: Waiter): Promise<FoundKey> {
    const found = this.#find(await this.#current(waiter), header)
    if (found !== undefined) {
      return found
    }
    await this.#lookForNewKey(String(header.kid), waiter.signal)
    const second = this.#find(await this.#current(waiter), header)
    if (second === undefined) {
      this.#unknown.remember(String(header.kid))
      throw noMatchingKey()
    }
    return second
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#kept[Symbol.asyncDispose]()
  }

  #find({ keys, generation }: TrustedKeys, header: KeyName): FoundKey | undefined {
    const key = findKey(keys, header, this.#allowMissingKid)
    return key === undefined ? undefined : { key, generation }
  }

  /** The keys; waits for them only if there are none. */
  async #current(waiter: Waiter): Promise<TrustedKeys> {
    return this.#kept.trusted() ?? (await this.#kept.fetch(waiter.signal))
  }

  /**
   * One fetch at a time may be caused by a key id nobody knows, and few in a row: tokens with random
   * key ids cost nothing to make. A fetch that is under way anyway is waited for.
   */
  async #lookForNewKey(kid: string, signal: AbortSignal): Promise<void> {
    if (!this.#mayChange || this.#unknown.wasAskedFor(kid)) {
      throw noMatchingKey()
    }
    const kept = this.#kept
    if (!kept.isFetching && !(kept.mayFetch && this.#unknown.takeTurn())) {
      throw noMatchingKey()
    }
    await kept.fetch(signal).catch((error: unknown) => {
      // The old keys are still good, and the token's is not among them.
      throw kept.trusted() === undefined ? error : noMatchingKey()
    })
  }
}

function noMatchingKey(): Refusal {
  return new Refusal('no_matching_key', 'No key of the issuer has the key id of the token.')
}
