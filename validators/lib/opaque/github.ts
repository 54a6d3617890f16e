/**
 * GitHub: `POST /applications/{client_id}/token` says whether a token was given to that application,
 * and whose it is. `/user` would answer for the token of any application in the world; what it belongs to
 * is asked for only after that.
 *
 * @module
 */
import { isJsonObject, type JsonObject, member } from '../json.ts'
import { Fault, Refusal } from '../refusal.ts'
import { askForJson, type ProviderConnection } from '../remote/ask.ts'
import { githubMemberships, type MembershipKind } from './github-memberships.ts'
import { numericId, type OpaqueProvider } from './provider.ts'

export interface GithubApplication {
  readonly clientId: string
  readonly clientSecret: string
  /** Default: none. */
  readonly kinds: readonly MembershipKind[]
  readonly maxPages: number
}

/** @param base - `https://api.github.com`, or `https://<host>/api/v3` of an enterprise server */
export function github(
  base: string,
  application: GithubApplication,
  connection: ProviderConnection,
): OpaqueProvider {
  const { clientId, clientSecret, kinds, maxPages } = application
  const url = new URL(`${base}/applications/${encodeURIComponent(clientId)}/token`)
  const authorization = `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}`
  return {
    async lookUp(token, signal) {
      const answer = await askForJson(
        {
          url,
          method: 'POST',
          headers: {
            authorization,
            accept: 'application/vnd.github+json',
            'content-type': 'application/json',
          },
          body: JSON.stringify({ access_token: token }),
          signal,
        },
        connection,
        { inactive: [404, 422] },
      )
      const proven = claims(answer, clientId)
      const asked = { token, kinds, maxPages, signal }
      return { ...proven, ...(await githubMemberships(base, asked, connection)) }
    },
  }
}

function claims(answer: JsonObject, clientId: string): JsonObject {
  const app = member(answer, 'app')
  if (!isJsonObject(app) || member(app, 'client_id') !== clientId) {
    throw new Refusal('wrong_audience', 'The token was given to another application.')
  }
  const user = member(answer, 'user')
  if (!isJsonObject(user)) {
    throw new Fault('provider_bad_response', 'GitHub did not say whose token it is')
  }
  const scopes = member(answer, 'scopes')
  const expires = member(answer, 'expires_at')
  return {
    sub: numericId(member(user, 'id')),
    login: member(user, 'login') ?? null,
    aud: clientId,
    client_id: clientId,
    scope: Array.isArray(scopes) ? scopes.filter((s) => typeof s === 'string').join(' ') : '',
    ...(typeof expires === 'string' ? { exp: Math.floor(Date.parse(expires) / 1_000) } : {}),
  }
}
