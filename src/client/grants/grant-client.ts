/**
 * One authorization server and one client of it: discovery and the token endpoint, with libpq's limits
 * (`oauth-curl.c`) around oauth4webapi's requests.
 *
 * @module
 */
import * as oauth from 'oauth4webapi'
import { configuredIssuer, issuerOfDiscoveryUrl } from '../exchange/discovery-url.ts'
import { OAuthConnectionError, OAuthGrantError, TokenConfigError } from '../errors.ts'
import { bearerTokenFault } from '../token/bearer-token.ts'
import { type TokenCredential, credential } from '../token/credential.ts'
import type { TokenRequest } from '../token/request.ts'
import { type BoundedRequest, boundedFetch } from './bounded-fetch.ts'
import { checkedJson, deviceFields } from './checked-json.ts'
import { type ClientAuthentication, clientAuthentication } from './client-authentication.ts'
import { grantError, secretsIn } from './grant-error.ts'
import { printable } from './printable.ts'

/** The authorization server and the client, for every grant. */
export interface GrantOptions {
  /** Default: the issuer of the login. A well-known URI is taken as it is. */
  readonly issuer?: string | undefined
  /** Default: the client id of the login. */
  readonly clientId?: string | undefined
  /** An empty secret is one, too. */
  readonly clientSecret?: string | undefined
  readonly clientAuthentication?: ClientAuthentication | undefined
  /** Default: the scope of the login, else the server's. */
  readonly scope?: string | undefined
  /** RFC 8707 resource indicator. */
  readonly resource?: string | undefined
  /** For servers that want one outside of any standard. */
  readonly audience?: string | undefined
  /** Authorities to trust instead of Node's, PEM. */
  readonly ca?: string | Buffer | undefined
  /** Allows an `http:` issuer and endpoints. For tests. */
  readonly allowInsecureIssuer?: boolean | undefined
}

/** Makes a client for one call of a callback; nothing is kept between calls. */
export async function openGrants(
  options: GrantOptions,
  request: Pick<TokenRequest, 'issuer' | 'discoveryUrl' | 'clientId' | 'scope' | 'signal'>,
): Promise<GrantClient> {
  const clientId = options.clientId ?? request.clientId
  const configured = options.issuer ?? request.issuer
  if (clientId === undefined || configured === undefined) {
    throw new TokenConfigError('an issuer and a client id must be configured')
  }
  const rules = { allowInsecureIssuer: options.allowInsecureIssuer }
  const issuer = configuredIssuer(configured, rules)
  const url = request.discoveryUrl ?? wellKnown(configured)
  if (issuerOfDiscoveryUrl(url, rules) !== issuer) {
    throw new TokenConfigError(
      `the server's issuer is not the one that the token source is for (${printable(issuer)})`,
    )
  }
  const client = new GrantClient({ ...options, clientId }, request)
  await client.discover(url, issuer)
  return client
}

function wellKnown(issuer: string): string {
  return issuer.includes('/.well-known/') ? issuer : `${issuer}/.well-known/openid-configuration`
}

/** See {@link openGrants}. */
export class GrantClient {
  readonly #options: GrantOptions & { readonly clientId: string }
  readonly #request: Pick<TokenRequest, 'scope' | 'signal'>
  readonly client: oauth.Client
  readonly #authentication: oauth.ClientAuth
  /** Whatever was sent that must not show in an error. */
  readonly #secrets = new Set<string>()
  metadata: oauth.AuthorizationServer = { issuer: '' }

  constructor(
    options: GrantOptions & { readonly clientId: string },
    request: Pick<TokenRequest, 'scope' | 'signal'>,
  ) {
    this.#options = options
    this.#request = request
    this.client = { client_id: options.clientId }
    this.#authentication = clientAuthentication(options)
  }

  /** What is asked for; undefined: whatever the authorization server gives. */
  get scope(): string | undefined {
    const scope = this.#options.scope ?? this.#request.scope
    return scope === '' ? undefined : scope
  }

  /** Fetches the metadata. Its issuer must be the expected one, byte for byte. */
  async discover(url: string, issuer: string): Promise<void> {
    const what = 'could not fetch the OpenID discovery document'
    const response = await this.#fetch(url, { signal: this.#request.signal })
    const metadata = await this.#guard(what, () =>
      oauth.processDiscoveryResponse(new URL(issuer), response),
    )
    if (metadata.issuer !== issuer) {
      throw new OAuthGrantError(
        `${what}: issuer identifier (${printable(metadata.issuer)}) does not match the configured issuer (${printable(issuer)})`,
      )
    }
    this.metadata = metadata
  }

  /** RFC 8628 §3.1, 3.2. */
  async requestDeviceAuthorization(): Promise<oauth.DeviceAuthorizationResponse> {
    this.#assertEndpoint('device_authorization_endpoint')
    const parameters = this.#withDefaults({})
    return this.#guard('could not obtain device authorization', async () => {
      const { metadata, client } = this
      const response = await oauth.deviceAuthorizationRequest(
        metadata,
        client,
        this.#authentication,
        parameters,
        this.#http(deviceFields),
      )
      return oauth.processDeviceAuthorizationResponse(metadata, client, response)
    })
  }

  /** Any grant at the token endpoint. */
  async requestToken(
    grantType: string,
    parameters: Readonly<Record<string, string>>,
    options: { readonly recognizedTokenTypes?: oauth.RecognizedTokenTypes } = {},
  ): Promise<oauth.TokenEndpointResponse> {
    this.#assertEndpoint('token_endpoint')
    return this.#guard('could not obtain access token', async () => {
      const { metadata, client } = this
      const response = await oauth.genericTokenEndpointRequest(
        metadata,
        client,
        this.#authentication,
        grantType,
        { ...parameters },
        this.#http(),
      )
      return oauth.processGenericTokenEndpointResponse(metadata, client, response, options)
    })
  }

  /** {@link GrantClient.requestToken} with the scope, resource and audience of the options. */
  async requestScopedToken(
    grantType: string,
    parameters: Readonly<Record<string, string>> = {},
  ): Promise<oauth.TokenEndpointResponse> {
    return this.requestToken(grantType, this.#withDefaults(parameters))
  }

  /** RFC 6749 §6. The old refresh token stays good where the server sends no new one. */
  async refresh(refreshToken: string): Promise<TokenCredential> {
    const parameters = this.#withDefaults({ refresh_token: refreshToken })
    return credentialOf(await this.requestToken('refresh_token', parameters), refreshToken)
  }

  /** The authorization code grant behind a validated redirect (RFC 6749 §4.1.3, RFC 7636). */
  async redeemCode(
    redirected: URLSearchParams,
    redirectUri: string,
    codeVerifier: string,
    expectedNonce: string | undefined,
  ): Promise<oauth.TokenEndpointResponse> {
    this.#assertEndpoint('token_endpoint')
    return this.#guard('could not obtain access token', async () => {
      const { metadata, client } = this
      const response = await oauth.authorizationCodeGrantRequest(
        metadata,
        client,
        this.#authentication,
        redirected,
        redirectUri,
        codeVerifier,
        this.#http(),
      )
      const checks = expectedNonce === undefined ? {} : { expectedNonce, requireIdToken: true }
      return oauth.processAuthorizationCodeResponse(metadata, client, response, checks)
    })
  }

  /** RFC 8693; the type of the token is the caller's to check (`N_A` is none). */
  async exchange(
    grantType: string,
    parameters: Readonly<Record<string, string>>,
  ): Promise<oauth.TokenEndpointResponse> {
    return this.requestToken(grantType, this.#withDefaults(parameters), {
      recognizedTokenTypes: { n_a: () => {} },
    })
  }

  /** RFC 7009. */
  async revoke(token: string): Promise<void> {
    this.#assertEndpoint('revocation_endpoint')
    await this.#guard('could not revoke the token', async () => {
      const response = await oauth.revocationRequest(
        this.metadata,
        this.client,
        this.#authentication,
        token,
        this.#http(),
      )
      await oauth.processRevocationResponse(response)
    })
  }

  /** The parameters that every grant may carry. */
  #withDefaults(parameters: Readonly<Record<string, string>>): Record<string, string> {
    const { resource, audience } = this.#options
    const { scope } = this
    return {
      ...(scope === undefined ? {} : { scope }),
      ...(resource === undefined ? {} : { resource }),
      ...(audience === undefined ? {} : { audience }),
      ...parameters,
    }
  }

  #assertEndpoint(
    name: 'device_authorization_endpoint' | 'token_endpoint' | 'revocation_endpoint',
  ): void {
    const url = this.metadata[name]
    if (typeof url !== 'string' || !URL.canParse(url)) {
      throw new OAuthGrantError(`issuer has no ${name}`)
    }
    if (new URL(url).protocol !== 'https:' && this.#options.allowInsecureIssuer !== true) {
      throw new OAuthGrantError(`${name} must use HTTPS`)
    }
  }

  #http(rewrite?: (json: Record<string, unknown>) => void): {
    readonly [oauth.customFetch]: (url: string, init: BoundedRequest) => Promise<Response>
    readonly [oauth.allowInsecureRequests]: boolean
    readonly signal: AbortSignal
  } {
    return {
      [oauth.customFetch]: (url, init) => this.#fetch(url, init, rewrite),
      [oauth.allowInsecureRequests]: this.#options.allowInsecureIssuer === true,
      signal: this.#request.signal,
    }
  }

  async #fetch(
    url: string,
    init: BoundedRequest,
    rewrite?: (json: Record<string, unknown>) => void,
  ): Promise<Response> {
    const accept = { accept: 'application/json' }
    const headers = { ...accept, ...init.headers }
    for (const secret of secretsIn(init)) {
      this.#secrets.add(secret)
    }
    const response = await boundedFetch(url, { ...init, headers, ca: this.#options.ca })
    return checkedJson(response, rewrite)
  }

  async #guard<Value>(what: string, run: () => Promise<Value>): Promise<Value> {
    try {
      return await run()
    } catch (error) {
      this.#request.signal.throwIfAborted()
      if (error instanceof OAuthConnectionError || error instanceof OAuthGrantError) {
        throw error
      }
      const { clientSecret } = this.#options
      throw grantError(what, error, {
        secrets: [...this.#secrets, clientSecret ?? ''],
        clientSecret,
      })
    }
  }
}

/**
 * A credential from what a token endpoint said.
 *
 * @throws OAuthGrantError if the token could not be sent to a server.
 */
export function credentialOf(
  response: oauth.TokenEndpointResponse,
  oldRefreshToken?: string,
): TokenCredential {
  const fault = bearerTokenFault(response.access_token)
  if (fault !== undefined) {
    throw new OAuthGrantError(`could not obtain access token: ${fault}`)
  }
  if (response.token_type !== 'bearer') {
    throw new OAuthGrantError('could not obtain access token: it is not a bearer token')
  }
  const { expires_in: seconds } = response
  return credential(response.access_token, {
    expiresInMs: seconds === undefined ? undefined : seconds * 1000,
    refreshToken: response.refresh_token ?? oldRefreshToken,
  })
}
