/**
 * Which program got the token, and whether it proves more than its possession.
 *
 * @module
 */
import { type JsonObject, member } from '../json.ts'
import { Refusal } from '../refusal.ts'

export interface ClientPolicy {
  /** The claim that names the client: `azp`, `client_id`, `cid`, `appid`. */
  readonly claim: string
  readonly values: ReadonlySet<string>
}

/** @throws {Refusal} `client_not_allowed` */
export function checkClient(claims: JsonObject, policy: ClientPolicy | undefined): void {
  if (policy === undefined) {
    return
  }
  const client = member(claims, policy.claim)
  if (typeof client !== 'string' || !policy.values.has(client)) {
    throw new Refusal('client_not_allowed', 'The token was issued to a client that is not allowed.')
  }
}

/**
 * A token that is bound to a key (RFC 7800, RFC 8705, RFC 9449) is worthless without proof of that
 * key, and OAUTHBEARER carries none: whoever presents it alone may have stolen it.
 *
 * @throws {Refusal} `sender_constrained`
 */
export function refuseSenderConstrained(claims: JsonObject): void {
  if (Object.hasOwn(claims, 'cnf')) {
    throw new Refusal('sender_constrained', 'The token is bound to a key that was not proven.')
  }
}
