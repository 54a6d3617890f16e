/**
 * `oidc-provider`, configured as the authorization server of the demo and the tests.
 *
 * @module
 */
import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'

import type { Configuration, default as Provider } from 'oidc-provider'

import { codePage, confirmPage, donePage, loginPage, page } from './authorization-pages.ts'
import type { SigningAlgorithm, SigningKeys } from './signing-keys.ts'

export interface ProviderOptions {
  readonly issuer: string
  /** Of every access token. */
  readonly audience: string
  readonly scopes: readonly string[]
  readonly algorithm: SigningAlgorithm
  /** Seconds that an access token lives. */
  readonly tokenLifetime: number
  readonly keys: SigningKeys
  /** May use the device flow; a public client, as psql is without `oauth_client_secret`. */
  readonly deviceClient: string
  /** May use client credentials. */
  readonly serviceClient: { readonly id: string; readonly secret: string }
}

const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code'
const INTERACTION_PATH = '/interaction/'
const MAX_FORM_BYTES = 4096

/** Answers the requests of an authorization server. */
export async function createRequestListener(
  options: ProviderOptions,
): Promise<(request: IncomingMessage, response: ServerResponse) => void> {
  const provider = await quietly(async () => {
    const { Provider } = await import('oidc-provider')
    return new Provider(options.issuer, configurationOf(options))
  })
  const callback = provider.callback()
  return (request, response) => {
    if (request.url?.startsWith(INTERACTION_PATH)) {
      interact(provider, options, { request, response }).catch((error: unknown) => {
        response.statusCode = 400
        response.end(
          page('That did not work', `<p>${error instanceof Error ? error.name : ''}</p>`),
        )
      })
    } else {
      void callback(request, response)
    }
  }
}

function configurationOf(options: ProviderOptions): Configuration {
  const { audience, scopes, algorithm, tokenLifetime, deviceClient, serviceClient } = options
  const HOUR = 3600
  return {
    jwks: options.keys.jwks,
    cookies: { keys: [randomBytes(32).toString('base64url')] },
    scopes: ['openid', ...scopes],
    clients: [
      {
        client_id: deviceClient,
        token_endpoint_auth_method: 'none',
        grant_types: [DEVICE_GRANT],
        response_types: [],
        redirect_uris: [],
      },
      {
        client_id: serviceClient.id,
        client_secret: serviceClient.secret,
        grant_types: ['client_credentials'],
        response_types: [],
        redirect_uris: [],
      },
    ],
    clientBasedCORS: () => false,
    findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    extraTokenClaims: (_context, token) => ({
      preferred_username: 'accountId' in token ? token.accountId : token.clientId,
    }),
    interactions: { url: (_context, { uid }) => `${INTERACTION_PATH}${uid}` },
    renderError: (context, { error }) => {
      context.type = 'html'
      context.body = page('That did not work', `<p>${error}</p>`)
    },
    ttl: {
      AccessToken: tokenLifetime,
      ClientCredentials: tokenLifetime,
      DeviceCode: 600,
      Interaction: 600,
      Session: HOUR,
      Grant: HOUR,
      IdToken: HOUR,
    },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      deviceFlow: {
        enabled: true,
        userCodeInputSource: (context, form, _out, error) => {
          context.body = codePage(
            form,
            error === undefined ? undefined : 'That code does not work.',
          )
        },
        userCodeConfirmSource: (context, form, client, _device, code) => {
          context.body = confirmPage(form, client.clientId, code)
        },
        successSource: (context) => {
          context.body = donePage()
        },
      },
      // This is what makes access tokens JWTs for the database: every token is for that audience.
      resourceIndicators: {
        enabled: true,
        defaultResource: () => audience,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          audience,
          scope: scopes.join(' '),
          accessTokenTTL: tokenLifetime,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: algorithm } },
        }),
      },
    },
  }
}

/** Login and consent on one page. */
async function interact(
  provider: Provider,
  { audience, scopes }: ProviderOptions,
  { request, response }: { request: IncomingMessage; response: ServerResponse },
): Promise<void> {
  const { params } = await provider.interactionDetails(request, response)
  const clientId = String(params['client_id'])
  const scope = typeof params['scope'] === 'string' ? params['scope'] : ''
  if (request.method !== 'POST') {
    response.setHeader('content-type', 'text/html; charset=utf-8')
    response.end(loginPage(clientId, scope))
    return
  }
  const accountId = (await readForm(request)).get('username')
  if (!accountId) {
    throw new Error('no user name')
  }
  const grant = new provider.Grant({ accountId, clientId })
  grant.addOIDCScope(scope)
  grant.addResourceScope(audience, scopes.join(' '))
  const result = { login: { accountId }, consent: { grantId: await grant.save() } }
  await provider.interactionFinished(request, response, result)
}

async function readForm(request: IncomingMessage): Promise<URLSearchParams> {
  let text = ''
  for await (const chunk of request.setEncoding('utf8')) {
    text += String(chunk)
    if (text.length > MAX_FORM_BYTES) {
      throw new Error('the form is too long')
    }
  }
  return new URLSearchParams(text)
}

// oidc-provider says on stderr that it is not meant for Node 20 and that its memory is no database.
// Both are known here, and it does work; all else it says is passed on.
const KNOWN_WARNINGS =
  /oidc-provider WARNING: (Unsupported runtime|a quick start development-only in-memory)/

async function quietly<T>(make: () => Promise<T>): Promise<T> {
  const { warn } = console
  console.warn = (...texts: unknown[]) => {
    if (!KNOWN_WARNINGS.test(String(texts[0]))) {
      warn(...texts)
    }
  }
  try {
    return await make()
  } finally {
    console.warn = warn
  }
}
