/**
 * A token of another issuer is a secret between others: it is not sent to the provider that we know.
 *
 * @module
 */
import { z } from 'zod'
import { checkIssuer } from '../claims/registered.ts'
import { Refusal } from '../refusal.ts'
import { isJwt, unverifiedClaims } from '../token/classify.ts'
import type { TokenLimits } from '../token/parse-token.ts'

export const opaqueTokens = z.strictObject({
  min_length: z.int().positive().default(16),
  max_length: z.int().positive().max(65_535).default(4_096),
  /** What a token of the provider begins with, so that no other is sent to it. Empty: anything. */
  prefixes: z.array(z.string().min(1)).default([]),
})

export type OpaqueTokens = z.output<typeof opaqueTokens>

/** Of a token that is looked into before it is given to somebody else. */
export const FOREIGN_TOKEN_LIMITS: TokenLimits = {
  token: 65_535,
  header: 4_096,
  payload: 65_535,
  kid: 256,
  depth: 16,
  members: 512,
  items: 1_024,
  string: 4_096,
}

/**
 * A JWT must name this issuer; anything else must look like the provider's tokens.
 *
 * @param issuer - undefined where the provider gives out no JWTs at all
 * @param opaque - undefined where it gives out nothing else
 * @throws {Refusal} `unknown_issuer`, `malformed` or `limit_exceeded`
 */
export function refuseForeignToken(
  token: string,
  issuer: string | undefined,
  opaque: OpaqueTokens | undefined,
): void {
  if (isJwt(token, FOREIGN_TOKEN_LIMITS)) {
    if (issuer === undefined) {
      throw new Refusal('malformed', 'The token is a JWT, which the provider does not give out.')
    }
    checkIssuer(unverifiedClaims(token, FOREIGN_TOKEN_LIMITS), issuer)
    return
  }
  if (opaque === undefined) {
    throw new Refusal('malformed', 'The token is no JWT, and the provider gives out nothing else.')
  }
  if (token.length > opaque.max_length) {
    throw new Refusal('limit_exceeded', 'The token is too long.')
  }
  const known = opaque.prefixes.length === 0 || opaque.prefixes.some((p) => token.startsWith(p))
  if (token.length < opaque.min_length || !known) {
    throw new Refusal('malformed', 'The token is not one of the provider.')
  }
}
