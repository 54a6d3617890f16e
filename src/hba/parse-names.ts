/**
 * The database and user fields of a rule.
 *
 * @module
 */
import {
  type AuthToken,
  isKeyword,
  isMemberCheck,
  isRegularExpression,
} from '../auth-file/auth-token.ts'
import {
  compileRegularExpression,
  type RegularExpression,
} from '../auth-file/regular-expression.ts'
import type { ByteString } from '../byte-string.ts'
import type { DatabaseMatch, UserMatch } from './hba-line.ts'
import type { LineErrors } from './line-errors.ts'

/** `hba.c: check_db()` read as data. */
export function parseDatabase(token: AuthToken, errors: LineErrors): DatabaseMatch {
  if (isRegularExpression(token)) {
    return { kind: 'regex', token, regex: expression(token, errors) }
  }
  if (isKeyword(token, 'all') || isKeyword(token, 'sameuser') || isKeyword(token, 'replication')) {
    return { kind: token.value as 'all' | 'sameuser' | 'replication', token }
  }
  if (isKeyword(token, 'samerole') || isKeyword(token, 'samegroup')) {
    errors.needMemberships(token)
    return { kind: 'samerole', token }
  }
  return { kind: 'name', token }
}

/** `hba.c: check_role()` read as data. */
export function parseUser(token: AuthToken, errors: LineErrors): UserMatch {
  if (isRegularExpression(token)) {
    return { kind: 'regex', token, regex: expression(token, errors) }
  }
  if (isMemberCheck(token)) {
    errors.needMemberships(token)
    return { kind: 'member', token, group: token.value.slice(1) as ByteString }
  }
  return { kind: isKeyword(token, 'all') ? 'all' : 'name', token }
}

function expression(token: AuthToken, errors: LineErrors): RegularExpression {
  const compiled = compileRegularExpression(token.value.slice(1) as ByteString)
  return compiled.ok ? compiled.expression : errors.fail(compiled.message, { sqlState: '2201B' })
}
