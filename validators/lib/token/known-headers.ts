/**
 * The headers of an issuer's tokens differ by key only, so each is taken apart once. A header is learned
 * from a token with a good signature alone; what strangers make up takes no room.
 *
 * @module
 */
import { checkHeader, type HeaderPolicy, type TokenHeader } from './header.ts'
import { refuseDisguisedNames } from './claim-names.ts'
import { decodeObject, type TokenLimits } from './parse-token.ts'

const MAX_HEADERS = 64

export class KnownHeaders {
  readonly #policy: HeaderPolicy
  readonly #limits: TokenLimits
  readonly #guardedNames: ReadonlySet<string> | undefined
  readonly #known = new Map<string, TokenHeader>()

  constructor(
    policy: HeaderPolicy,
    limits: TokenLimits,
    guardedNames: ReadonlySet<string> | undefined,
  ) {
    this.#policy = policy
    this.#limits = limits
    this.#guardedNames = guardedNames
  }

  /**
   * What an encoded header says.
   *
   * @throws {Refusal} where the policy does not accept it
   */
  read(encoded: string): TokenHeader {
    const known = this.#known.get(encoded)
    if (known !== undefined) {
      return known
    }
    const header = decodeObject(encoded, 'header', this.#limits)
    refuseDisguisedNames(header, this.#guardedNames)
    return checkHeader(header, this.#policy)
  }

  /** Remembers the header of a token whose signature is good. */
  learn(encoded: string, header: TokenHeader): void {
    if (this.#known.size === MAX_HEADERS) {
      this.#known.clear()
    }
    this.#known.set(encoded, header)
  }
}
