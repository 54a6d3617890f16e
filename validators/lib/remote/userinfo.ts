/**
 * A userinfo endpoint (OpenID Connect Core §5.3): it knows more about the owner of a token, and nothing
 * about whom the token was made for. What it says is only ever added to what somebody else has proven.
 *
 * @module
 */
import { type JsonObject, member } from '../json.ts'
import { Refusal } from '../refusal.ts'
import { askForJson, type ProviderConnection } from './ask.ts'

/** @throws {Refusal} `token_inactive` where the token is not good there, or `limit_exceeded` */
export function askUserinfo(
  token: string,
  { url, signal }: { readonly url: URL; readonly signal: AbortSignal },
  connection: ProviderConnection,
): Promise<JsonObject> {
  const headers = { authorization: `Bearer ${token}` }
  const meaning = { inactive: [400, 401, 403], asksWithToken: true } as const
  return askForJson({ url, headers, signal }, connection, meaning)
}

// What a token is good for, and until when. Where introspection does not say it, nobody does: what a userinfo
// endpoint knows of people, people may have written themselves.
const OF_THE_TOKEN: ReadonlySet<string> = new Set(
  `active iss aud exp nbf iat jti scope scp client_id azp cid appid token_type cnf act may_act`.split(
    ' ',
  ),
)

/**
 * Both answers as one; where both say something, the proven one counts, and only that one says anything
 * about the token.
 *
 * @throws {Refusal} `identity_invalid` where they do not name the same person (§5.3.2: a mix-up of tokens
 *   shows here)
 */
export function addAttributes(proven: JsonObject, attributes: JsonObject): JsonObject {
  const owner = member(proven, 'sub')
  if (typeof owner !== 'string' || owner !== member(attributes, 'sub')) {
    throw new Refusal('identity_invalid', 'Userinfo and introspection name different people.')
  }
  const added = Object.entries(attributes).filter(([name]) => !OF_THE_TOKEN.has(name))
  return { ...Object.fromEntries(added), ...proven }
}
