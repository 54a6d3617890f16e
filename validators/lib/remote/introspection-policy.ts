/**
 * What one provider is asked about a token, and what its answer has to say (RFC 7662).
 *
 * @module
 */
import type { AuthorizePolicy } from '../claims/authorize.ts'
import { checkAudience, checkIssuer } from '../claims/registered.ts'
import { authorizePolicy } from '../claims/settings.ts'
import type { IssuerMetadata } from '../http/issuer-metadata.ts'
import { type HttpPolicy, vetUrl } from '../http/policy.ts'
import { jsonBody } from '../http/request.ts'
import type { IntrospectionSettings } from '../introspection-settings.ts'
import { isJsonObject, type JsonObject, member } from '../json.ts'
import type { KeyRingLease } from '../keys/shared-key-rings.ts'
import { Fault, Refusal } from '../refusal.ts'
import { ask } from './ask.ts'
import type { Credentials } from './client-authentication.ts'
import { refuseForeignToken } from './foreign-token.ts'
import { Gate } from './gate.ts'
import { RemoteClaims } from './remote-claims.ts'
import { gateOptions, remoteClaimsOptions } from './settings.ts'
import { openSignedAnswer } from './signed-answer.ts'

const SIGNED_TYPE = 'application/token-introspection+jwt'
const MAX_KID = 256

interface Parts {
  readonly settings: IntrospectionSettings
  readonly issuer: string
  readonly http: HttpPolicy
  readonly metadata: IssuerMetadata
  readonly keys: KeyRingLease | undefined
  readonly credentials: () => Promise<Credentials>
  readonly signal: AbortSignal
}

export class IntrospectionPolicy {
  readonly authorize: AuthorizePolicy
  readonly claims: RemoteClaims
  readonly #parts: Parts
  readonly #gate: Gate

  constructor(parts: Parts) {
    const { settings, issuer } = parts
    const policy = authorizePolicy(settings, issuer)
    this.authorize = { ...policy, times: { ...policy.times, iatRequired: false } }
    this.claims = new RemoteClaims(remoteClaimsOptions(settings))
    this.#parts = parts
    this.#gate = new Gate(gateOptions(settings))
  }

  /** @throws {Refusal} see {@link refuseForeignToken} */
  refuseForeignToken(token: string): void {
    refuseForeignToken(token, this.#parts.issuer, this.#parts.settings.opaque_tokens)
  }

  /** What the provider says about a token that is active and for us. */
  introspect(token: string): Promise<JsonObject> {
    const { signal } = this.#parts
    return this.#gate.run(async () => this.#check(await this.#ask(token, signal)), signal)
  }

  async #ask(token: string, signal: AbortSignal): Promise<JsonObject> {
    const { settings, http } = this.#parts
    const url = await this.#endpoint(signal)
    const { headers, parameters } = await this.#parts.credentials()
    const body = new URLSearchParams({
      [settings.token_parameter]: token,
      ...(settings.token_type_hint === '' ? {} : { token_type_hint: settings.token_type_hint }),
      ...parameters,
    }).toString()
    const accept =
      settings.signed === 'off' ? 'application/json' : `${SIGNED_TYPE}, application/json`
    const response = await ask(
      {
        url,
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded', accept, ...headers },
        body,
        maxBytes: http.maxAnswerBytes,
        signal,
      },
      http,
      this.#gate,
      [400],
    )
    const isSigned = response.headers['content-type']?.toLowerCase().startsWith(SIGNED_TYPE)
    if (isSigned === true && settings.signed !== 'off') {
      return this.#openSigned(response.body.toString('latin1'), signal)
    }
    if (settings.signed === 'require') {
      throw new Fault('provider_bad_response', 'the introspection answer is not signed')
    }
    return jsonBody(response, url)
  }

  #openSigned(jwt: string, signal: AbortSignal): Promise<JsonObject> {
    const { settings, issuer, keys } = this.#parts
    if (keys === undefined) {
      throw new Fault('internal', 'there are no keys for a signed answer')
    }
    const header = {
      algorithms: new Set(settings.algorithms),
      allowUntrustedKeyHeaders: false,
      maxKid: MAX_KID,
    }
    const { toleranceSeconds } = this.authorize.times
    const clientId = settings.client_auth.client_id
    const policy = { issuer, clientId, keys: keys.ring, header, toleranceSeconds }
    return openSignedAnswer(jwt, policy, signal)
  }

  async #endpoint(signal: AbortSignal): Promise<URL> {
    const { settings, metadata, http } = this.#parts
    if (settings.endpoint !== undefined) {
      return new URL(settings.endpoint)
    }
    const document = await metadata.document(signal)
    // RFC 8705 §5: where certificates are asked for at another address, that one has to be taken.
    const aliases = member(document, 'mtls_endpoint_aliases')
    const alias =
      settings.client_auth.method === 'tls_client_auth' && isJsonObject(aliases)
        ? member(aliases, 'introspection_endpoint')
        : undefined
    const written = alias ?? member(document, 'introspection_endpoint')
    return vetUrl(written, 'introspection_endpoint', http)
  }

  /** RFC 7662 §2.2: everything but `active` is optional there, and not here. */
  #check(answer: JsonObject): JsonObject {
    const { settings, issuer } = this.#parts
    if (member(answer, 'active') !== true) {
      throw new Refusal('token_inactive', 'The provider says that the token is not active.')
    }
    if (member(answer, 'iss') !== undefined) {
      checkIssuer(answer, issuer)
    }
    const type = member(answer, 'token_type')
    if (typeof type === 'string' && type.toLowerCase() === 'dpop') {
      throw new Refusal('sender_constrained', 'The token is bound to a key that was not proven.')
    }
    if (settings.audiences !== undefined) {
      const audiences = new Set(settings.audiences)
      checkAudience(answer, { audiences, match: settings.audience_match })
    }
    return answer
  }
}
