/**
 * Regular expressions of rules and maps: PostgreSQL's Advanced Regular Expressions over bytes, in the
 * C collation (`hba.c: regcomp_auth_token()`), run by RE2 in time linear in the text.
 *
 * What RE2 cannot do (back-references, look-around) is an error when rules load, never a difference.
 *
 * @module
 */
import { RE2JS, RE2JSException } from 're2js'
import { type ByteString, toText } from '../byte-string.ts'
import { type Are, AreSyntaxError, AreUnsupportedError } from './regular-expression/are-node.ts'
import { isFirstGroupExact, prefersShortest } from './regular-expression/first-group.ts'
import { parseAre } from './regular-expression/parse-are.ts'
import { toRe2 } from './regular-expression/to-re2.ts'

/** A compiled expression; the search is not anchored. */
export interface RegularExpression {
  /** Without the slash, as written. */
  readonly source: ByteString
  /**
   * True where {@link RegularExpression.firstGroup} is PostgreSQL's group for every text. A map that
   * uses `\1` with another expression is refused when it loads.
   */
  readonly hasExactGroup: boolean
  test(text: ByteString): boolean
  /** The first group of the match; undefined where it took no part in it. */
  firstGroup(text: ByteString): FirstGroup
}

export type FirstGroup =
  | { readonly matched: false }
  | { readonly matched: true; readonly group: ByteString | undefined }

export type CompiledExpression =
  | { readonly ok: true; readonly expression: RegularExpression }
  | { readonly ok: false; readonly message: string }

/** The longest expression that is compiled; a line of a rules file is seldom longer. */
export const MAX_REGULAR_EXPRESSION_LENGTH = 10_000

/**
 * Compiles the text after the slash.
 *
 * @returns where it fails, `invalid regular expression "…": …` (2201B) with PostgreSQL's reason, or
 * ours for what only PostgreSQL can run.
 */
export function compileRegularExpression(source: ByteString): CompiledExpression {
  try {
    return { ok: true, expression: compile(source) }
  } catch (error) {
    return {
      ok: false,
      message: `invalid regular expression "${toText(source)}": ${reasonOf(error)}`,
    }
  }
}

function compile(source: ByteString): RegularExpression {
  if (source.length > MAX_REGULAR_EXPRESSION_LENGTH) {
    throw new AreUnsupportedError(`longer than ${MAX_REGULAR_EXPRESSION_LENGTH} bytes`)
  }
  const are = parseAre(source)
  const mixed = prefersShortest(are.root)
  const compiled = RE2JS.compile(toRe2(are.root), mixed ? 0 : RE2JS.LONGEST_MATCH)
  return {
    source,
    hasExactGroup: isFirstGroupExact(are.root, mixed),
    test: (text) => compiled.test(text),
    firstGroup: (text) => firstGroup(compiled, are, text),
  }
}

function firstGroup(compiled: RE2JS, { groups }: Are, text: ByteString): FirstGroup {
  const matcher = compiled.matcher(text)
  if (!matcher.find()) {
    return { matched: false }
  }
  const group = groups > 0 && matcher.groupCount() > 0 ? matcher.group(1) : null
  return { matched: true, group: (group ?? undefined) as ByteString | undefined }
}

function reasonOf(error: unknown): string {
  if (error instanceof AreSyntaxError || error instanceof AreUnsupportedError) {
    return error.message
  }
  if (error instanceof RE2JSException) {
    return 'pgbearer cannot run so large an expression'
  }
  throw error
}
