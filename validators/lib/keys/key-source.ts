/**
 * Where the keys of an issuer come from: its discovery document, an address, a file or the settings.
 *
 * @module
 */
import { readFile, stat } from 'node:fs/promises'
import { expectOk, type IssuerMetadata } from '../http/issuer-metadata.ts'
import { hostAndPort, type HttpPolicy, vetUrl } from '../http/policy.ts'
import { jsonBody, type ProviderResponse, send, where } from '../http/request.ts'
import { type JsonObject, member, parseJsonObject } from '../json.ts'
import { Fault } from '../refusal.ts'

/** A JWK Set as it arrived. */
export interface KeyDocument {
  readonly document: JsonObject
  /** How long the sender says it stays good; undefined where it says nothing. */
  readonly maxAgeSeconds: number | undefined
}

/** Gives the current JWK Set of one issuer. */
export interface KeySource {
  /** For messages: where the keys come from. */
  readonly description: string
  /** Asked again this often at most, or never again (keys in the settings). */
  readonly refresh: 'by_policy' | 'never' | { readonly afterMs: number }
  load(signal: AbortSignal): Promise<KeyDocument>
}

/** Metadata of the issuer names the key set. */
export class DiscoveredKeys implements KeySource {
  readonly description: string
  readonly refresh = 'by_policy'
  readonly #metadata: IssuerMetadata
  readonly #http: HttpPolicy
  // After a failure the key set may have moved, so the metadata is asked first.
  #suspect = false

  constructor(metadata: IssuerMetadata, http: HttpPolicy) {
    this.description = metadata.description
    this.#metadata = metadata
    this.#http = http
  }

  async load(signal: AbortSignal): Promise<KeyDocument> {
    const metadata = await this.#metadata.document(signal, this.#suspect)
    try {
      const jwksUri = vetUrl(member(metadata, 'jwks_uri'), 'jwks_uri', this.#http)
      const keys = await fetchKeySet(jwksUri, this.#http, signal)
      this.#suspect = false
      return keys
    } catch (error) {
      this.#suspect = true
      throw error
    }
  }
}

/** The key set at an address that the settings name. */
export class KeysAtUrl implements KeySource {
  readonly description: string
  readonly refresh = 'by_policy'
  readonly #url: URL
  readonly #http: HttpPolicy

  constructor(url: URL, http: HttpPolicy) {
    this.description = where(url)
    this.#url = url
    this.#http = { ...http, allowedHosts: new Set([hostAndPort(url)]) }
  }

  load(signal: AbortSignal): Promise<KeyDocument> {
    return fetchKeySet(this.#url, this.#http, signal)
  }
}

const FILE_REFRESH_MS = 10_000
const MAX_KEY_FILE_BYTES = 1024 * 1024

/** A JWK Set in a file, read again when it has changed. */
export class KeysInFile implements KeySource {
  readonly description: string
  readonly refresh = { afterMs: FILE_REFRESH_MS } as const
  readonly #path: string

  constructor(path: string) {
    this.description = path
    this.#path = path
  }

  async load(signal: AbortSignal): Promise<KeyDocument> {
    const { size } = await stat(this.#path)
    if (size > MAX_KEY_FILE_BYTES) {
      throw new Fault('provider_bad_response', `${this.#path} is too large for a key set`)
    }
    const bytes = await readFile(this.#path, { signal })
    const limits = { depth: 16, members: 4096, items: 4096, string: 65_536 }
    return { document: parseJsonObject(bytes, limits), maxAgeSeconds: undefined }
  }
}

/** Keys written in the settings: they change with a reload only. */
export class FixedKeys implements KeySource {
  readonly description = 'the settings'
  readonly refresh = 'never'
  readonly #document: JsonObject

  constructor(document: JsonObject) {
    this.#document = document
  }

  load(): Promise<KeyDocument> {
    return Promise.resolve({ document: this.#document, maxAgeSeconds: undefined })
  }
}

async function fetchKeySet(url: URL, http: HttpPolicy, signal: AbortSignal): Promise<KeyDocument> {
  const token = await http.bearerToken?.()
  const response = await send(
    {
      url,
      headers: {
        accept: 'application/jwk-set+json, application/json',
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      maxBytes: http.maxKeySetBytes,
      signal,
    },
    http,
  )
  expectOk(response, url)
  return { document: jsonBody(response, url), maxAgeSeconds: maxAge(response) }
}

/** RFC 9111 §5.2.2: `no-store` and `no-cache` count as no time at all. */
function maxAge({ headers }: ProviderResponse): number | undefined {
  const control = headers['cache-control']?.toLowerCase()
  if (control !== undefined && /\bno-(store|cache)\b/.test(control)) {
    return 0
  }
  const seconds = /\bmax-age=(\d{1,9})\b/.exec(control ?? '')?.[1]
  if (seconds !== undefined) {
    return Number(seconds)
  }
  const expires = Date.parse(headers.expires ?? '')
  return Number.isNaN(expires) ? undefined : Math.max(0, (expires - Date.now()) / 1000)
}
