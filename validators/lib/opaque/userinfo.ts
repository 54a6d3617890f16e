/**
 * Any provider with a userinfo endpoint: it tells whose a token is and not whose it was meant for, so
 * introspection has to prove that, and both have to speak of the same person.
 *
 * @module
 */
import type { JsonObject } from '../json.ts'
import type { ProviderConnection } from '../remote/ask.ts'
import { addAttributes, askUserinfo } from '../remote/userinfo.ts'
import type { OpaqueProvider } from './provider.ts'

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
      const attributes = await askUserinfo(token, { url: new URL(endpoint), signal }, connection)
      return proven === undefined ? attributes : addAttributes(proven, attributes)
    },
  }
}
