/**
 * A line of a user map, as loaded (`IdentLine` in `hba.h`).
 *
 * @module
 */
import type { AuthToken } from '../auth-file/auth-token.ts'
import type { RegularExpression } from '../auth-file/regular-expression.ts'
import type { ByteString } from '../byte-string.ts'

/** Which identities a line is for; `all` and `+` mean nothing here. */
export type SystemUserMatch =
  | { readonly kind: 'name'; readonly token: AuthToken }
  | { readonly kind: 'regex'; readonly token: AuthToken; readonly regex: RegularExpression }

/** Which roles a line allows. */
export type PgUserMatch =
  | { readonly kind: 'all' | 'name'; readonly token: AuthToken }
  | { readonly kind: 'member'; readonly token: AuthToken; readonly group: ByteString }
  | { readonly kind: 'regex'; readonly token: AuthToken; readonly regex: RegularExpression }

/** A line of a user map. */
export interface IdentLine {
  /** Number among the valid lines, from 1 (`map_number`). */
  readonly mapNumber: number
  readonly file: string
  /** First physical line, from 1. */
  readonly line: number
  readonly raw: ByteString
  readonly map: ByteString
  readonly systemUser: SystemUserMatch
  readonly pgUser: PgUserMatch
}

/** True where `\1` in the role stands for what the identity's first group matched. */
export function takesGroup({ systemUser, pgUser }: IdentLine): boolean {
  return systemUser.kind === 'regex' && pgUser.kind === 'name' && pgUser.token.value.includes('\\1')
}
