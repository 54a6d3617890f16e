/**
 * Google: `tokeninfo` says for which client an access token was given out. (An ID token of Google is a
 * JWT: see the preset `google-id` of the validator `jwt`.)
 *
 * @module
 */
import { type JsonObject, type JsonValue, member } from '../json.ts'
import { Fault, Refusal } from '../refusal.ts'
import { askForJson, type ProviderConnection } from '../remote/ask.ts'
import type { OpaqueProvider } from './provider.ts'

/** @param url - `https://oauth2.googleapis.com/tokeninfo` */
export function google(
  url: string,
  clientIds: ReadonlySet<string>,
  connection: ProviderConnection,
): OpaqueProvider {
  return {
    async lookUp(token, signal) {
      const answer = await askForJson(
        {
          url: new URL(url),
          method: 'POST',
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
          // In the body: addresses end up in logs.
          body: new URLSearchParams({ access_token: token }).toString(),
          signal,
        },
        connection,
        { inactive: [400] },
      )
      return claims(answer, clientIds)
    },
  }
}

function claims(answer: JsonObject, clientIds: ReadonlySet<string>): JsonObject {
  const aud = member(answer, 'aud')
  if (typeof aud !== 'string' || !clientIds.has(aud)) {
    throw new Refusal('wrong_audience', 'The token was given to another application.')
  }
  const sub = member(answer, 'sub')
  if (typeof sub !== 'string') {
    throw new Fault('provider_bad_response', 'Google did not say whose token it is')
  }
  return {
    sub,
    aud,
    client_id: member(answer, 'azp') ?? aud,
    scope: member(answer, 'scope') ?? '',
    exp: wholeNumber(member(answer, 'exp')),
    email: member(answer, 'email') ?? null,
    // This endpoint writes everything as text.
    email_verified: member(answer, 'email_verified') === 'true',
  }
}

function wholeNumber(value: JsonValue | undefined): number {
  if (typeof value !== 'string' || !/^\d{1,12}$/.test(value)) {
    throw new Fault('provider_bad_response', 'Google did not say when the token ends')
  }
  return Number(value)
}
