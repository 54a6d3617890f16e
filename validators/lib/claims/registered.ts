/**
 * The claims of RFC 7519 that every token has to have: who issued it, for whom, and until when.
 *
 * @module
 */
import { CLOCK } from '../clock.ts'
import { type JsonObject, type JsonValue, member } from '../json.ts'
import { Refusal } from '../refusal.ts'
import { type ClaimPath, claimAt, showPath } from './claim-path.ts'

/**
 * Byte for byte: no trailing slash, case or port is forgiven (RFC 7519 §4.1.1, CVE-2024-53861).
 *
 * @param mayBeMissing - for JWT-SVIDs, whose specification has no rule about `iss`; default no
 */
export function checkIssuer(claims: JsonObject, issuer: string, mayBeMissing = false): void {
  const iss = member(claims, 'iss')
  if (iss !== issuer && !(mayBeMissing && iss === undefined)) {
    throw new Refusal('unknown_issuer', 'The token was issued by somebody else.')
  }
}

/**
 * The claims that must be there, whatever they hold.
 *
 * @throws {Refusal} `missing_claim`
 */
export function checkRequiredClaims(claims: JsonObject, required: readonly ClaimPath[]): void {
  for (const path of required) {
    if (claimAt(claims, path) === undefined) {
      throw new Refusal('missing_claim', `The token has no "${showPath(path).slice(1)}".`)
    }
  }
}

export interface AudiencePolicy {
  readonly audiences: ReadonlySet<string>
  /** `any`: one of the token's is ours. `all`: all of ours are in it. `exact`: and no other. */
  readonly match: 'any' | 'all' | 'exact'
  /** Where the audience is; default `aud`. Amazon Cognito has only `client_id`. */
  readonly claim?: 'aud' | 'client_id'
}

/**
 * @throws {Refusal} `wrong_audience`, or `bad_claim_type` for a list that holds something else than
 *   strings
 */
export function checkAudience(claims: JsonObject, policy: AudiencePolicy): void {
  const found = audiencesOf(member(claims, policy.claim ?? 'aud'))
  const ours = found.filter((audience) => policy.audiences.has(audience))
  const complete = new Set(ours).size === policy.audiences.size
  const accepted =
    policy.match === 'any'
      ? ours.length > 0
      : complete && (policy.match === 'all' || ours.length === found.length)
  if (!accepted) {
    throw new Refusal('wrong_audience', 'The token was issued for another audience.')
  }
}

function audiencesOf(aud: JsonValue | undefined): readonly string[] {
  if (typeof aud === 'string') {
    return [aud]
  }
  if (!Array.isArray(aud)) {
    return []
  }
  return aud.map((audience) => {
    if (typeof audience !== 'string') {
      throw new Refusal('bad_claim_type', 'The claim "aud" holds something that is no string.')
    }
    return audience
  })
}

export interface TimePolicy {
  readonly toleranceSeconds: number
  /** Of `exp - iat` and of `exp - now`; Infinity: not limited. */
  readonly maxLifetimeSeconds: number
  /** Of `now - iat`; Infinity: not limited. */
  readonly maxAgeSeconds: number
  /** A JWT has to say when it was issued; an introspection answer may leave it out. */
  readonly iatRequired: boolean
}

/** A token's times, in seconds since 1970. */
export interface TokenTimes {
  readonly expiresAt: number
}

/**
 * @throws {Refusal} `missing_claim`, `bad_claim_type`, `expired`, `not_yet_valid`,
 *   `issued_in_future` or `lifetime_too_long`
 */
export function checkTimes(claims: JsonObject, policy: TimePolicy): TokenTimes {
  const exp = numericDate(claims, 'exp')
  const iat =
    policy.iatRequired || Object.hasOwn(claims, 'iat') ? numericDate(claims, 'iat') : undefined
  const nbf = Object.hasOwn(claims, 'nbf') ? numericDate(claims, 'nbf') : 0
  if ((iat ?? 0) > exp || nbf > exp) {
    throw new Refusal('bad_claim_type', 'The token ends before it begins.')
  }
  checkNow({ exp, iat, nbf }, policy)
  return { expiresAt: exp }
}

function checkNow(
  { exp, iat, nbf }: { exp: number; iat: number | undefined; nbf: number },
  policy: TimePolicy,
): void {
  const now = CLOCK.seconds()
  const { toleranceSeconds, maxLifetimeSeconds, maxAgeSeconds } = policy
  if (now >= exp + toleranceSeconds) {
    throw new Refusal('expired', 'The token has expired.')
  }
  if ((iat ?? 0) > now + toleranceSeconds) {
    throw new Refusal('issued_in_future', 'The token was issued in the future.')
  }
  if (nbf > now + toleranceSeconds) {
    throw new Refusal('not_yet_valid', 'The token is not valid yet.')
  }
  const remaining = exp - now - toleranceSeconds
  if (exp - (iat ?? exp) > maxLifetimeSeconds || remaining > maxLifetimeSeconds) {
    throw new Refusal('lifetime_too_long', 'The token is valid for longer than is allowed.')
  }
  if (now - (iat ?? now) > maxAgeSeconds + toleranceSeconds) {
    throw new Refusal('expired', 'The token was issued too long ago.')
  }
}

// About the year 36812: far above every real date, far below where numbers lose their last digit.
const LAST_DATE = 2 ** 40

/** RFC 7519 §2 NumericDate, whole seconds: what is falsy, infinite or a string is no date. */
function numericDate(claims: JsonObject, name: 'exp' | 'nbf' | 'iat'): number {
  const value = member(claims, name)
  if (value === undefined) {
    throw new Refusal('missing_claim', `The token has no "${name}".`)
  }
  if (!Number.isSafeInteger(value) || Number(value) < 0 || Number(value) > LAST_DATE) {
    throw new Refusal('bad_claim_type', `The claim "${name}" is not a date.`)
  }
  return Number(value)
}
