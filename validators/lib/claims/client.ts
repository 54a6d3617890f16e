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

/** RFC 9068 and RFC 7662; OpenID Connect; Okta; Microsoft Entra, tokens of version 1. */
const CLIENT_CLAIMS = ['client_id', 'azp', 'cid', 'appid']

/**
 * The client that the token was issued to: what the claim of the policy says, else the first of the
 * claims that providers use for it. Undefined where there is none; null where it is no text.
 */
export function clientOf(
  claims: JsonObject,
  policy: ClientPolicy | undefined,
): string | null | undefined {
  const names = policy === undefined ? CLIENT_CLAIMS : [policy.claim]
  const name = names.find((name) => member(claims, name) !== undefined)
  if (name === undefined) {
    return undefined
  }
  const client = member(claims, name)
  return typeof client === 'string' ? client : null
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
