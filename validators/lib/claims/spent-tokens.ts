/**
 * Tokens that may log in once (`replay = "jti_once"`), by their `jti` (RFC 7519 §4.1.7). Known to this
 * process only; a pooler that opens several connections with one token is refused all but the first.
 *
 * @module
 */
import { CLOCK } from '../clock.ts'
import { type JsonObject, member } from '../json.ts'
import { Fault, Refusal } from '../refusal.ts'

const MAX_SPENT = 100_000

export class SpentTokens {
  /** `jti` → until when it has to be remembered, in seconds since 1970. */
  readonly #spent = new Map<string, number>()

  /**
   * Uses a token up.
   *
   * @param until - when the token cannot be accepted any more, in seconds since 1970
   * @throws {Refusal} `missing_claim`, `bad_claim_type` or `replayed`
   * @throws {Fault} `overloaded` rather than forget one
   */
  spend(claims: JsonObject, until: number): void {
    const jti = member(claims, 'jti')
    if (jti === undefined) {
      throw new Refusal('missing_claim', 'The token has no "jti".')
    }
    if (typeof jti !== 'string' || jti === '') {
      throw new Refusal('bad_claim_type', 'The claim "jti" is not a text.')
    }
    if (this.#spent.has(jti)) {
      throw new Refusal('replayed', 'The token has logged in before.')
    }
    if (this.#spent.size >= MAX_SPENT) {
      this.#forgetExpired()
    }
    if (this.#spent.size >= MAX_SPENT) {
      throw new Fault('overloaded', `more than ${MAX_SPENT} tokens to remember`)
    }
    this.#spent.set(jti, until)
  }

  #forgetExpired(): void {
    const now = CLOCK.seconds()
    for (const [jti, until] of this.#spent) {
      if (until < now) {
        this.#spent.delete(jti)
      }
    }
  }
}
