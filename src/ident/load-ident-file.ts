/**
 * A maps file, all or nothing (`hba.c: load_ident()`, `parse_ident_line()`).
 *
 * @module
 */
import {
  type AuthToken,
  isKeyword,
  isMemberCheck,
  isRegularExpression,
} from '../auth-file/auth-token.ts'
import { type AuthFile, type AuthRecord, readAuthFile } from '../auth-file/read-auth-file.ts'
import {
  compileRegularExpression,
  type RegularExpression,
} from '../auth-file/regular-expression.ts'
import { type ByteString, toText } from '../byte-string.ts'
import { ConfigFileError } from '../errors.ts'
import {
  describeIdentError,
  describeIdentLine,
  type IdentFileMapping,
} from './describe-ident-line.ts'
import { type IdentLine, type PgUserMatch, type SystemUserMatch, takesGroup } from './ident-line.ts'

/** What a maps file says. */
export interface IdentFile {
  /** The lines, in order. Use them only where there are no errors. */
  readonly lines: readonly IdentLine[]
  /** All errors of all files: first those of reading, then those of lines. */
  readonly errors: readonly ConfigFileError[]
  /** The rows of `pg_ident_file_mappings`, errors included. */
  readonly mappings: readonly IdentFileMapping[]
  /** Files and directories that were looked at. */
  readonly files: readonly ByteString[]
}

export interface IdentLoadContext {
  /** Where there is `none`, a line with `+role` is an error; default `available`. */
  readonly memberships?: 'available' | 'none'
}

/**
 * Loads a maps file and all that it includes. A file without lines is fine.
 *
 * @param path - as the operator named it; errors repeat it.
 */
export function loadIdentFile(path: string, context: IdentLoadContext = {}): IdentFile {
  return parseIdentRecords(readAuthFile(path), context)
}

/** Reads records as lines of maps; touches no file. */
export function parseIdentRecords(file: AuthFile, context: IdentLoadContext = {}): IdentFile {
  const lines: IdentLine[] = []
  const errors: ConfigFileError[] = [...file.errors]
  const mappings: IdentFileMapping[] = []
  for (const record of file.records) {
    if (record.error !== undefined) {
      mappings.push(describeIdentError(record, record.error))
      continue
    }
    try {
      const line = parseIdentLine(record, lines.length + 1, context)
      lines.push(line)
      mappings.push(describeIdentLine(line))
    } catch (error) {
      if (!(error instanceof ConfigFileError)) {
        throw error
      }
      errors.push(error)
      mappings.push(describeIdentError(record, error.message))
    }
  }
  return { lines, errors, mappings, files: file.files }
}

function parseIdentLine(
  record: AuthRecord,
  mapNumber: number,
  { memberships }: IdentLoadContext,
): IdentLine {
  const { file, line, raw, fields } = record
  // Fields after the third are ignored, as in PostgreSQL.
  const map = onlyToken(record, fields[0])
  const systemUser = onlyToken(record, fields[1])
  const pgUser = onlyToken(record, fields[2])
  const parsed: IdentLine = {
    mapNumber,
    file,
    line,
    raw,
    map: map.value,
    systemUser: parseSystemUser(systemUser, record),
    pgUser: parsePgUser(pgUser, record),
  }
  checkBackReference(parsed, record)
  if (parsed.pgUser.kind === 'member' && memberships === 'none') {
    throw failure(
      record,
      `"${toText(pgUser.value)}" needs role memberships, and no source of them is set`,
    )
  }
  return parsed
}

/** Differs from PostgreSQL: a group that RE2 might cut elsewhere is refused, not taken. */
function checkBackReference(line: IdentLine, record: AuthRecord): void {
  const { systemUser } = line
  if (systemUser.kind === 'regex' && takesGroup(line) && !systemUser.regex.hasExactGroup) {
    throw failure(
      record,
      `pgbearer cannot take \\1 from the regular expression "${toText(systemUser.regex.source)}", because its parts can divide a name in several ways`,
      '2201B',
    )
  }
}

function onlyToken(record: AuthRecord, field: readonly AuthToken[] | undefined): AuthToken {
  if (field?.[0] === undefined) {
    throw failure(record, 'missing entry at end of line')
  }
  if (field.length > 1) {
    throw failure(record, 'multiple values in ident field')
  }
  return field[0]
}

function parseSystemUser(token: AuthToken, record: AuthRecord): SystemUserMatch {
  return isRegularExpression(token)
    ? { kind: 'regex', token, regex: expression(token, record) }
    : { kind: 'name', token }
}

function parsePgUser(token: AuthToken, record: AuthRecord): PgUserMatch {
  if (isRegularExpression(token)) {
    return { kind: 'regex', token, regex: expression(token, record) }
  }
  if (isMemberCheck(token)) {
    return { kind: 'member', token, group: token.value.slice(1) as ByteString }
  }
  return { kind: isKeyword(token, 'all') ? 'all' : 'name', token }
}

function expression(token: AuthToken, record: AuthRecord): RegularExpression {
  const compiled = compileRegularExpression(token.value.slice(1) as ByteString)
  if (!compiled.ok) {
    throw failure(record, compiled.message, '2201B')
  }
  return compiled.expression
}

function failure({ file, line }: AuthRecord, message: string, sqlState?: string): ConfigFileError {
  return new ConfigFileError(message, {
    file,
    line,
    ...(sqlState === undefined ? {} : { sqlState }),
  })
}
