/**
 * Guards against names that look like a registered claim and are not it (`SUB`, `ſub`): a reader that
 * folds case would see another identity than we do.
 *
 * @module
 */
import type { JsonObject } from '../json.ts'
import { Refusal } from '../refusal.ts'

// RFC 7519 §4.1, RFC 7515 §4.1, RFC 9068 §2.2, OpenID Connect Core §2 and §5.1, RFC 7800, RFC 8693.
const REGISTERED = `
  iss sub aud exp nbf iat jti scope scp client_id azp appid cid tid oid typ alg kid crit b64 jku jwk
  x5u x5c zip cty nonce at_hash c_hash s_hash events email email_verified upn preferred_username
  username groups roles entitlements cnf act may_act token_use sid acr amr auth_time
`
  .trim()
  .split(/\s+/)

// A name of these characters is its own fold, so it cannot be a disguise.
const PLAIN = /^[a-z0-9_.:/@#-]*$/

/** The names that nothing may resemble: the registered ones and those the configuration reads. */
export function guardedNames(configured: readonly string[]): ReadonlySet<string> {
  return new Set([...REGISTERED, ...configured])
}

/**
 * @param guarded - undefined where any name is allowed
 * @throws {Refusal} `malformed` where a member's name becomes a guarded name by NFKC and lower case
 */
export function refuseDisguisedNames(
  object: JsonObject,
  guarded: ReadonlySet<string> | undefined,
): void {
  if (guarded === undefined) {
    return
  }
  for (const name of Object.keys(object)) {
    if (!PLAIN.test(name) && !guarded.has(name) && guarded.has(fold(name))) {
      throw new Refusal('malformed', 'A name in the token resembles a registered claim.')
    }
  }
}

function fold(name: string): string {
  return name.normalize('NFKC').toLowerCase().normalize('NFKC')
}
