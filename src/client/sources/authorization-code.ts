/**
 * The authorization code grant with PKCE and a loopback redirect (RFC 8252, RFC 7636).
 *
 * @module
 */
import {
  calculatePKCECodeChallenge,
  generateRandomCodeVerifier,
  generateRandomNonce,
  generateRandomState,
  validateAuthResponse,
} from 'oauth4webapi'
import { OAuthGrantError } from '../errors.ts'
import {
  type GrantClient,
  type GrantOptions,
  credentialOf,
  openGrants,
} from '../grants/grant-client.ts'
import { TokenCallback } from '../token/callback.ts'
import { type TokenCredential, credential } from '../token/credential.ts'
import type { TokenRequest } from '../token/request.ts'
import { refreshOr } from './grant-sources.ts'
import { type OpenBrowser, browserCommand } from './open-browser.ts'
import { type RedirectServer, listenForRedirect } from './redirect-server.ts'

export interface AuthorizationCodeOptions extends GrantOptions {
  /** Where the answer is taken: loopback only. Default `http://127.0.0.1:0/callback`, any free port. */
  readonly redirectUri?: string | undefined
  /** Default: the system's browser. */
  readonly openBrowser?: OpenBrowser | undefined
  /** How long the browser may take to show up, in milliseconds. Default 10 s. */
  readonly openTimeoutMs?: number | undefined
  /** Bind the ID token to this login. Default true; without effect unless `openid` is asked for. */
  readonly nonce?: boolean | undefined
  /** Send the ID token to the database instead of the access token. Default false. */
  readonly useIdToken?: boolean | undefined
}

const DEFAULT_SCOPES = ['openid', 'offline_access']
const OPEN_TIMEOUT_MS = 10_000

/** A login in the person's browser on this machine. There is no way from here to the device flow. */
export function authorizationCodeSource(
  options: AuthorizationCodeOptions,
): TokenCallback<undefined> {
  return new TokenCallback<undefined>(
    (request) => refreshOr(options, request, () => logIn(options, request)),
    { interactive: true },
  )
}

async function logIn(
  options: AuthorizationCodeOptions,
  request: TokenRequest,
): Promise<TokenCredential> {
  const grants = await openGrants(options, request)
  const server = await listenForRedirect(options.redirectUri ?? 'http://127.0.0.1:0/callback')
  try {
    return await logInThrough(server, grants, options, request.signal)
  } finally {
    await server.close()
  }
}

async function logInThrough(
  server: RedirectServer,
  grants: GrantClient,
  options: AuthorizationCodeOptions,
  signal: AbortSignal,
): Promise<TokenCredential> {
  const scopes = requestedScopes(grants, options.scope)
  const verifier = generateRandomCodeVerifier()
  const state = generateRandomState()
  const bound = options.nonce !== false && scopes.includes('openid')
  const nonce = bound ? generateRandomNonce() : undefined
  const url = authorizationEndpoint(grants, options)
  const { redirectUri } = server
  const parameters: Record<string, string> = {
    response_type: 'code',
    client_id: grants.client.client_id,
    redirect_uri: redirectUri,
    state,
    code_challenge: await calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    ...(scopes.length === 0 ? {} : { scope: scopes.join(' ') }),
    ...(nonce === undefined ? {} : { nonce }),
    ...(options.resource === undefined ? {} : { resource: options.resource }),
    ...(options.audience === undefined ? {} : { audience: options.audience }),
  }
  for (const [name, value] of Object.entries(parameters)) {
    url.searchParams.set(name, value)
  }
  const { metadata, client } = grants
  server.expect(url.href, {
    state,
    validate: (answer) => validateAuthResponse(metadata, client, answer, state),
  })
  const redirected = await whileWaiting(server, options, signal)
  const response = await grants.redeemCode(redirected, redirectUri, verifier, nonce)
  const made = credentialOf(response)
  if (options.useIdToken !== true) {
    return made
  }
  if (response.id_token === undefined) {
    throw new OAuthGrantError('the authorization server sent no ID token')
  }
  const { expiresInMs, refreshToken } = made
  return credential(response.id_token, { expiresInMs, refreshToken })
}

/** Opens the browser and waits for the redirect; whatever goes wrong first ends the wait. */
async function whileWaiting(
  server: RedirectServer,
  options: AuthorizationCodeOptions,
  signal: AbortSignal,
): Promise<URLSearchParams> {
  const open = options.openBrowser ?? browserCommand()
  const timeoutMs = options.openTimeoutMs ?? OPEN_TIMEOUT_MS
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new OAuthGrantError(`the browser did not open the login page within ${timeoutMs} ms`))
    }, timeoutMs)
    const stop = (): void => reject(signal.reason)
    signal.addEventListener('abort', stop, { once: true })
    if (signal.aborted) {
      stop()
    }
    const clear = (): void => clearTimeout(timer)
    const settle = (): void => {
      clear()
      signal.removeEventListener('abort', stop)
    }
    void server.opened.then(clear)
    server.answered.finally(settle).then(resolve, reject)
    open(server.startUrl, signal).catch((error: unknown) => {
      clear()
      reject(error)
    })
  })
}

function authorizationEndpoint(grants: GrantClient, options: AuthorizationCodeOptions): URL {
  const endpoint = grants.metadata.authorization_endpoint
  if (endpoint === undefined || !URL.canParse(endpoint)) {
    throw new OAuthGrantError('issuer has no authorization_endpoint')
  }
  const url = new URL(endpoint)
  if (
    url.protocol !== 'https:' &&
    !(options.allowInsecureIssuer === true && url.protocol === 'http:')
  ) {
    throw new OAuthGrantError('authorization_endpoint must use HTTPS')
  }
  return url
}

/** The user's scopes as they are; else the server's and the usual two, as far as they are supported. */
function requestedScopes(grants: GrantClient, own: string | undefined): readonly string[] {
  const words = (text = ''): string[] => text.split(' ').filter((word) => word !== '')
  if (own !== undefined) {
    return words(own)
  }
  const wanted = [...new Set([...words(grants.scope), ...DEFAULT_SCOPES])]
  const supported = grants.metadata.scopes_supported
  return supported === undefined ? wanted : wanted.filter((scope) => supported.includes(scope))
}
