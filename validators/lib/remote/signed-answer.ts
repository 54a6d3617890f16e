/**
 * Introspection answers that are signed (RFC 9701): nobody between the provider and us can change
 * them, and nobody can use one as an access token.
 *
 * @module
 */
import { checkAudience, checkIssuer } from '../claims/registered.ts'
import { canonicalType } from '../claims/token-type.ts'
import { CLOCK } from '../clock.ts'
import { isJsonObject, type JsonObject, member } from '../json.ts'
import type { KeyRing } from '../keys/key-ring.ts'
import { Fault, Refusal } from '../refusal.ts'
import { checkHeader, type HeaderPolicy } from '../token/header.ts'
import { decodeObject, splitToken, type TokenLimits } from '../token/parse-token.ts'
import { isSignatureValid } from '../token/verify-signature.ts'

export interface SignedAnswerPolicy {
  readonly issuer: string
  readonly clientId: string
  readonly keys: KeyRing
  readonly header: HeaderPolicy
  readonly toleranceSeconds: number
}

const LIMITS: TokenLimits = {
  token: 262_144,
  header: 4_096,
  payload: 262_144,
  kid: 256,
  depth: 16,
  members: 4_096,
  items: 4_096,
  string: 65_536,
}

/**
 * The `token_introspection` of a signed answer.
 *
 * @throws {Fault} `provider_bad_response` whatever is wrong with it: the token is not to blame
 */
export async function openSignedAnswer(
  jwt: string,
  policy: SignedAnswerPolicy,
  signal: AbortSignal,
): Promise<JsonObject> {
  try {
    const parts = splitToken(jwt.trim(), LIMITS)
    const header = checkHeader(decodeObject(parts.header, 'header', LIMITS), policy.header)
    const payload = decodeObject(parts.payload, 'payload', LIMITS)
    if (canonicalType(header.typ ?? '') !== 'token-introspection+jwt') {
      throw new Refusal('wrong_type', 'It is not an introspection answer.')
    }
    checkIssuer(payload, policy.issuer)
    checkAudience(payload, { audiences: new Set([policy.clientId]), match: 'any' })
    checkFresh(payload, policy)
    const { key } = await policy.keys.keyFor(header, { signal })
    if (!(await isSignatureValid(parts, header.alg, key))) {
      throw new Refusal('bad_signature', 'The signature is not that of the key.')
    }
    return introspectionOf(payload)
  } catch (error) {
    if (error instanceof Refusal) {
      throw new Fault('provider_bad_response', `the signed answer is refused: ${error.message}`)
    }
    throw error
  }
}

// An answer is made when it is asked for.
const MAX_AGE_SECONDS = 60

function checkFresh(payload: JsonObject, { toleranceSeconds }: SignedAnswerPolicy): void {
  const iat = member(payload, 'iat')
  const age = typeof iat === 'number' ? CLOCK.seconds() - iat : NaN
  if (!(age > -toleranceSeconds && age < MAX_AGE_SECONDS + toleranceSeconds)) {
    throw new Refusal('bad_claim_type', 'It was not made now.')
  }
}

function introspectionOf(payload: JsonObject): JsonObject {
  const answer = member(payload, 'token_introspection')
  if (!isJsonObject(answer)) {
    throw new Refusal('missing_claim', 'It has no "token_introspection".')
  }
  return answer
}
