/**
 * GitLab: `/oauth/token/info` says to which application a token was given, and whose it is.
 *
 * @module
 */
import { CLOCK } from '../clock.ts'
import { isJsonObject, type JsonObject, member } from '../json.ts'
import { Refusal } from '../refusal.ts'
import { askForJson, type ProviderConnection } from '../remote/ask.ts'
import { numericId, type OpaqueProvider } from './provider.ts'

/** @param base - `https://gitlab.com`, or the address of an instance */
export function gitlab(
  base: string,
  applications: ReadonlySet<string>,
  connection: ProviderConnection,
): OpaqueProvider {
  const url = new URL(`${base}/oauth/token/info`)
  return {
    async lookUp(token, signal) {
      const headers = { authorization: `Bearer ${token}` }
      const answer = await askForJson({ url, headers, signal }, connection, {
        inactive: [400, 401, 403],
        asksWithToken: true,
      })
      return claims(answer, applications)
    },
  }
}

function claims(answer: JsonObject, applications: ReadonlySet<string>): JsonObject {
  const application = member(answer, 'application')
  const uid = isJsonObject(application) ? member(application, 'uid') : undefined
  if (typeof uid !== 'string' || !applications.has(uid)) {
    throw new Refusal('wrong_audience', 'The token was given to another application.')
  }
  const scope = member(answer, 'scope')
  const seconds = member(answer, 'expires_in')
  return {
    sub: numericId(member(answer, 'resource_owner_id')),
    aud: uid,
    client_id: uid,
    scope: Array.isArray(scope) ? scope.filter((s) => typeof s === 'string').join(' ') : '',
    ...(typeof seconds === 'number' ? { exp: Math.floor(CLOCK.seconds() + seconds) } : {}),
  }
}
