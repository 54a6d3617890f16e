/**
 * What the rules of one issuer hold to, where the provider is asked about each token.
 *
 * @module
 */
import type { AuthorizePolicy } from '../claims/authorize.ts'
import { authorizePolicy } from '../claims/settings.ts'
import type { IntrospectionSettings } from '../introspection-settings.ts'
import type { JsonObject } from '../json.ts'
import { refuseForeignToken } from './foreign-token.ts'
import type { Gate } from './gate.ts'
import { RemoteClaims } from './remote-claims.ts'
import { remoteClaimsOptions } from './settings.ts'

/** Somebody who can be asked about a token, whatever the protocol. */
export interface Inquiry {
  /** Whether tokens that are no JWT are sent there at all. */
  readonly takesOpaqueTokens: boolean
  /**
   * What the provider says about a token that is active and for us, in the words of a JWT's claims.
   *
   * @throws {Refusal} where it is not
   */
  about(token: string, signal: AbortSignal): Promise<JsonObject>
}

interface Parts {
  readonly settings: IntrospectionSettings
  readonly issuer: string
  readonly inquiry: Inquiry
  readonly gate: Gate
  readonly signal: AbortSignal
}

export class IntrospectionPolicy {
  readonly authorize: AuthorizePolicy
  readonly claims: RemoteClaims
  readonly #parts: Parts

  constructor(parts: Parts) {
    const { settings, issuer } = parts
    const policy = authorizePolicy(settings, issuer)
    this.authorize = { ...policy, times: { ...policy.times, iatRequired: false } }
    this.claims = new RemoteClaims(remoteClaimsOptions(settings))
    this.#parts = parts
  }

  /** @throws {Refusal} see {@link refuseForeignToken} */
  refuseForeignToken(token: string): void {
    const { issuer, inquiry, settings } = this.#parts
    const opaque = inquiry.takesOpaqueTokens ? settings.opaque_tokens : undefined
    refuseForeignToken(token, issuer, opaque)
  }

  /** What the provider says about a token that is active and for us. */
  introspect(token: string): Promise<JsonObject> {
    const { gate, inquiry, signal } = this.#parts
    return gate.run(() => inquiry.about(token, signal), signal)
  }
}
