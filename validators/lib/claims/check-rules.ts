/**
 * Rules that a module could never serve, or would serve for nearly anybody, found when they are loaded and not
 * when somebody wants to log in.
 *
 * @module
 */
import type { ValidatorContext, ValidatorRule } from 'pgbearer/validator'
import { SettingsError } from '../settings/parse-settings.ts'
import { authorizationOf, delegationOptions } from './authorize.ts'
import { type AuthorizationPolicy, delegationProblem } from './role-authorization.ts'
import { authorizationPolicy, type ClaimSettings } from './settings.ts'

/**
 * Compares each rule with the settings, and warns of scopes that keep nobody out.
 *
 * @throws {SettingsError} one line for each rule with half of a delegation, without any scope, or, with
 *   `require_specific_scope`, with a scope that every client of the provider gets
 */
export function checkRules({ rules, log }: ValidatorContext, settings: ClaimSettings): void {
  const policy = authorizationPolicy(settings)
  const problems = rules.flatMap((rule) => {
    const all = [problemOfDelegation(rule, policy), problemOfScope(rule, settings)]
    return all.filter((problem) => problem !== undefined).map((text) => `${rule.place}: ${text}`)
  })
  const weak = weakScopes(rules, settings)
  if (settings.require_specific_scope) {
    problems.push(...weak)
  }
  if (problems.length > 0) {
    throw new SettingsError(problems.join('\n'))
  }
  for (const warning of weak) {
    log.warning(warning)
  }
}

function problemOfDelegation(
  { options, delegateIdentMapping }: ValidatorRule,
  policy: AuthorizationPolicy,
): string | undefined {
  const read = delegationOptions.safeParse(options)
  // The host refuses an option that is wrong, with the line that it is in.
  return read.success
    ? delegationProblem(authorizationOf(read.data, policy), delegateIdentMapping)
    : undefined
}

function problemOfScope(rule: ValidatorRule, settings: ClaimSettings): string | undefined {
  const required = settings.scopes ?? rule.scope
  return required.length === 0 && !settings.allow_empty_scope
    ? 'no scope is required; allow_empty_scope is not set'
    : undefined
}

// OpenID Connect Core §3.1.2.1, §5.4 and §11: about the user, and for whichever client asks.
const COMMON_SCOPES = new Set(['openid', 'profile', 'email', 'address', 'phone', 'offline_access'])

/** The places whose scopes every client of the provider gets. */
function weakScopes(rules: readonly ValidatorRule[], { scopes }: ClaimSettings): string[] {
  const places = scopes === undefined ? rules : [{ place: 'scopes', scope: scopes }]
  return places
    .filter(({ scope }) => scope.length > 0 && scope.every((name) => COMMON_SCOPES.has(name)))
    .map(
      ({ place, scope }) =>
        `${place}: the only scope that is asked for is "${scope.join(' ')}", which any client of the provider can get: ask for one that is meant for this database`,
    )
}
