/**
 * Whether the token may be the role that was asked for, where the host leaves that to the module
 * (`delegate_ident_mapping`). Half of that configuration would let anybody be anybody, so both halves
 * are compared when the module is loaded, and at every login.
 *
 * @module
 */
import { isJsonObject, type JsonObject } from '../json.ts'
import { Refusal } from '../refusal.ts'
import { type ClaimPath, claimAt } from './claim-path.ts'

/** `identity`: the user map decides. The others decide here. */
export type AuthorizationMode = 'identity' | 'role_claim' | 'role_map' | 'scope_role'

export interface AuthorizationPolicy {
  readonly mode: AuthorizationMode
  /** The claim that lists roles, or values for the map. */
  readonly claim: ClaimPath
  readonly shape: 'array' | 'string' | 'object_keys'
  /** Value of the claim → roles. */
  readonly map: ReadonlyMap<string, ReadonlySet<string>>
  /** Lifts the refusal of a role that PostgreSQL gives special power. */
  readonly allowPrivilegedRoles: ReadonlySet<string>
  /** Default `postgres`. */
  readonly bootstrapSuperuser: string
}

/** What is missing of a delegation, in words; undefined where rule and policy fit each other. */
export function delegationProblem(
  { mode, claim, map }: AuthorizationPolicy,
  delegateIdentMapping: boolean,
): string | undefined {
  if (delegateIdentMapping && mode === 'identity') {
    return 'the rule has delegate_ident_mapping=1, but authorization.mode is "identity": nobody would check the role'
  }
  if (!delegateIdentMapping && mode !== 'identity') {
    return `authorization.mode is "${mode}", but the rule does not have delegate_ident_mapping=1`
  }
  // The settings cannot be so, but a rule's validator.authorization can make them.
  if ((mode === 'role_claim' || mode === 'role_map') && claim.length === 0) {
    return `authorization.mode is "${mode}", but there is no authorization.claim`
  }
  return mode === 'role_map' && map.size === 0
    ? 'authorization.mode is "role_map", but there is no authorization.map'
    : undefined
}

/** @throws {Refusal} `role_denied` or `role_not_granted` */
export function checkRole(
  role: string,
  claims: JsonObject,
  scopes: ReadonlySet<string>,
  policy: AuthorizationPolicy,
): void {
  if (policy.mode === 'identity') {
    return
  }
  const privileged = role.startsWith('pg_') || role === policy.bootstrapSuperuser
  if (privileged && !policy.allowPrivilegedRoles.has(role)) {
    throw new Refusal('role_denied', 'The role is privileged: allow_privileged_roles lacks it.')
  }
  if (!isGranted(role, claims, scopes, policy)) {
    throw new Refusal('role_not_granted', 'The token does not grant the role.')
  }
}

function isGranted(
  role: string,
  claims: JsonObject,
  scopes: ReadonlySet<string>,
  policy: AuthorizationPolicy,
): boolean {
  switch (policy.mode) {
    case 'identity':
      return true
    case 'scope_role':
      return scopes.has(`role:${role}`)
    case 'role_claim':
      return valuesOf(claims, policy).includes(role)
    case 'role_map':
      return valuesOf(claims, policy).some((value) => policy.map.get(value)?.has(role) === true)
  }
}

/** A claim of another shape than configured grants nothing: "ab" is not a list with "a" in it. */
function valuesOf(claims: JsonObject, policy: AuthorizationPolicy): readonly string[] {
  const claim = claimAt(claims, policy.claim)
  switch (policy.shape) {
    case 'string':
      return typeof claim === 'string' ? [claim] : []
    case 'object_keys':
      return isJsonObject(claim) ? Object.keys(claim) : []
    case 'array':
      return Array.isArray(claim) ? claim.filter((value) => typeof value === 'string') : []
  }
}
