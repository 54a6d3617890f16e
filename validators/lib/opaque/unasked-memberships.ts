/**
 * Settings that speak of memberships which nobody asks GitHub for: they would refuse everybody, or, where a
 * membership has to be absent, nobody.
 *
 * @module
 */
import type { ValidatorRule } from 'pgbearer/validator'
import { delegationOptions } from '../claims/authorize.ts'
import { type ClaimSettings, claimsInUse } from '../claims/settings.ts'
import { SettingsError } from '../settings/parse-settings.ts'
import { MEMBERSHIPS, type MembershipKind } from './github-memberships.ts'

/** @throws {SettingsError} one line for each kind of membership, and each rule that names one */
export function refuseUnaskedMemberships(
  settings: ClaimSettings & { readonly memberships: readonly MembershipKind[] },
  rules: readonly ValidatorRule[],
): void {
  const places = [
    { where: '', names: claimsInUse(settings) },
    ...rules.map(({ place, options }) => ({ where: `${place}: `, names: roleClaim(options) })),
  ]
  const unasked = MEMBERSHIPS.filter((kind) => !settings.memberships.includes(kind))
  const problems = places.flatMap(({ where, names }) =>
    unasked
      .filter((kind) => names.includes(kind))
      .map((kind) => `${where}the claim "/${kind}" is only there with memberships = ["${kind}"]`),
  )
  if (problems.length > 0) {
    throw new SettingsError(problems.join('\n'))
  }
}

function roleClaim(options: ValidatorRule['options']): readonly string[] {
  const read = delegationOptions.safeParse(options)
  // The host refuses an option that is wrong, with the line that it is in.
  return read.success ? (read.data.role_claim?.slice(0, 1) ?? []) : []
}
