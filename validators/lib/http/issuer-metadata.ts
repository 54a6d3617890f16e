/**
 * The metadata of an issuer (RFC 8414, OpenID Connect Discovery), kept through an outage.
 *
 * @module
 */
import { CLOCK } from '../clock.ts'
import { type JsonObject, member } from '../json.ts'
import { Fault } from '../refusal.ts'
import type { HttpPolicy } from './policy.ts'
import { jsonBody, type ProviderResponse, send, where } from './request.ts'

/** How an issuer's metadata is found (RFC 8414 §3 puts the well-known part before the path). */
export type DiscoveryKind = 'oidc' | 'rfc8414'

/** The address of the discovery document of an issuer. */
export function discoveryUrl(issuer: string, kind: DiscoveryKind): URL {
  const url = new URL(issuer)
  const path = url.pathname.replace(/\/$/, '')
  url.pathname =
    kind === 'oidc'
      ? `${path}/.well-known/openid-configuration`
      : `/.well-known/oauth-authorization-server${path}`
  return url
}

const FRESH_MS = 3_600_000
const STALE_MS = 24 * FRESH_MS

export class IssuerMetadata {
  /** For messages. */
  readonly description: string
  readonly #issuer: string
  readonly #url: URL
  readonly #http: HttpPolicy
  #held: { readonly document: JsonObject; readonly at: number } | undefined

  constructor(issuer: string, url: URL, http: HttpPolicy) {
    this.description = where(url)
    this.#issuer = issuer
    this.#url = url
    this.#http = http
  }

  /**
   * The document: fresh for an hour, and used for a day while the provider is down.
   *
   * @param suspect - ask again now, because what the document said did not work
   * @throws {Fault} `provider_bad_response` and the like
   */
  async document(signal: AbortSignal, suspect = false): Promise<JsonObject> {
    const held = this.#held
    const age = held === undefined ? Infinity : CLOCK.monotonicMs() - held.at
    if (held !== undefined && age < FRESH_MS && !suspect) {
      return held.document
    }
    try {
      const document = await this.#fetch(signal)
      this.#held = { document, at: CLOCK.monotonicMs() }
      return document
    } catch (error) {
      const outage = error instanceof Fault && error.code !== 'provider_bad_response'
      if (held !== undefined && outage && age < STALE_MS) {
        return held.document
      }
      throw error
    }
  }

  async #fetch(signal: AbortSignal): Promise<JsonObject> {
    const http = this.#http
    const response = await send({ url: this.#url, maxBytes: http.maxMetadataBytes, signal }, http)
    expectOk(response, this.#url)
    const document = jsonBody(response, this.#url)
    // RFC 8414 §3.3, OpenID Connect Discovery §4.3: otherwise anybody's metadata could stand in.
    if (member(document, 'issuer') !== this.#issuer) {
      throw new Fault(
        'provider_bad_response',
        `${where(this.#url)} is the metadata of another issuer than "${this.#issuer}"`,
      )
    }
    return document
  }
}

/** @throws {Fault} for every status but 200; a redirect is one of them */
export function expectOk({ status }: ProviderResponse, url: URL): void {
  if (status !== 200) {
    const code = status >= 500 || status === 429 ? 'provider_unavailable' : 'provider_bad_response'
    throw new Fault(code, `${where(url)} answered with status ${status}`)
  }
}
