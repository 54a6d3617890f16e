/**
 * What kind of token it is. An ID token, a refresh token or a logout token of the same issuer has a
 * good signature too, and is not a key to a database (RFC 8725 §3.11 and §3.12).
 *
 * @module
 */
import { type JsonObject, member } from '../json.ts'
import { Refusal } from '../refusal.ts'
import { type ClaimRule, meetsRule } from './claim-rules.ts'

export interface TokenTypePolicy {
  /** Values of the header parameter `typ`, lower case and without `application/`. */
  readonly typ: ReadonlySet<string>
  /**
   * What proves that it is an access token where the header says only `JWT`, `JOSE` or nothing. Without
   * these, such a token is refused.
   */
  readonly marker: readonly ClaimRule[]
  readonly allowIdTokens: boolean
}

// Kinds that are never access tokens: OIDC logout, RFC 8417, RFC 9449, RFC 9701, SD-JWT VC.
const OTHER_KINDS: ReadonlySet<string> = new Set(
  ['logout', 'secevent', 'dpop', 'token-introspection'].map((kind) => `${kind}+jwt`),
).add('dc+sd-jwt')
// OpenID Connect Core §2 and §3.1.3.6; Financial-grade API for s_hash.
const ID_TOKEN_CLAIMS = ['nonce', 'at_hash', 'c_hash', 's_hash', 'events']
// Keycloak and others name the kind in the payload.
const OTHER_PAYLOAD_TYPES: ReadonlySet<unknown> = new Set(['ID', 'Refresh', 'Offline', 'Logout'])

/** @throws {Refusal} `wrong_type` */
export function checkTokenType(
  typ: string | undefined,
  claims: JsonObject,
  policy: TokenTypePolicy,
): void {
  const kind = typ === undefined ? undefined : canonicalType(typ)
  const untyped = kind === undefined || isGenericType(kind)
  const marked =
    untyped && policy.marker.length > 0 && policy.marker.every((rule) => meetsRule(claims, rule))
  const named = kind !== undefined && policy.typ.has(kind) && !OTHER_KINDS.has(kind)
  if (!named && !marked) {
    throw new Refusal('wrong_type', 'The token is not of a kind that is accepted.')
  }
  if (!policy.allowIdTokens && isOfOtherKind(claims)) {
    throw new Refusal('wrong_type', 'The token is an ID, refresh, logout or event token.')
  }
}

/** RFC 7515 §4.1.9: compared without regard to case, "application/" may be left out. */
export function canonicalType(typ: string): string {
  return typ.toLowerCase().replace(/^application\//, '')
}

/** Any JWT, and any JWS (RFC 7515 §4.1.9): it says nothing about what a token is for. */
export function isGenericType(kind: string): boolean {
  return kind === 'jwt' || kind === 'jose'
}

function isOfOtherKind(claims: JsonObject): boolean {
  return (
    ID_TOKEN_CLAIMS.some((name) => Object.hasOwn(claims, name)) ||
    OTHER_PAYLOAD_TYPES.has(member(claims, 'typ')) ||
    member(claims, 'token_use') === 'id'
  )
}
