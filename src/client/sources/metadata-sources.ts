/**
 * Tokens from the services that a cloud or a build runner offers to what runs there.
 *
 * @module
 */
import { OAuthGrantError, TokenConfigError } from '../errors.ts'
import { boundedFetch } from '../grants/bounded-fetch.ts'
import { printable } from '../grants/printable.ts'
import type { TokenCallback } from '../token/callback.ts'
import { type CredentialLike, type TokenCredential, credential } from '../token/credential.ts'
import { machineSource } from './simple-sources.ts'

const LONGEST_SHOWN_BODY = 200

export interface AzureSourceOptions {
  /** The application id URI of the database's registration. */
  readonly resource: string
  /** Of a user-assigned identity. */
  readonly clientId?: string | undefined
  /** For tests; the address is the same in every Azure machine. */
  readonly endpoint?: string | undefined
}

/** The managed identity of an Azure machine (IMDS). */
export function azureSource(options: AzureSourceOptions): TokenCallback<undefined> {
  const { resource, clientId } = options
  required('resource', resource)
  const url = new URL(
    '/metadata/identity/oauth2/token',
    options.endpoint ?? 'http://169.254.169.254',
  )
  url.searchParams.set('api-version', '2018-02-01')
  url.searchParams.set('resource', resource)
  if (clientId !== undefined) {
    url.searchParams.set('client_id', clientId)
  }
  return machineSource(async ({ signal }) => {
    const headers = { accept: 'application/json', metadata: 'true' }
    const json = jsonOf(await ask('Azure', url.href, headers, signal))
    return withExpiry('Azure', json['access_token'], json['expires_in'])
  })
}

export interface GoogleCloudSourceOptions {
  readonly audience: string
  /** For tests. */
  readonly endpoint?: string | undefined
}

/** The identity token of a Google Cloud machine's service account. */
export function googleCloudSource(options: GoogleCloudSourceOptions): TokenCallback<undefined> {
  required('audience', options.audience)
  const path = '/computeMetadata/v1/instance/service-accounts/default/identity'
  const url = new URL(path, options.endpoint ?? 'http://metadata')
  url.searchParams.set('audience', options.audience)
  return machineSource(async ({ signal }) => {
    const headers = { 'metadata-flavor': 'Google' }
    const token = (await ask('Google Cloud', url.href, headers, signal)).trim()
    return tokenWithClaimedExpiry('Google Cloud', token)
  })
}

export interface GitHubActionsSourceOptions {
  readonly audience: string
  readonly environment?: NodeJS.ProcessEnv | undefined
}

/** The identity token of a GitHub or Forgejo Actions job with `permissions: id-token: write`. */
export function githubActionsSource(options: GitHubActionsSourceOptions): TokenCallback<undefined> {
  required('audience', options.audience)
  return machineSource(async ({ signal }) => {
    const environment = options.environment ?? process.env
    const base = environment['ACTIONS_ID_TOKEN_REQUEST_URL']
    const bearer = environment['ACTIONS_ID_TOKEN_REQUEST_TOKEN']
    if (base === undefined || bearer === undefined) {
      throw new TokenConfigError(
        'ACTIONS_ID_TOKEN_REQUEST_URL and _TOKEN are not set: the job needs the permission id-token: write',
      )
    }
    const url = new URL(base)
    url.searchParams.set('audience', options.audience)
    const headers = { accept: 'application/json', authorization: `bearer ${bearer}` }
    const json = jsonOf(await ask('GitHub Actions', url.href, headers, signal, [bearer]))
    return tokenWithClaimedExpiry('GitHub Actions', json['value'])
  })
}

/** What `GetWebIdentityToken` of AWS STS answers, as the AWS SDK returns it. */
export interface WebIdentityToken {
  readonly WebIdentityToken?: string | undefined
  readonly Expiration?: Date | undefined
}

/**
 * The identity token of an AWS role, from `sts:GetWebIdentityToken`. The call needs the SDK's signature
 * and stays with it. (The IAM tokens of RDS and Aurora are passwords, not bearer tokens.)
 *
 * @example
 * ```ts
 * sources.aws((signal) => sts.send(new GetWebIdentityTokenCommand({ Audience: ['db'], SigningAlgorithm: 'ES384' }), { abortSignal: signal }))
 * ```
 */
export function awsSource(
  getWebIdentityToken: (signal: AbortSignal) => PromiseLike<WebIdentityToken>,
): TokenCallback<undefined> {
  return machineSource(async ({ signal }): Promise<CredentialLike> => {
    const { WebIdentityToken: token, Expiration } = await getWebIdentityToken(signal)
    const left = Expiration === undefined ? undefined : (Expiration.getTime() - Date.now()) / 1000
    return withExpiry('AWS', token, left)
  })
}

async function ask(
  who: string,
  url: string,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
  secrets: readonly string[] = [],
): Promise<string> {
  const response = await boundedFetch(url, { headers, signal })
  const text = await response.text()
  if (response.status !== 200) {
    const shown = secrets
      .reduce((left, secret) => left.replaceAll(secret, '[hidden]'), withoutTokens(text))
      .slice(0, LONGEST_SHOWN_BODY)
    throw new OAuthGrantError(
      `${who} answered with status ${response.status}: ${printable(shown)}`,
      { status: response.status },
    )
  }
  return text
}

// A body that goes into an error: anything long enough to be a token is not shown.
function withoutTokens(text: string): string {
  return text.replace(/[A-Za-z0-9\-._~+/]{40,}=*/g, '[hidden]')
}

function jsonOf(text: string): Record<string, unknown> {
  try {
    const json: unknown = JSON.parse(text)
    if (typeof json === 'object' && json !== null) {
      return json as Record<string, unknown>
    }
  } catch {
    // Falls through: what was sent instead may hold a token.
  }
  throw new OAuthGrantError('the metadata service did not answer with a JSON object')
}

/** Azure and AWS say in seconds, as a number or a string, how long the token lives. */
function withExpiry(who: string, token: unknown, expiresIn: unknown): TokenCredential {
  const accessToken = tokenText(who, token)
  if (expiresIn === undefined || expiresIn === null) {
    return credential(accessToken)
  }
  const seconds = typeof expiresIn === 'string' && expiresIn !== '' ? Number(expiresIn) : expiresIn
  if (typeof seconds !== 'number' || !Number.isFinite(seconds) || seconds < 0) {
    throw new OAuthGrantError(`${who} answered with an impossible expiry`)
  }
  return credential(accessToken, { expiresInMs: seconds * 1000 })
}

/** Where nothing else says it, the `exp` claim does; it is a hint and nothing is verified. */
export function tokenWithClaimedExpiry(who: string, token: unknown): TokenCredential {
  const accessToken = tokenText(who, token)
  const exp = claimedExpiry(accessToken)
  const expiresInMs = exp === undefined ? undefined : Math.max(0, exp * 1000 - Date.now())
  return credential(accessToken, { expiresInMs })
}

function claimedExpiry(token: string): number | undefined {
  try {
    const payload = Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8')
    const { exp } = JSON.parse(payload) as { exp?: unknown }
    return typeof exp === 'number' && Number.isFinite(exp) ? exp : undefined
  } catch {
    return undefined
  }
}

function tokenText(who: string, token: unknown): string {
  if (typeof token !== 'string' || token === '') {
    throw new OAuthGrantError(`${who} did not answer with a token`)
  }
  return token
}

function required(name: string, value: string | undefined): void {
  if (typeof value !== 'string' || value === '') {
    throw new TokenConfigError(`${name} is required`)
  }
}
