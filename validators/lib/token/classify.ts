/**
 * What kind of token somebody brought, without believing any of it: enough to choose who is asked.
 *
 * @module
 */
import { type JsonObject, member } from '../json.ts'
import { Refusal } from '../refusal.ts'
import { decodeObject, splitToken, type TokenLimits } from './parse-token.ts'

/**
 * Three parts, the first of which is a JSON object with `alg`, are a JWT. So is what begins like one and
 * is broken: it is not opaque, and nobody is asked about it.
 */
export function isJwt(token: string, limits: TokenLimits): boolean {
  // The base64url of `{"`, and a dot.
  if (/^ey[^.]*\./.test(token)) {
    return true
  }
  try {
    const { header } = splitToken(token, limits)
    return member(decodeObject(header, 'header', limits), 'alg') !== undefined
  } catch (error) {
    if (error instanceof Refusal) {
      return false
    }
    throw error
  }
}

/**
 * The claims of a JWT as it brings them, to find out whose it claims to be.
 *
 * @throws {Refusal} `malformed` or `limit_exceeded`
 */
export function unverifiedClaims(token: string, limits: TokenLimits): JsonObject {
  return decodeObject(splitToken(token, limits).payload, 'payload', limits)
}
