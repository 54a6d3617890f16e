/**
 * Tokens whose signature was right a moment ago. A pool opens a hundred connections with one token;
 * the signature is checked once.
 *
 * What is kept is a keyed digest and the claims, never the token. Times, scopes and roles are checked
 * again by whoever asks. An entry counts only as long as the keys are those it was verified with.
 *
 * @module
 */
import { createHmac, randomBytes } from 'node:crypto'
import { abortable } from '../abortable.ts'
import { CLOCK } from '../clock.ts'
import type { JsonObject } from '../json.ts'
import { Refusal } from '../refusal.ts'

export interface VerifiedTokensOptions {
  /** Default 10000; 0 switches the memory off, not the sharing of work under way. */
  readonly entries: number
  /** Of payload text, all entries together. Default 32 MiB. */
  readonly bytes: number
  /** Default 60 s. */
  readonly ttlMs: number
}

/** What a verification found. */
export interface Verified {
  readonly claims: JsonObject
  /** Of the keys, see `KeyRing.generation`. */
  readonly generation: number
  /** Size of what is kept. */
  readonly bytes: number
}

interface Entry extends Verified {
  readonly until: number
}

// A client that tries the same forged token in a loop pays for one verification in this time.
const BAD_MS = 5_000
const BAD_ENTRIES = 1_024

export class VerifiedTokens {
  readonly #options: VerifiedTokensOptions
  readonly #key = randomBytes(32)
  readonly #entries = new Map<string, Entry>()
  readonly #bad = new Map<string, { readonly generation: number; readonly until: number }>()
  readonly #underWay = new Map<string, Promise<Verified>>()
  #bytes = 0

  constructor(options: VerifiedTokensOptions) {
    this.#options = options
  }

  /**
   * The claims of a token: remembered, or from `verify`, which runs once for all who ask meanwhile.
   *
   * @param generation - of the keys now; undefined while there are none that count
   * @param signal - ends the waiting of this caller, not the verification
   */
  claimsOf(
    token: string,
    generation: number | undefined,
    verify: () => Promise<Verified>,
    signal: AbortSignal,
  ): JsonObject | Promise<JsonObject> {
    const digest = this.#digest(token)
    const known = this.#entries.get(digest)
    if (known !== undefined) {
      if (known.generation === generation && CLOCK.monotonicMs() < known.until) {
        return known.claims
      }
      this.#forget(digest, known)
    }
    this.#refuseKnownBad(digest, generation)
    return this.#share(digest, generation, verify, signal)
  }

  async #share(
    digest: string,
    generation: number | undefined,
    verify: () => Promise<Verified>,
    signal: AbortSignal,
  ): Promise<JsonObject> {
    let verification = this.#underWay.get(digest)
    if (verification === undefined) {
      verification = this.#run(digest, generation, verify)
      this.#underWay.set(digest, verification)
    }
    return (await abortable(verification, signal)).claims
  }

  async #run(
    digest: string,
    generation: number | undefined,
    verify: () => Promise<Verified>,
  ): Promise<Verified> {
    try {
      const verified = await verify()
      this.#remember(digest, verified)
      return verified
    } catch (error) {
      if (error instanceof Refusal && error.code === 'bad_signature' && generation !== undefined) {
        this.#rememberBad(digest, generation)
      }
      throw error
    } finally {
      this.#underWay.delete(digest)
    }
  }

  #remember(digest: string, verified: Verified): void {
    const { entries, bytes, ttlMs } = this.#options
    this.#entries.set(digest, { ...verified, until: CLOCK.monotonicMs() + ttlMs })
    this.#bytes += verified.bytes
    for (const [oldest, entry] of this.#entries) {
      if (this.#entries.size <= entries && this.#bytes <= bytes) {
        break
      }
      this.#forget(oldest, entry)
    }
  }

  #forget(digest: string, entry: Entry): void {
    this.#entries.delete(digest)
    this.#bytes -= entry.bytes
  }

  #refuseKnownBad(digest: string, generation: number | undefined): void {
    const bad = this.#bad.get(digest)
    if (bad !== undefined && bad.generation === generation && CLOCK.monotonicMs() < bad.until) {
      throw new Refusal('bad_signature', 'The signature is not that of the key.')
    }
  }

  #rememberBad(digest: string, generation: number): void {
    this.#bad.delete(digest)
    this.#bad.set(digest, { generation, until: CLOCK.monotonicMs() + BAD_MS })
    const oldest = this.#bad.size > BAD_ENTRIES ? this.#bad.keys().next().value : undefined
    if (oldest !== undefined) {
      this.#bad.delete(oldest)
    }
  }

  #digest(token: string): string {
    return createHmac('sha256', this.#key).update(token, 'latin1').digest('base64')
  }
}
