/**
 * What the token may be used for (RFC 6749 §3.3). All required scopes must be there, each exactly.
 *
 * @module
 */
import { type JsonObject, member } from '../json.ts'
import { Fault, Refusal } from '../refusal.ts'

export interface ScopePolicy {
  /** Instead of the scope of the rule; undefined: the rule's. */
  readonly scopes: readonly string[] | undefined
  readonly allowEmpty: boolean
  /** Claims that hold scopes. Others do not count. */
  readonly claims: readonly string[]
  /** `string`: separated by blanks. `array`: a list of strings. */
  readonly shape: 'string' | 'array'
  /** Taken off a required scope, where it begins so: `api://<app>/` at Entra. */
  readonly stripPrefixes: readonly string[]
}

/**
 * @param ruleScopes - the `scope` of the rule
 * @returns the scopes of the token
 * @throws {Refusal} `insufficient_scope`
 * @throws {Fault} `config_mismatch` where nothing is required and that was not allowed
 */
export function checkScopes(
  claims: JsonObject,
  ruleScopes: readonly string[],
  policy: ScopePolicy,
): ReadonlySet<string> {
  const required = policy.scopes ?? ruleScopes
  if (required.length === 0 && !policy.allowEmpty) {
    throw new Fault('config_mismatch', 'no scope is required; allow_empty_scope is not set')
  }
  const granted = scopesOf(claims, policy)
  for (const scope of required) {
    if (!granted.has(withoutPrefix(scope, policy.stripPrefixes))) {
      throw new Refusal('insufficient_scope', 'The token lacks a required scope.')
    }
  }
  return granted
}

function scopesOf(claims: JsonObject, policy: ScopePolicy): ReadonlySet<string> {
  const scopes = new Set<string>()
  for (const name of policy.claims) {
    const value = member(claims, name)
    if (policy.shape === 'string' && typeof value === 'string') {
      for (const scope of value.split(' ')) {
        scopes.add(scope)
      }
    } else if (policy.shape === 'array' && Array.isArray(value)) {
      for (const scope of value) {
        if (typeof scope === 'string') {
          scopes.add(scope)
        }
      }
    }
  }
  return scopes
}

function withoutPrefix(scope: string, prefixes: readonly string[]): string {
  const prefix = prefixes.find((prefix) => scope.startsWith(prefix) && scope !== prefix)
  return prefix === undefined ? scope : scope.slice(prefix.length)
}
