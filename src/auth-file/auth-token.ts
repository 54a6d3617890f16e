/**
 * One word of an authentication file, and the few meanings that depend on whether it was quoted.
 *
 * @module
 */
import type { ByteString } from '../byte-string.ts'

/** One token after quotes were taken away (`AuthToken` in `hba.h`). */
export interface AuthToken {
  readonly value: ByteString
  /** A quote came before the first character: keywords, `+` and `@` lose their meaning, `/` does not. */
  readonly quoted: boolean
}

/** True for the unquoted word itself; `"all"` is a name, `al"l"` is the keyword. */
export function isKeyword(token: AuthToken, keyword: string): boolean {
  return !token.quoted && token.value === keyword
}

/** True for an unquoted `+role`. */
export function isMemberCheck(token: AuthToken): boolean {
  return !token.quoted && token.value.startsWith('+')
}

/** True for `/regex`, quoted or not. */
export function isRegularExpression(token: AuthToken): boolean {
  return token.value.startsWith('/')
}
