/**
 * Where our rows differ from those of PostgreSQL 18, and why. Everything else is a bug.
 */
import type { HbaFileRule } from '../../src/hba/describe-hba-line.ts'
import type { IdentFileMapping } from '../../src/ident/describe-ident-line.ts'

interface KnownDifference<Row> {
  readonly why: string
  /** True where this is the difference between the two rows. */
  readonly explains: (real: Row, ours: Row) => boolean
}

// Errors that PostgreSQL can only find after it has taken the method.
const AFTER_METHOD =
  /^(authentication option|authentication method|gssapi auth|peer auth|unrecognized auth|client(cert|name) can|cannot |could not parse|list of|the number of|invalid (LDAP|RADIUS|ldap))/

/** Texts that 19 words differently. */
const TEXTS_OF_19: readonly (readonly [of18: RegExp, of19: string])[] = [
  [
    /^oauth_validator_libraries must be set for authentication method oauth$/,
    'parameter "oauth_validator_libraries" must be set for authentication method "oauth"',
  ],
  [
    /^authentication method "oauth" requires argument "validator" to be set when oauth_validator_libraries contains multiple options$/,
    'authentication method "oauth" requires option "validator" to be set when "oauth_validator_libraries" contains multiple options',
  ],
  [
    /^(validator ".*" is not permitted by) oauth_validator_libraries$/s,
    '$1 "oauth_validator_libraries"',
  ],
]

export const HBA_DIFFERENCES: readonly KnownDifference<HbaFileRule>[] = [
  {
    why: 'a proxy does not do this method, so it is one that "this build" does not support',
    explains: (real, ours) => {
      const method = /^invalid authentication method "([^"]*)": not supported/.exec(
        ours.error ?? '',
      )?.[1]
      const taken = real.authMethod ?? ''
      return (
        method !== undefined &&
        method !== 'radius' &&
        (taken === method ||
          (method === 'ident' && taken === 'peer') ||
          AFTER_METHOD.test(real.error ?? '') ||
          // An option without a text of its own in the view.
          (real.authMethod === null && real.error === null) ||
          (real.authMethod === null && starts(real.error, 'hostssl record cannot match')))
      )
    },
  },
  {
    why: '19 has no RADIUS',
    explains: (real, ours) =>
      ours.error === 'invalid authentication method "radius"' &&
      (real.authMethod === 'radius' || AFTER_METHOD.test(real.error ?? '') || real.error === null),
  },
  {
    why: '19 has no RADIUS options',
    explains: (real, ours) =>
      starts(ours.error, 'unrecognized authentication option name: "radius') &&
      /RADIUS|methods radius|^authentication option "radius/i.test(real.error ?? ''),
  },
  {
    why: '18 has no options for validators',
    explains: (real) => starts(real.error, 'unrecognized authentication option name: "validator.'),
  },
  {
    why: 'upstream and token_in_password are ours',
    explains: (real) =>
      starts(real.error, 'unrecognized authentication option name: "token_in_password"') ||
      starts(real.error, 'invalid authentication method "upstream"'),
  },
  {
    why: 'RE2 has no back-references, look-around, word starts and basic or extended flavours',
    explains: (_, ours) => isRefusedExpression(ours.error),
  },
]

export const IDENT_DIFFERENCES: readonly KnownDifference<IdentFileMapping>[] = [
  {
    why: 'RE2 has no back-references, look-around, word starts and basic or extended flavours',
    explains: (_, ours) => isRefusedExpression(ours.error),
  },
  {
    why: '\\1 is taken only from expressions that RE2 divides as PostgreSQL does',
    explains: (real, ours) =>
      real.error === null && starts(ours.error, 'pgbearer cannot take \\1 from'),
  },
]

function starts(error: string | null, text: string): boolean {
  return error?.startsWith(text) ?? false
}

function isRefusedExpression(error: string | null): boolean {
  return /^invalid regular expression ".*": pgbearer (has no|does not read|cannot run)/s.test(
    error ?? '',
  )
}

/** The row as 19 would word it; of its number only the presence is compared. */
function comparable(row: object, number: number | null, error: string | null): object {
  const texts = TEXTS_OF_19.reduce((text, [of18, of19]) => text?.replace(of18, of19) ?? null, error)
  const numbered = number === null ? null : 'numbered'
  return { ...row, error: texts, ruleNumber: numbered, mapNumber: numbered }
}

/** What is different for no known reason. */
export function unexplained<Row extends { readonly error: string | null }>(
  real: readonly Row[],
  ours: readonly Row[],
  numberOf: (row: Row) => number | null,
  differences: readonly KnownDifference<Row>[],
): { readonly real: unknown; readonly ours: unknown }[] {
  const count = Math.max(real.length, ours.length)
  return Array.from({ length: count }, (_, at) => at).flatMap<{ real: unknown; ours: unknown }>(
    (at) => {
      const [theirs, own] = [real[at], ours[at]]
      if (theirs === undefined || own === undefined) {
        return [{ real: theirs, ours: own }]
      }
      const pair = {
        real: comparable(theirs, numberOf(theirs), theirs.error),
        ours: comparable(own, numberOf(own), own.error),
      }
      const same = JSON.stringify(pair.real) === JSON.stringify(pair.ours)
      return same || differences.some(({ explains }) => explains(theirs, own)) ? [] : [pair]
    },
  )
}
