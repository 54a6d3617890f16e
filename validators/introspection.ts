/**
 * `introspection`: the provider is asked about each token (RFC 7662), so a revoked one is refused within
 * seconds. For opaque tokens, and for JWTs where revocation matters more than the provider's peace. With
 * `mode = "tokenreview"` it is the API server of a Kubernetes cluster that is asked.
 *
 * Identity: the member `sub` of the answer, as it stands, unless `[validators.introspection.identity]`
 * says otherwise. Delegation: as with `jwt`. A revoked token works for `cache.positive` (10 s); while the
 * provider is down, nobody logs in except with a token that was asked about within that time.
 *
 * @module
 */
import { API_VERSION, defineValidator, type ValidatorInit } from 'pgbearer/validator'
import {
  authorizationFor,
  authorize,
  refusalOf,
  type RuleOptions,
  ruleOptions,
} from './lib/claims/authorize.ts'
import { checkRules } from './lib/claims/check-rules.ts'
import { expandMode, introspectionSettings } from './lib/introspection-settings.ts'
import { IntrospectionPolicies } from './lib/remote/introspection-policies.ts'
import { parseSettings } from './lib/settings/parse-settings.ts'
import { warnOfRelaxations } from './lib/settings/relaxations.ts'

const init: ValidatorInit = async (table, context) => {
  const settings = parseSettings(introspectionSettings, expandMode(table))
  warnOfRelaxations(settings, context.log)
  checkRules(context, settings)
  const policies = await IntrospectionPolicies.create(settings, context)

  return defineValidator<undefined, RuleOptions>({
    apiVersion: API_VERSION,
    options: ruleOptions(settings.audiences ?? []),

    async validate(state, request) {
      const policy = await policies.policyFor(request.issuer)
      authorizationFor(request, policy.authorize.authorization)
      try {
        policy.refuseForeignToken(request.token)
        const claims = await policy.claims.of(
          request.token,
          () => policy.introspect(request.token),
          state.signal,
        )
        return authorize(claims, request, policy.authorize)
      } catch (error) {
        return refusalOf(error)
      }
    },

    [Symbol.asyncDispose]: () => policies[Symbol.asyncDispose](),
  })
}

export default init
