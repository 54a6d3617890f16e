/**
 * From trusted claims to an answer. Everything here is checked again at every login, also for a
 * token whose signature was checked a moment ago: time passes, and the next login is for another role.
 *
 * @module
 */
import type { ValidationRequest, ValidatorResult } from 'pgbearer/validator'
import { z } from 'zod'
import type { JsonObject } from '../json.ts'
import { Fault, Refusal } from '../refusal.ts'
import { claimPath } from '../settings/values.ts'
import { type ClaimRule, checkClaimRules } from './claim-rules.ts'
import { type ClientPolicy, checkClient, clientOf, refuseSenderConstrained } from './client.ts'
import { type IdentityPolicy, identityOf } from './identity.ts'
import { type AudiencePolicy, checkAudience, checkTimes, type TimePolicy } from './registered.ts'
import { type AuthorizationPolicy, checkRole, delegationProblem } from './role-authorization.ts'
import type { SpentTokens } from './spent-tokens.ts'
import { checkScopes, type ScopePolicy } from './scopes.ts'

export interface AuthorizePolicy {
  /** Where a rule's own audience is looked for. */
  readonly audience: Pick<AudiencePolicy, 'claim'>
  readonly times: TimePolicy
  readonly scopes: ScopePolicy
  readonly client: ClientPolicy | undefined
  readonly rules: readonly ClaimRule[]
  readonly identity: IdentityPolicy
  readonly authorization: AuthorizationPolicy
  /** Undefined where a token may log in as often as its owner likes. */
  readonly spent: SpentTokens | undefined
}

/** What a rule may say with `validator.<option>`: it can narrow the audience, and choose who decides. */
export interface RuleOptions {
  /** One of the configured audiences: this rule accepts no other. */
  readonly audience?: string | undefined
  /** Instead of `authorization.mode`, so that rules with and without delegation share a module. */
  readonly authorization?: AuthorizationPolicy['mode'] | undefined
  /** Instead of `authorization.claim`; makes the mode `role_claim`. */
  readonly role_claim?: readonly string[] | undefined
}

const sharedOptions = {
  authorization: z.enum(['identity', 'role_claim', 'role_map', 'scope_role']).optional(),
  role_claim: claimPath.optional(),
}

/** Of the options of a rule, those that say who decides about the role. */
export const delegationOptions: z.ZodType<
  Pick<RuleOptions, 'authorization' | 'role_claim'>,
  unknown
> = z.object(sharedOptions)

/** The schema that the host checks `validator.*` with when the rules are loaded. */
export function ruleOptions(audiences: readonly string[]): z.ZodType<RuleOptions> {
  return z.strictObject({ audience: z.enum(audiences).optional(), ...sharedOptions })
}

/** The same where the audiences are those of somebody else. */
export const anyAudienceOptions: z.ZodType<RuleOptions> = z.strictObject({
  audience: z.string().min(1).optional(),
  ...sharedOptions,
})

/** Who decides about the role for a rule with such options. */
export function authorizationOf(
  { authorization, role_claim: claim }: Pick<RuleOptions, 'authorization' | 'role_claim'>,
  policy: AuthorizationPolicy,
): AuthorizationPolicy {
  const mode = authorization ?? (claim === undefined ? policy.mode : 'role_claim')
  return mode === policy.mode && claim === undefined
    ? policy
    : { ...policy, mode, claim: claim ?? policy.claim }
}

/**
 * The same for a login, once both halves of a delegation are known to agree.
 *
 * @throws {Fault} `config_mismatch`, although such a rule is refused when it is loaded already
 */
export function authorizationFor(
  request: Pick<ValidationRequest<RuleOptions>, 'options' | 'delegateIdentMapping'>,
  policy: AuthorizationPolicy,
): AuthorizationPolicy {
  const authorization = authorizationOf(request.options, policy)
  const problem = delegationProblem(authorization, request.delegateIdentMapping)
  if (problem !== undefined) {
    throw new Fault('config_mismatch', problem)
  }
  return authorization
}

/** An answer, and what `composite` compares besides; the host reads no more than the contract names. */
export interface Judgement extends ValidatorResult {
  /** Whom the token was issued to, where it says so; null where it says so in no way that can be compared. */
  readonly clientId?: string | null | undefined
}

/**
 * The answer for claims whose origin is proven.
 *
 * @throws {Refusal} where there is no identity to put into an answer
 */
export function authorize(
  claims: JsonObject,
  request: ValidationRequest<RuleOptions>,
  policy: AuthorizePolicy,
): Judgement {
  const authorization = authorizationFor(request, policy.authorization)
  const authnId = identityOf(claims, policy.identity)
  try {
    const { expiresAt } = checkTimes(claims, policy.times)
    const { audience } = request.options
    if (audience !== undefined) {
      checkAudience(claims, { ...policy.audience, audiences: new Set([audience]), match: 'any' })
    }
    refuseSenderConstrained(claims)
    checkClient(claims, policy.client)
    const scopes = checkScopes(claims, request.scope, policy.scopes)
    checkClaimRules(claims, policy.rules)
    checkRole(request.role, claims, scopes, authorization)
    policy.spent?.spend(claims, expiresAt + policy.times.toleranceSeconds)
    return { authorized: true, authnId, expiresAt, clientId: clientOf(claims, policy.client) }
  } catch (error) {
    return refusalOf(error, authnId)
  }
}

/** The answer that says why not; what is not a {@link Refusal} stays an error of ours. */
export function refusalOf(error: unknown, authnId?: string): ValidatorResult {
  if (!(error instanceof Refusal)) {
    throw error
  }
  return { authorized: false, authnId, code: error.code, errorDetail: error.message }
}
