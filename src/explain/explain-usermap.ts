/**
 * A user map, line by line.
 *
 * @module
 */
import type { ByteString } from '../byte-string.ts'
import type { Rules } from '../config/rules.ts'
import type { HbaLine } from '../hba/hba-line.ts'
import { checkUsermap, type IdentField, type UsermapAnswer } from '../ident/check-usermap.ts'
import type { IdentLine } from '../ident/ident-line.ts'

export interface MapQuestion {
  /** Whose name it is: the token's identity, or a name in the client's certificate. */
  readonly kind: 'identity' | 'certificate'
  readonly name: ByteString
  /** The rule, whose `map` is asked. */
  readonly line: HbaLine
  readonly role: ByteString
  readonly rules: Pick<Rules, 'identLines' | 'memberships'>
}

/** What was asked of a map, and what came of it. */
export interface MapExplanation {
  readonly kind: MapQuestion['kind']
  readonly name: ByteString
  /** Undefined: there is no map, so the name must be the role. */
  readonly map: ByteString | undefined
  /** The lines of this map before the one that matches; `error` ended the search. */
  readonly mismatches: readonly { readonly line: IdentLine; readonly field: IdentField | 'error' }[]
  readonly answer: UsermapAnswer
}

/** Asks the map of a rule. */
export function explainUsermap({ kind, name, line, role, rules }: MapQuestion): MapExplanation {
  const mismatches: { line: IdentLine; field: IdentField | 'error' }[] = []
  const answer = checkUsermap({
    lines: rules.identLines,
    map: line.map,
    systemUser: name,
    role,
    memberships: rules.memberships,
    onMismatch: (mismatch, field) => mismatches.push({ line: mismatch, field }),
  })
  const map = line.map === '' ? undefined : line.map
  return { kind, name, map, mismatches, answer }
}
