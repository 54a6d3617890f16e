/**
 * `composite`: several issuers behind one rule, each with its own keys, audiences and identities, and
 * nothing shared. A token is judged by the policy of the issuer that it names and by no other.
 *
 * Identity: that of the policy; two issuers must not be able to name the same user. Delegation, revoked
 * tokens and outages: as with the validator of the policy.
 *
 * @module
 */
import { API_VERSION, defineValidator, type ValidatorInit } from 'pgbearer/validator'
import introspection from './introspection.ts'
import jwt from './jwt.ts'
import { anyAudienceOptions, refusalOf, type RuleOptions } from './lib/claims/authorize.ts'
import { Branches } from './lib/composite/branches.ts'
import { forIssuer } from './lib/composite/for-issuer.ts'
import { compositeSettings } from './lib/composite/settings.ts'
import { validateAll } from './lib/composite/validate-all.ts'
import { parseSettings } from './lib/settings/parse-settings.ts'
import { warnOfRelaxations } from './lib/settings/relaxations.ts'
import opaque from './opaque.ts'

const init: ValidatorInit = async (table, context) => {
  const settings = parseSettings(compositeSettings, table)
  // The tables inside are read, and warned about, by their own validators.
  const { allow_identity_overlap, allow_missing_client } = settings
  warnOfRelaxations({ allow_identity_overlap, allow_missing_client }, context.log)
  const agreement = { allowMissingClient: allow_missing_client }
  const branches = await Branches.start(settings, context, { jwt, introspection, opaque })

  return defineValidator<undefined, RuleOptions>({
    apiVersion: API_VERSION,
    options: anyAudienceOptions,

    async validate(state, request) {
      try {
        const { issuer, modules } = branches.routeFor(request.token)
        return await validateAll(modules, state, forIssuer(request, issuer), agreement)
      } catch (error) {
        return refusalOf(error)
      }
    },

    [Symbol.asyncDispose]: () => branches[Symbol.asyncDispose](),
  })
}

export default init
