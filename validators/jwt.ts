/**
 * `jwt`: access tokens that are signed JWTs (RFC 9068), checked here, without asking anybody.
 *
 * A token has to be spelled correctly, come from the issuer of the rule, be an access token for us, be
 * valid now, and be signed by a key that the issuer publishes. Then its claims say who it is.
 *
 * Identity: the claim `sub`, as it stands, unless `[validators.jwt.identity]` says otherwise.
 * Delegation (`delegate_ident_mapping=1`): safe with an `authorization.mode` that looks at the role,
 * refused with any other. A revoked token works until it expires; while the provider is down, logins go on
 * for `keys.stale_until`.
 *
 * @module
 */
import { API_VERSION, defineValidator, type ValidatorInit } from 'pgbearer/validator'
import { authorizationFor, authorize, refusalOf, ruleOptions } from './lib/claims/authorize.ts'
import type { RuleOptions } from './lib/claims/authorize.ts'
import {
  checkAudience,
  checkIssuer,
  checkRequiredClaims,
  checkTimes,
} from './lib/claims/registered.ts'
import { checkTokenType } from './lib/claims/token-type.ts'
import { IssuerPolicies, type IssuerPolicy } from './lib/issuer-policies.ts'
import { jwtSettings } from './lib/jwt-settings.ts'
import type { JsonObject } from './lib/json.ts'
import { parseSettings } from './lib/settings/parse-settings.ts'
import { warnOfRelaxations } from './lib/settings/relaxations.ts'
import { refuseDisguisedNames } from './lib/token/claim-names.ts'
import type { TokenHeader } from './lib/token/header.ts'
import { decodeObject, splitToken, type TokenParts } from './lib/token/parse-token.ts'
import type { TokenDigest, Verdict } from './lib/token/verified-tokens.ts'
import { isSignatureValid } from './lib/token/verify-signature.ts'

/** A token that has been taken apart and is not believed. */
interface TokenInHand {
  readonly digest: TokenDigest
  readonly parts: TokenParts
  readonly header: TokenHeader
}

const init: ValidatorInit = async (table, context) => {
  const settings = parseSettings(jwtSettings, table)
  warnOfRelaxations(settings, context.log)
  const policies = await IssuerPolicies.create(settings, context)

  return defineValidator<undefined, RuleOptions>({
    apiVersion: API_VERSION,
    options: ruleOptions(settings.audiences),

    async validate(state, request) {
      const policy = await policies.policyFor(request.issuer)
      authorizationFor(request, policy.authorize.authorization)
      try {
        const parts = splitToken(request.token, policy.limits)
        const header = policy.headers.read(parts.header)
        const digest = policy.verified.digest(request.token)
        const claims =
          policy.verified.recall(digest, policy.keys.currentGeneration()) ??
          (await prove({ digest, parts, header }, policy, state.signal))
        return authorize(claims, request, policy.authorize)
      } catch (error) {
        return refusalOf(error)
      }
    },

    [Symbol.asyncDispose]: () => policies[Symbol.asyncDispose](),
  })
}

/** What is cheap comes first; nothing is believed before the signature is. */
async function prove(
  { digest, parts, header }: TokenInHand,
  policy: IssuerPolicy,
  signal: AbortSignal,
): Promise<JsonObject> {
  const claims = decodeObject(parts.payload, 'payload', policy.limits)
  refuseDisguisedNames(claims, policy.guardedNames)
  checkIssuer(claims, policy.issuer)
  checkTokenType(header.typ, claims, policy.tokenType)
  checkRequiredClaims(claims, policy.requiredClaims)
  checkTimes(claims, policy.authorize.times)
  checkAudience(claims, policy.audience)

  const unproven = { digest, claims, bytes: parts.payload.length }
  await policy.verified.prove(unproven, () => checkSignature(parts, header, policy), signal)
  return claims
}

async function checkSignature(
  parts: TokenParts,
  header: TokenHeader,
  policy: IssuerPolicy,
): Promise<Verdict> {
  const { key, generation } = await policy.keys.keyFor(header)
  const valid = await isSignatureValid(parts, header.alg, key)
  if (valid) {
    policy.headers.learn(parts.header, header)
  }
  return { valid, generation }
}

export default init
