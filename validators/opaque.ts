/**
 * `opaque`: access tokens of GitHub, Google, GitLab, or of a provider with a userinfo endpoint. Whoever
 * gave such a token out is asked whose it is, and for whom it was made: a token that some other website
 * got from the same user is refused.
 *
 * Identity: `sub`, the provider's own number or text for the user, which nobody else can ever get.
 * Delegation: as with `jwt`. A revoked token works for `cache.positive` (10 s); while the provider is
 * down, nobody logs in except with a token that was asked about within that time.
 *
 * @module
 */
import { setMaxListeners } from 'node:events'
import { API_VERSION, defineValidator, type ValidatorInit } from 'pgbearer/validator'
import {
  authorizationFor,
  authorize,
  type AuthorizePolicy,
  refusalOf,
  type RuleOptions,
  ruleOptions,
} from './lib/claims/authorize.ts'
import { checkRules } from './lib/claims/check-rules.ts'
import { authorizePolicy } from './lib/claims/settings.ts'
import { CLOCK } from './lib/clock.ts'
import type { JsonObject } from './lib/json.ts'
import { type OpaqueSettings, opaqueSettings, TOKEN_PREFIXES } from './lib/opaque-settings.ts'
import { createProvider } from './lib/opaque/create-provider.ts'
import { refuseUnaskedMemberships } from './lib/opaque/unasked-memberships.ts'
import { opaqueTokens, refuseForeignToken } from './lib/remote/foreign-token.ts'
import { Gate } from './lib/remote/gate.ts'
import { RemoteClaims } from './lib/remote/remote-claims.ts'
import { gateOptions, remoteClaimsOptions } from './lib/remote/settings.ts'
import { parseSettings } from './lib/settings/parse-settings.ts'
import { warnOfRelaxations } from './lib/settings/relaxations.ts'

/** What was looked up for the rules of one issuer says nothing to those of another. */
interface IssuerPolicy {
  readonly authorize: AuthorizePolicy
  readonly claims: RemoteClaims
}

function createPolicy(settings: OpaqueSettings, issuer: string): IssuerPolicy {
  const policy = authorizePolicy(settings, issuer)
  return {
    authorize: { ...policy, times: { ...policy.times, iatRequired: false } },
    claims: new RemoteClaims(remoteClaimsOptions(settings)),
  }
}

const init: ValidatorInit = async (table, context) => {
  const settings = parseSettings(opaqueSettings, table)
  warnOfRelaxations(settings, context.log)
  checkRules(context, settings)
  if (settings.provider === 'github') {
    refuseUnaskedMemberships(settings, context.rules)
  }
  const ours =
    settings.opaque_tokens ?? opaqueTokens.parse({ prefixes: TOKEN_PREFIXES[settings.provider] })
  const gate = new Gate(gateOptions(settings))
  const provider = await createProvider(settings, gate, context)
  const closing = new AbortController()
  // Every login that waits for the provider listens.
  setMaxListeners(0, closing.signal)
  const policies = new Map<string, IssuerPolicy>()

  const lookUp = async (token: string, issuer: string): Promise<JsonObject> => {
    const { signal } = closing
    const source = await provider.for(issuer)
    const claims = await gate.run(() => source.lookUp(token, signal), signal)
    const end = CLOCK.seconds() + settings.lifetime_if_unknown / 1_000
    return { exp: Math.floor(end), ...claims }
  }

  return defineValidator<undefined, RuleOptions>({
    apiVersion: API_VERSION,
    options: ruleOptions([]),

    async validate(state, request) {
      const { token, issuer } = request
      const policy = policies.get(issuer) ?? createPolicy(settings, issuer)
      policies.set(issuer, policy)
      authorizationFor(request, policy.authorize.authorization)
      try {
        refuseForeignToken(token, undefined, ours)
        const claims = await policy.claims.of(token, () => lookUp(token, issuer), state.signal)
        return authorize(claims, request, policy.authorize)
      } catch (error) {
        return refusalOf(error)
      }
    },

    async [Symbol.asyncDispose]() {
      closing.abort(new Error('the validator is shutting down'))
      await provider[Symbol.asyncDispose]()
    },
  })
}

export default init
