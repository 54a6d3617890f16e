/**
 * Regular expressions over bytes, in time linear in the text (`hba.c: regcomp_auth_token()`).
 *
 * @module
 */
import { RE2JS, RE2JSException } from 're2js'
import { type ByteString, toText } from '../byte-string.ts'

/** A compiled expression; the search is not anchored. */
export interface RegularExpression {
  /** Without the slash, as written. */
  readonly source: ByteString
  test(text: ByteString): boolean
  /** The first group of the match; `no match` and a group that took no part are told apart. */
  firstGroup(text: ByteString): FirstGroup
}

export type FirstGroup =
  | { readonly matched: false }
  | { readonly matched: true; readonly group: ByteString | undefined }

export type CompiledExpression =
  | { readonly ok: true; readonly expression: RegularExpression }
  | { readonly ok: false; readonly message: string }

/**
 * Compiles the text after the slash.
 *
 * @returns PostgreSQL's message where it has one: `invalid regular expression "…": …` (2201B).
 */
export function compileRegularExpression(source: ByteString): CompiledExpression {
  try {
    const compiled = RE2JS.compile(source, RE2JS.DOTALL)
    return {
      ok: true,
      expression: {
        source,
        test: (text) => compiled.matcher(text).find(),
        firstGroup(text) {
          const matcher = compiled.matcher(text)
          if (!matcher.find()) {
            return { matched: false }
          }
          const group = matcher.groupCount() > 0 ? matcher.group(1) : null
          return { matched: true, group: (group ?? undefined) as ByteString | undefined }
        },
      },
    }
  } catch (error) {
    if (!(error instanceof RE2JSException)) {
      throw error
    }
    return {
      ok: false,
      message: `invalid regular expression "${toText(source)}": ${error.message}`,
    }
  }
}
