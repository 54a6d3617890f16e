/**
 * Tokens whose signature was right a moment ago. A pool opens a hundred connections with one token;
 * the signature is checked once.
 *
 * What is kept is a keyed digest and the claims, never the token. Times, scopes and roles are checked
 * again by whoever asks. An entry counts only as long as the keys are those it was verified with.
 *
 * @module
 */
import { hash, randomBytes } from 'node:crypto'
import { abortable, type Waiter } from '../abortable.ts'
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

interface Entry {
  readonly claims: JsonObject
  readonly generation: number
  readonly bytes: number
  readonly until: number
}

/** A token's name here: nobody can get the token back from it, or try tokens on it. */
export type TokenDigest = string

/** What is remembered once its signature is proven. */
export interface Unproven {
  readonly digest: TokenDigest
  readonly claims: JsonObject
  /** Size of the claims as text. */
  readonly bytes: number
  /** Of the keys that the signature is checked with, see `KeyRing.currentGeneration`. */
  readonly generation: number
}

// A client that tries the same forged token in a loop pays for one verification in this time.
const BAD_MS = 5_000
const BAD_ENTRIES = 1_024

export class VerifiedTokens {
  readonly #options: VerifiedTokensOptions
  // Hashed in front of the token, so that nobody who sees a digest can try tokens on it. An HMAC would
  // also stop a digest from being extended, and takes twice as long; digests never leave this object.
  readonly #key = randomBytes(32).toString('hex')
  readonly #entries = new Map<string, Entry>()
  readonly #bad = new Map<string, { readonly generation: number; readonly until: number }>()
  /** By digest and generation: what one set of keys proves says nothing about another. */
  readonly #underWay = new Map<string, Promise<void>>()
  #bytes = 0

  constructor(options: VerifiedTokensOptions) {
    this.#options = options
  }

  digest(token: string): TokenDigest {
    return hash('sha256', this.#key + token, 'base64')
  }

  /**
   * The claims of a token that was verified with the keys of this generation, or undefined.
   *
   * @param generation - of the keys now; undefined while there are none that count
   * @throws {Refusal} `bad_signature` where it was found to be bad a moment ago
   */
  recall(digest: TokenDigest, generation: number | undefined): JsonObject | undefined {
    const known = this.#entries.get(digest)
    if (known !== undefined) {
      if (known.generation === generation && CLOCK.monotonicMs() < known.until) {
        return known.claims
      }
      this.#forget(digest, known)
    }
    const bad = this.#bad.get(digest)
    if (bad !== undefined && bad.generation === generation && CLOCK.monotonicMs() < bad.until) {
      throw badSignature()
    }
    return undefined
  }

  /**
   * Proves a token's signature, once for all who ask meanwhile, and remembers its claims.
   *
   * @param verify - checks it
   * @param waiter - its signal ends the waiting of this caller, not the verification
   * @throws {Refusal} `bad_signature`
   */
  async prove(
    token: Unproven,
    verify: () => boolean | Promise<boolean>,
    waiter: Waiter,
  ): Promise<void> {
    const name = `${token.digest} ${token.generation}`
    const underWay = this.#underWay.get(name)
    if (underWay !== undefined) {
      await abortable(underWay, waiter.signal)
      return
    }
    // Somebody else with the same token may have been here between this caller's look and now.
    if (this.recall(token.digest, token.generation) !== undefined) {
      return
    }
    const valid = verify()
    if (typeof valid === 'boolean') {
      this.#conclude(token, valid)
      return
    }
    const proof = valid
      .then((valid) => this.#conclude(token, valid))
      .finally(() => this.#underWay.delete(name))
    this.#underWay.set(name, proof)
    await abortable(proof, waiter.signal)
  }

  #conclude(token: Unproven, valid: boolean): void {
    if (!valid) {
      this.#rememberBad(token.digest, token.generation)
      throw badSignature()
    }
    this.#remember(token)
  }

  #remember({ digest, claims, bytes, generation }: Unproven): void {
    const { entries, bytes: maxBytes, ttlMs } = this.#options
    const replaced = this.#entries.get(digest)
    if (replaced !== undefined) {
      this.#forget(digest, replaced)
    }
    this.#entries.set(digest, { claims, bytes, generation, until: CLOCK.monotonicMs() + ttlMs })
    this.#bytes += bytes
    for (const [oldest, entry] of this.#entries) {
      if (this.#entries.size <= entries && this.#bytes <= maxBytes) {
        break
      }
      this.#forget(oldest, entry)
    }
  }

  #rememberBad(digest: TokenDigest, generation: number): void {
    this.#bad.delete(digest)
    this.#bad.set(digest, { generation, until: CLOCK.monotonicMs() + BAD_MS })
    const oldest = this.#bad.size > BAD_ENTRIES ? this.#bad.keys().next().value : undefined
    if (oldest !== undefined) {
      this.#bad.delete(oldest)
    }
  }

  #forget(digest: TokenDigest, entry: Entry): void {
    this.#entries.delete(digest)
    this.#bytes -= entry.bytes
  }
}

function badSignature(): Refusal {
  return new Refusal('bad_signature', 'The signature is not that of the key.')
}
