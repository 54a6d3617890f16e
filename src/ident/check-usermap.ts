/**
 * May this identity be this role (`hba.c: check_usermap()`, `check_ident_usermap()`)?
 *
 * @module
 */
import type { RoleMemberships } from '../auth-file/role-memberships.ts'
import { type ByteString, toText } from '../byte-string.ts'
import { MembershipsUnknownError } from '../errors.ts'
import { type IdentLine, type PgUserMatch, takesGroup } from './ident-line.ts'

export interface UsermapQuestion {
  readonly lines: readonly IdentLine[]
  /** The rule's `map`; absent or empty, identity and role must be the same bytes. */
  readonly map: ByteString | undefined
  /** The authenticated identity. */
  readonly systemUser: ByteString
  /** The role asked for. */
  readonly role: ByteString
  readonly memberships?: RoleMemberships | undefined
  /**
   * Told of each line of the map that does not match, in order, and of its first field that does not; `error`
   * for a line that ended the search.
   */
  readonly onMismatch?: ((line: IdentLine, field: IdentField | 'error') => void) | undefined
}

/** A field of a line, in the order in which they are tested. */
export type IdentField = 'system-username' | 'pg-username'

export type UsermapAnswer =
  | { readonly ok: true; readonly line?: IdentLine }
  | {
      readonly ok: false
      /** 00000, 2201B or 57P03. */
      readonly sqlState: string
      /** PostgreSQL's LOG text; the client never reads it. */
      readonly message: string
      readonly reason:
        | 'usermap_no_match'
        | 'usermap_mismatch'
        | 'usermap_regex_error'
        | 'memberships_unknown'
    }

/**
 * The first line that allows it. A reference to a missing group ends the search and refuses, and so does a
 * line for members of a role while nobody knows them.
 */
export function checkUsermap(question: UsermapQuestion): UsermapAnswer {
  try {
    return searchUsermap(question)
  } catch (error) {
    if (error instanceof MembershipsUnknownError) {
      const { sqlState, logDetail: message = '', reason } = error
      return { ok: false, sqlState, message, reason }
    }
    throw error
  }
}

function searchUsermap(question: UsermapQuestion): UsermapAnswer {
  const { lines, map, systemUser, role, onMismatch } = question
  if (map === undefined || map === '') {
    return role === systemUser ? { ok: true } : mismatch(role, systemUser)
  }
  for (const line of lines) {
    if (line.map !== map) {
      continue
    }
    const answer = checkLine(line, question)
    if (answer === 'match') {
      return { ok: true, line }
    }
    if (typeof answer === 'object') {
      onMismatch?.(line, 'error')
      return { ok: false, sqlState: '2201B', message: answer.error, reason: 'usermap_regex_error' }
    }
    onMismatch?.(line, answer)
  }
  return {
    ok: false,
    sqlState: '00000',
    message: `no match in usermap "${toText(map)}" for user "${toText(role)}" authenticated as "${toText(systemUser)}"`,
    reason: 'usermap_no_match',
  }
}

function mismatch(role: ByteString, systemUser: ByteString): UsermapAnswer {
  return {
    ok: false,
    sqlState: '00000',
    message: `provided user name (${toText(role)}) and authenticated user name (${toText(systemUser)}) do not match`,
    reason: 'usermap_mismatch',
  }
}

type LineAnswer = 'match' | IdentField | { readonly error: string }

function checkLine(
  line: IdentLine,
  { systemUser, role, memberships }: UsermapQuestion,
): LineAnswer {
  const { systemUser: wanted, pgUser } = line
  if (wanted.kind === 'name' || !takesGroup(line)) {
    const fits =
      wanted.kind === 'name' ? wanted.token.value === systemUser : wanted.regex.test(systemUser)
    if (!fits) {
      return 'system-username'
    }
    return allowsRole(pgUser, role, memberships) ? 'match' : 'pg-username'
  }
  const found = wanted.regex.firstGroup(systemUser)
  if (!found.matched) {
    return 'system-username'
  }
  if (found.group === undefined) {
    return {
      error: `regular expression "${toText(wanted.regex.source)}" has no subexpressions as requested by backreference in "${toText(pgUser.token.value)}"`,
    }
  }
  // Differs between 18 and 19: 19 replaces every \1. The result is only ever compared literally.
  return pgUser.token.value.replaceAll('\\1', () => found.group ?? '') === role
    ? 'match'
    : 'pg-username'
}

function allowsRole(
  pgUser: PgUserMatch,
  role: ByteString,
  memberships: RoleMemberships | undefined,
): boolean {
  switch (pgUser.kind) {
    case 'all':
      return true
    case 'member':
      return memberships?.isMember(role, pgUser.group) ?? false
    case 'regex':
      return pgUser.regex.test(role)
    case 'name':
      return pgUser.token.value === role
  }
}
