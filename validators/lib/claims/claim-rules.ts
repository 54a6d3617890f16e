/**
 * What a claim has to be, as an operator writes it down. There are no regular expressions: what is
 * matched here comes from strangers, and the matchers are linear (CVE-2026-35041).
 *
 * @module
 */
import { type JsonObject, type JsonValue, member } from '../json.ts'
import { Refusal } from '../refusal.ts'
import { type ClaimPath, claimAt, showPath } from './claim-path.ts'

export type ClaimRule = {
  readonly path: ClaimPath
  /** For the log, instead of the path. */
  readonly message?: string | undefined
} & (
  | { readonly op: 'exists' | 'absent' }
  | { readonly op: 'eq'; readonly value: string | number | boolean }
  | { readonly op: 'in'; readonly value: readonly (string | number | boolean)[] }
  | { readonly op: 'contains' | 'prefix' | 'glob'; readonly value: string }
  | { readonly op: 'lte'; readonly value: number }
)

/** @throws {Refusal} `claim_rule_failed` at the first rule that is not met */
export function checkClaimRules(claims: JsonObject, rules: readonly ClaimRule[]): void {
  for (const rule of rules) {
    if (!meetsRule(claims, rule)) {
      const why = rule.message ?? `The rule for "${showPath(rule.path)}" is not met.`
      throw new Refusal('claim_rule_failed', why)
    }
  }
  checkActor(claims, rules)
}

export function meetsRule(claims: JsonObject, rule: ClaimRule): boolean {
  const claim = claimAt(claims, rule.path)
  switch (rule.op) {
    case 'exists':
      return claim !== undefined
    case 'absent':
      return claim === undefined
    case 'eq':
      return claim === rule.value
    case 'in':
      return (rule.value as readonly unknown[]).includes(claim)
    case 'contains':
      return Array.isArray(claim) && claim.includes(rule.value)
    case 'prefix':
      return typeof claim === 'string' && claim.startsWith(rule.value)
    case 'glob':
      return typeof claim === 'string' && matchesGlob(claim, rule.value)
    case 'lte':
      return typeof claim === 'number' && claim <= rule.value
  }
}

/** `*` stands for any text, also none; every other character for itself. Linear in both. */
export function matchesGlob(text: string, glob: string): boolean {
  const pieces = glob.split('*')
  const first = pieces[0] ?? ''
  const last = pieces.at(-1) ?? ''
  if (pieces.length === 1) {
    return text === glob
  }
  if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last)) {
    return false
  }
  let at = first.length
  const end = text.length - last.length
  for (const piece of pieces.slice(1, -1)) {
    const found = text.indexOf(piece, at)
    if (found < 0 || found + piece.length > end) {
      return false
    }
    at = found + piece.length
  }
  return true
}

// RFC 8693 §4.1: nested actors are history.
const MAX_ACTORS = 4

/**
 * A token that somebody else uses on behalf of its subject is refused, unless a rule says something
 * about `/act`.
 */
function checkActor(claims: JsonObject, rules: readonly ClaimRule[]): void {
  let actor: JsonValue | undefined = member(claims, 'act')
  if (actor === undefined) {
    return
  }
  if (!rules.some((rule) => rule.path[0] === 'act')) {
    throw new Refusal(
      'claim_rule_failed',
      'The token is used by an actor ("act"): no rule allows it.',
    )
  }
  for (let depth = 0; actor !== undefined; depth += 1) {
    if (depth === MAX_ACTORS || typeof actor !== 'object' || actor === null) {
      throw new Refusal('claim_rule_failed', 'The chain of actors ("act") is too long or broken.')
    }
    actor = Object.hasOwn(actor, 'act') ? (actor as JsonObject)['act'] : undefined
  }
}
