/**
 * Claims that somebody else looked up for a token, remembered for a moment: the moment is how long a
 * revoked token goes on working.
 *
 * @module
 */
import { hash, randomBytes } from 'node:crypto'
import { abortable } from '../abortable.ts'
import { CLOCK } from '../clock.ts'
import { type JsonObject, member } from '../json.ts'
import { Refusal } from '../refusal.ts'

export interface RemoteClaimsOptions {
  /** Default 10 s; never longer than the token is valid. */
  readonly positiveMs: number
  /** Default 5 s. */
  readonly negativeMs: number
  /** Default 10000. */
  readonly entries: number
}

interface Entry {
  readonly answer: JsonObject | Refusal
  readonly until: number
}

export class RemoteClaims {
  readonly #options: RemoteClaimsOptions
  readonly #key = randomBytes(32).toString('hex')
  readonly #entries = new Map<string, Entry>()
  readonly #underWay = new Map<string, Promise<JsonObject>>()

  constructor(options: RemoteClaimsOptions) {
    this.#options = options
  }

  /**
   * The claims of a token: remembered, or asked for once for all who want them meanwhile. Refusals are
   * remembered too; failures to answer are not.
   *
   * @param signal - ends the waiting of this caller, not the question
   */
  async of(
    token: string,
    ask: () => Promise<JsonObject>,
    signal: AbortSignal,
  ): Promise<JsonObject> {
    const digest = hash('sha256', this.#key + token, 'base64')
    const known = this.#entries.get(digest)
    if (known !== undefined && CLOCK.monotonicMs() < known.until) {
      if (known.answer instanceof Refusal) {
        throw known.answer
      }
      return known.answer
    }
    let question = this.#underWay.get(digest)
    if (question === undefined) {
      question = this.#ask(digest, ask)
      this.#underWay.set(digest, question)
    }
    return abortable(question, signal)
  }

  async #ask(digest: string, ask: () => Promise<JsonObject>): Promise<JsonObject> {
    try {
      const claims = await ask()
      this.#remember(digest, claims, Math.min(this.#options.positiveMs, remainingMs(claims)))
      return claims
    } catch (error) {
      if (error instanceof Refusal) {
        this.#remember(digest, error, this.#options.negativeMs)
      }
      throw error
    } finally {
      this.#underWay.delete(digest)
    }
  }

  #remember(digest: string, answer: JsonObject | Refusal, ms: number): void {
    this.#entries.delete(digest)
    if (ms <= 0 || this.#options.entries === 0) {
      return
    }
    this.#entries.set(digest, { answer, until: CLOCK.monotonicMs() + ms })
    const oldest =
      this.#entries.size > this.#options.entries ? this.#entries.keys().next().value : undefined
    if (oldest !== undefined) {
      this.#entries.delete(oldest)
    }
  }
}

function remainingMs(claims: JsonObject): number {
  const exp = member(claims, 'exp')
  return typeof exp === 'number' ? (exp - CLOCK.seconds()) * 1_000 : 0
}
