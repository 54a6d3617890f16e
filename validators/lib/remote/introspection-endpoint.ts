/**
 * One introspection endpoint: how it is asked about a token, and what its answer has to say (RFC 7662).
 *
 * @module
 */
import { checkAudience, checkIssuer } from '../claims/registered.ts'
import type { IssuerMetadata } from '../http/issuer-metadata.ts'
import { vetUrl } from '../http/policy.ts'
import { jsonBody } from '../http/request.ts'
import type { IntrospectionSettings } from '../introspection-settings.ts'
import { isJsonObject, type JsonObject, member } from '../json.ts'
import type { KeyRing } from '../keys/key-ring.ts'
import { Fault, Refusal } from '../refusal.ts'
import { ask, type ProviderConnection } from './ask.ts'
import type { Credentials } from './client-authentication.ts'
import type { Inquiry } from './introspection-policy.ts'
import { openSignedAnswer } from './signed-answer.ts'
import { addAttributes, askUserinfo } from './userinfo.ts'

const SIGNED_TYPE = 'application/token-introspection+jwt'
const MAX_KID = 256

interface Parts {
  readonly settings: IntrospectionSettings
  readonly issuer: string
  readonly connection: ProviderConnection
  readonly metadata: IssuerMetadata
  /** For signed answers. */
  readonly keys: KeyRing | undefined
  readonly credentials: () => Promise<Credentials>
}

export class IntrospectionEndpoint implements Inquiry {
  readonly takesOpaqueTokens = true
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  async about(token: string, signal: AbortSignal): Promise<JsonObject> {
    const proven = this.#check(await this.#ask(token, signal))
    const url = await this.#userinfo(signal)
    return url === undefined
      ? proven
      : addAttributes(proven, await askUserinfo(token, { url, signal }, this.#parts.connection))
  }

  async #ask(token: string, signal: AbortSignal): Promise<JsonObject> {
    const { settings, connection } = this.#parts
    const { token_parameter: parameter = 'token', token_type_hint: hint = 'access_token' } =
      settings
    const url = await this.#endpoint(signal)
    const { headers, parameters } = await this.#parts.credentials()
    const body = new URLSearchParams({
      [parameter]: token,
      ...(hint === '' ? {} : { token_type_hint: hint }),
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
        maxBytes: connection.http.maxAnswerBytes,
        signal,
      },
      connection,
      { inactive: [400] },
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
    const clientId = settings.client_auth.client_id
    if (keys === undefined || clientId === undefined) {
      throw new Fault('internal', 'there are no keys for a signed answer')
    }
    const header = {
      algorithms: new Set(settings.algorithms),
      allowUntrustedKeyHeaders: false,
      maxKid: MAX_KID,
    }
    const toleranceSeconds = settings.clock_tolerance / 1_000
    return openSignedAnswer(jwt, { issuer, clientId, keys, header, toleranceSeconds }, signal)
  }

  async #endpoint(signal: AbortSignal): Promise<URL> {
    const { settings, metadata, connection } = this.#parts
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
    return vetUrl(written, 'introspection_endpoint', connection.http)
  }

  async #userinfo(signal: AbortSignal): Promise<URL | undefined> {
    const { settings, metadata, connection } = this.#parts
    switch (settings.userinfo) {
      case 'off':
        return undefined
      case 'metadata': {
        const document = await metadata.document(signal)
        return vetUrl(member(document, 'userinfo_endpoint'), 'userinfo_endpoint', connection.http)
      }
      default:
        return new URL(settings.userinfo)
    }
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
