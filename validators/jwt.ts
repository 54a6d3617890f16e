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
import type { Waiter } from './lib/abortable.ts'
import { authorizationFor, authorize, refusalOf, ruleOptions } from './lib/claims/authorize.ts'
import type { RuleOptions } from './lib/claims/authorize.ts'
import { checkRules } from './lib/claims/check-rules.ts'
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
import { expandPreset } from './lib/presets/expand-preset.ts'
import { parseSettings } from './lib/settings/parse-settings.ts'
import { warnOfRelaxations } from './lib/settings/relaxations.ts'
import { refuseDisguisedNames } from './lib/token/claim-names.ts'
import type { TokenHeader } from './lib/token/header.ts'
import { decodeObject, refuseNoise, splitToken, type TokenParts } from './lib/token/parse-token.ts'
import type { TokenDigest } from './lib/token/verified-tokens.ts'
import { isSignatureValid } from './lib/token/verify-signature.ts'

const init: ValidatorInit = async (table, context) => {
  const settings = parseSettings(jwtSettings, expandPreset(table))
  warnOfRelaxations({ preset: table['preset'], ...settings }, context.log)
  checkRules(context, settings)
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
        refuseNoise(parts.payload, 'payload')
        const digest = policy.verified.digest(request.token)
        let claims = policy.verified.recall(digest, policy.keys.currentGeneration())
        if (claims === undefined) {
          claims = readClaims(parts, header, policy)
          await prove({ digest, parts, header, claims }, policy, state)
        }
        return authorize(claims, request, policy.authorize)
      } catch (error) {
        return refusalOf(error)
      }
    },

    [Symbol.asyncDispose]: () => policies[Symbol.asyncDispose](),
  })
}

/** What is cheap to refuse is refused before any cryptography. */
function readClaims(parts: TokenParts, header: TokenHeader, policy: IssuerPolicy): JsonObject {
  const claims = decodeObject(parts.payload, 'payload', policy.limits)
  refuseDisguisedNames(claims, policy.guardedNames)
  checkIssuer(claims, policy.issuer, policy.issuerMayBeMissing)
  checkTokenType(header.typ, claims, policy.tokenType)
  checkRequiredClaims(claims, policy.requiredClaims)
  checkTimes(claims, policy.authorize.times)
  checkAudience(claims, policy.audience)
  return claims
}

interface UnprovenToken {
  readonly digest: TokenDigest
  readonly parts: TokenParts
  readonly header: TokenHeader
  readonly claims: JsonObject
}

/** Once this has returned, the issuer did say what the token says. */
async function prove(
  { digest, parts, header, claims }: UnprovenToken,
  policy: IssuerPolicy,
  waiter: Waiter,
): Promise<void> {
  const { key, generation } = await policy.keys.keyFor(header, waiter)
  const unproven = { digest, claims, generation, bytes: parts.payload.length }
  await policy.verified.prove(unproven, () => isSignatureValid(parts, header.alg, key), waiter)
  policy.headers.learn(parts.header, header)
}

export default init
