/**
 * A userinfo endpoint (OpenID Connect Core §5.3): it tells whose a token is and not whose it was meant
 * for, so introspection has to prove that, and both have to speak of the same person.
 *
 * @module
 */
import { type JsonObject, member } from '../json.ts'
import { Refusal } from '../refusal.ts'
import { askForJson, type OpaqueProvider, type ProviderConnection } from './provider.ts'

/**
 * @param prove - what introspection says about a token that is for us; undefined only where
 *   `dangerously_allow_unbound_tokens` is set
 */
export function userinfo(
  endpoint: string,
  prove: ((token: string) => Promise<JsonObject>) | undefined,
  connection: ProviderConnection,
): OpaqueProvider {
  return {
    async lookUp(token, signal) {
      const proven = await prove?.(token)
      const headers = { authorization: `Bearer ${token}` }
      const url = new URL(endpoint)
      const attributes = await askForJson({ url, headers, signal }, connection, [400, 401, 403])
      // OpenID Connect Core §5.3.2: a mix-up of tokens shows here.
      if (proven !== undefined && member(proven, 'sub') !== member(attributes, 'sub')) {
        throw new Refusal('identity_invalid', 'Userinfo and introspection name different people.')
      }
      return { ...attributes, ...proven }
    },
  }
}
