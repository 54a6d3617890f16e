/**
 * Tokens from an authorization server, without a person.
 *
 * @module
 */
import { OAuthGrantError, TokenConfigError } from '../errors.ts'
import { type GrantOptions, credentialOf, openGrants } from '../grants/grant-client.ts'
import { TokenCallback } from '../token/callback.ts'
import type { TokenFunction } from '../token/callback.ts'
import type { TokenCredential } from '../token/credential.ts'
import type { TokenRequest } from '../token/request.ts'
import type { TokenSource } from '../token/provider-options.ts'
import { machineSource } from './simple-sources.ts'

/** The client credentials grant (RFC 6749 §4.4): the program itself is who logs in. */
export function clientCredentialsSource(options: GrantOptions): TokenCallback<undefined> {
  if (options.clientSecret === undefined && typeof options.clientAuthentication !== 'object') {
    throw new TokenConfigError('client credentials need a client secret or a private key')
  }
  return machineSource(async (request) => {
    const grants = await openGrants(options, request)
    return credentialOf(await grants.requestScopedToken('client_credentials'))
  })
}

export interface RefreshSourceOptions extends GrantOptions {
  /** The first refresh token; later calls use the one that the provider holds. */
  readonly refreshToken: string
  /** Told of every new refresh token before it is used, so that it can be kept. */
  readonly onRotate?: ((refreshToken: string) => PromiseLike<void> | void) | undefined
}

/** The refresh grant (RFC 6749 §6). */
export function refreshSource(options: RefreshSourceOptions): TokenCallback<undefined> {
  const first = options.refreshToken
  if (typeof first !== 'string' || first === '') {
    throw new TokenConfigError('a refresh token is required')
  }
  return machineSource(async (request) => {
    const used = request.refreshToken ?? first
    const grants = await openGrants(options, request)
    const renewed = await grants.refresh(used)
    if (renewed.refreshToken !== undefined && renewed.refreshToken !== used) {
      await options.onRotate?.(renewed.refreshToken)
    }
    return renewed
  })
}

const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ACCESS_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:access_token'
const JWT_TYPE = 'urn:ietf:params:oauth:token-type:jwt'

export interface TokenExchangeOptions extends GrantOptions {
  /** The token that is exchanged: it, or where it comes from. */
  readonly subjectToken: string | TokenSource
  /** Default: an access token. */
  readonly subjectTokenType?: string | undefined
  /** Default: whatever the server gives; only access tokens and JWTs are taken. */
  readonly requestedTokenType?: string | undefined
}

/** Token exchange (RFC 8693): turns a token for one audience into one for another. */
export function tokenExchangeSource(options: TokenExchangeOptions): TokenCallback<undefined> {
  const subject = subjectOf(options.subjectToken)
  return machineSource(async (request) => {
    const grants = await openGrants(options, request)
    const { requestedTokenType } = options
    const response = await grants.exchange(TOKEN_EXCHANGE, {
      subject_token: await subject(request),
      subject_token_type: options.subjectTokenType ?? ACCESS_TOKEN_TYPE,
      ...(requestedTokenType === undefined ? {} : { requested_token_type: requestedTokenType }),
    })
    const type = response['issued_token_type']
    if (type !== ACCESS_TOKEN_TYPE && type !== JWT_TYPE) {
      throw new OAuthGrantError('token exchange: the issued token is not an access token')
    }
    // RFC 8693 §2.2.1: N_A where the token's type says nothing about its use.
    if (response.token_type !== 'bearer' && response.token_type !== 'n_a') {
      throw new OAuthGrantError('token exchange: the issued token is not a bearer token')
    }
    return credentialOf({ ...response, token_type: 'bearer' })
  })
}

function subjectOf(token: string | TokenSource): (request: TokenRequest) => Promise<string> {
  if (typeof token === 'string') {
    return async () => token
  }
  const callback: TokenCallback = typeof token === 'function' ? new TokenCallback(token) : token
  const fn: TokenFunction = callback.fn
  const { context } = callback
  return async (request) => {
    const { accessToken } = await fn({ ...request, context, refreshToken: undefined })
    return accessToken
  }
}

/**
 * Tries the refresh token of a request first. An authorization server that refuses it means that the
 * person has to log in again; one that is down does not.
 */
export async function refreshOr(
  options: GrantOptions,
  request: TokenRequest,
  logIn: () => Promise<TokenCredential>,
): Promise<TokenCredential> {
  if (request.refreshToken === undefined) {
    return logIn()
  }
  try {
    const grants = await openGrants(options, request)
    return await grants.refresh(request.refreshToken)
  } catch (error) {
    if (error instanceof OAuthGrantError && error.error !== undefined) {
      return logIn()
    }
    throw error
  }
}
