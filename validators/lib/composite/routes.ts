/**
 * From a token to the policy that judges it, by what the token says about itself. Nobody else is asked,
 * and nobody is asked next when the answer is no.
 *
 * @module
 */
import type { AnyValidatorModule } from 'pgbearer/validator'
import { type JsonObject, member } from '../json.ts'
import { Refusal } from '../refusal.ts'
import { isJwt, unverifiedClaims } from '../token/classify.ts'
import type { TokenLimits } from '../token/parse-token.ts'

export interface Route {
  readonly issuer: string
  readonly selectBy: { readonly claim: string; readonly value: string } | undefined
  /** Who judges the token; all of them have to accept it. */
  readonly modules: readonly AnyValidatorModule[]
}

/**
 * The one route for a token.
 *
 * @param opaque - for tokens that are no JWT
 * @throws {Refusal} `unknown_issuer`, `malformed` or `limit_exceeded`
 */
export function routeFor(
  token: string,
  routes: ReadonlyMap<string, readonly Route[]>,
  opaque: Route | undefined,
  limits: TokenLimits,
): Route {
  if (!isJwt(token, limits)) {
    if (opaque === undefined) {
      throw new Refusal('malformed', 'The token is not a JWT.')
    }
    return opaque
  }
  const claims = unverifiedClaims(token, limits)
  const iss = member(claims, 'iss')
  const candidates = typeof iss === 'string' ? (routes.get(iss) ?? []) : []
  const chosen = candidates.filter((route) => isSelected(claims, route))
  const [route] = chosen
  if (route === undefined || chosen.length > 1) {
    throw new Refusal('unknown_issuer', 'No policy is for tokens of that issuer.')
  }
  return route
}

function isSelected(claims: JsonObject, { selectBy }: Route): boolean {
  if (selectBy === undefined) {
    return true
  }
  const value = member(claims, selectBy.claim)
  return Array.isArray(value) ? value.includes(selectBy.value) : value === selectBy.value
}
