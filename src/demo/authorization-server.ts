/**
 * A real authorization server on 127.0.0.1, for the demo and the tests: discovery, JWKS, device flow
 * and client credentials, with access tokens that are JWTs for one audience (RFC 9068).
 *
 * @module
 */
import { randomBytes } from 'node:crypto'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo, Server } from 'node:net'

import { approveDevice, httpClient, type HttpClient, postForJson } from './authorization-client.ts'
import { createRequestListener } from './authorization-provider.ts'
import { requireDemoPackages } from './development-packages.ts'
import {
  createSigningKeys,
  type SigningAlgorithm,
  type TokenClaims,
  type TokenOptions,
} from './signing-keys.ts'

export type { SigningAlgorithm, TokenClaims, TokenOptions } from './signing-keys.ts'

export interface AuthorizationServerOptions {
  /** Default: any free one. */
  readonly port?: number
  /** Makes it https, which psql insists on; `ca` is what its own helpers trust. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca: string }
  /** Of every access token; default `https://db.example.com`. An absolute URI. */
  readonly audience?: string
  /** What clients may ask for besides `openid`; default `['db']`. */
  readonly scopes?: readonly string[]
  /** Of issued tokens, and by default of minted ones. Default `RS256`; both keys are always published. */
  readonly algorithm?: SigningAlgorithm
  /** Seconds; default 300. */
  readonly tokenLifetime?: number
  /** Name of the client that may use client credentials; default `service`. */
  readonly serviceClient?: string
}

/** A device login that waits for a person. */
export interface DeviceLogin {
  /** The page that asks for the code. */
  readonly verificationUri: string
  readonly userCode: string
  /** The page with the code filled in. */
  readonly verificationUriComplete: string
  /** Asks once for the token. @throws {Error} such as `… answered 400: authorization_pending`. */
  poll(): Promise<string>
}

export interface AuthorizationServer extends AsyncDisposable {
  /** Without a slash at the end. */
  readonly issuer: string
  readonly port: number
  readonly audience: string
  /** The public client of the device flow: `oauth_client_id` for psql. */
  readonly deviceClient: string
  readonly serviceClient: { readonly id: string; readonly secret: string }
  /** Method and path of every request so far, such as `GET /jwks`. */
  readonly requests: readonly string[]
  /**
   * Signs a token that the server would not issue, with the server's own keys: of another audience,
   * expired, for anybody.
   *
   * @param claims - besides or instead of `iss`, `aud`, `sub` (`alice`), `scope`, `client_id`, `iat`,
   * `exp` and `jti`; undefined takes a claim away.
   */
  mintToken(claims?: TokenClaims, options?: TokenOptions): Promise<string>
  /** Gets a token as a service does; its subject is the client. */
  requestServiceToken(scope?: string): Promise<string>
  /** Starts a device login, as psql does. */
  startDeviceLogin(scope?: string): Promise<DeviceLogin>
  /** Does the person's part of a device login. */
  approveDevice(verificationUriComplete: string, username: string): Promise<void>
  /** A whole device login. */
  requestUserToken(username: string, scope?: string): Promise<string>
  stop(): Promise<void>
}

/**
 * Starts an authorization server.
 *
 * @throws {MissingPackagesError} where `oidc-provider` is not installed.
 * @example
 * ```ts
 * const server = await startAuthorizationServer()
 * const token = await server.requestUserToken('alice')
 * const expired = await server.mintToken({ sub: 'alice' }, { expiresIn: -60 })
 * ```
 */
export async function startAuthorizationServer(
  options: AuthorizationServerOptions = {},
): Promise<AuthorizationServer> {
  requireDemoPackages(['oidc-provider'])
  const { tls, audience = 'https://db.example.com', algorithm = 'RS256' } = options
  const scopes = options.scopes ?? ['db']
  const server = tls === undefined ? createHttpServer() : createHttpsServer(tls)
  const port = await listen(server, options.port ?? 0)
  const issuer = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`
  const keys = await createSigningKeys()
  const deviceClient = 'psql'
  const serviceClient = {
    id: options.serviceClient ?? 'service',
    secret: randomBytes(32).toString('base64url'),
  }
  const answer = await createRequestListener({
    issuer,
    audience,
    scopes,
    algorithm,
    tokenLifetime: options.tokenLifetime ?? 300,
    keys,
    deviceClient,
    serviceClient,
  })
  const requests: string[] = []
  server.on('request', (request, response) => {
    requests.push(`${request.method} ${request.url?.replace(/\?.*/, '')}`)
    answer(request, response)
  })

  const http = httpClient(tls?.ca)
  const scopeOrAll = (scope = scopes.join(' ')): string => scope
  const startDeviceLogin = (scope?: string): Promise<DeviceLogin> =>
    deviceLogin(http, { issuer, clientId: deviceClient, scope: scopeOrAll(scope) })
  const stop = async (): Promise<void> => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
  return {
    issuer,
    port,
    audience,
    deviceClient,
    serviceClient,
    requests,
    mintToken: (claims = {}, tokenOptions = {}) =>
      keys.sign(
        {
          iss: issuer,
          aud: audience,
          sub: 'alice',
          scope: scopes.join(' '),
          client_id: deviceClient,
          ...claims,
        },
        { algorithm, ...tokenOptions },
      ),
    requestServiceToken: async (scope) => {
      const { id, secret } = serviceClient
      const authorization = `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`
      const form = { grant_type: 'client_credentials', scope: scopeOrAll(scope) }
      const answer = await postForJson(http, `${issuer}/token`, form, { authorization })
      return String(answer['access_token'])
    },
    startDeviceLogin,
    approveDevice: (uri, username) => approveDevice(http, uri, username),
    requestUserToken: async (username, scope) => {
      const login = await startDeviceLogin(scope)
      await approveDevice(http, login.verificationUriComplete, username)
      return await login.poll()
    },
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

async function listen(server: Server, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port, host: '127.0.0.1' }, () => {
      server.off('error', reject)
      resolve()
    })
  })
  return (server.address() as AddressInfo).port
}

/** RFC 8628 §3.1 and §3.4. */
async function deviceLogin(
  http: HttpClient,
  {
    issuer,
    clientId,
    scope,
  }: { readonly issuer: string; readonly clientId: string; readonly scope: string },
): Promise<DeviceLogin> {
  const form = { client_id: clientId, scope }
  const answer = await postForJson(http, `${issuer}/device/auth`, form)
  return {
    verificationUri: String(answer['verification_uri']),
    userCode: String(answer['user_code']),
    verificationUriComplete: String(answer['verification_uri_complete']),
    poll: async () => {
      const { access_token: token } = await postForJson(http, `${issuer}/token`, {
        grant_type: 'urn:ietf:params:oauth:grant-type:device_code',
        client_id: clientId,
        device_code: String(answer['device_code']),
      })
      return String(token)
    },
  }
}
