/**
 * Rules that a module could never serve, found when they are loaded and not when somebody wants to log in.
 *
 * @module
 */
import type { ValidatorContext, ValidatorRule } from 'pgbearer/validator'
import { SettingsError } from '../settings/parse-settings.ts'
import { authorizationOf, delegationOptions } from './authorize.ts'
import { type AuthorizationPolicy, delegationProblem } from './role-authorization.ts'
import { authorizationPolicy, type ClaimSettings } from './settings.ts'

/**
 * Compares each rule with the settings.
 *
 * @throws {SettingsError} one line for each rule with half of a delegation, or without any scope
 */
export function checkRules({ rules }: ValidatorContext, settings: ClaimSettings): void {
  const policy = authorizationPolicy(settings)
  const problems = rules.flatMap((rule) => {
    const all = [problemOfDelegation(rule, policy), problemOfScope(rule, settings)]
    return all.filter((problem) => problem !== undefined).map((text) => `${rule.place}: ${text}`)
  })
  if (problems.length > 0) {
    throw new SettingsError(problems.join('\n'))
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
