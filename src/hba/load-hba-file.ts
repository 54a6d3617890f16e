/**
 * A rules file, all or nothing (`hba.c: load_hba()`).
 *
 * @module
 */
import { type AuthFile, type AuthRecord, readAuthFile } from '../auth-file/read-auth-file.ts'
import type { ByteString } from '../byte-string.ts'
import { ConfigFileError } from '../errors.ts'
import { describeHbaLine, describeHbaError, type HbaFileRule } from './describe-hba-line.ts'
import type { HbaLine, HbaLoadContext } from './hba-line.ts'
import { parseHbaLine } from './parse-hba-line.ts'

/** What a rules file says. */
export interface HbaFile {
  /** The rules, in order. Use them only where there are no errors. */
  readonly lines: readonly HbaLine[]
  /** All errors of all files: first those of reading, then those of rules. */
  readonly errors: readonly ConfigFileError[]
  /** Rules that load but can never match (`hostssl` while `ssl` is off). */
  readonly warnings: readonly ConfigFileError[]
  /** The rows of `pg_hba_file_rules`, errors included. */
  readonly rules: readonly HbaFileRule[]
  /** Files and directories that were looked at. */
  readonly files: readonly ByteString[]
}

/**
 * Loads a rules file and all that it includes.
 *
 * @param path - as the operator named it; errors repeat it.
 * @example
 * ```ts
 * const { lines, errors } = loadHbaFile('pg_hba.conf', { oauthValidatorLibraries: ['jwt'], ssl: true })
 * ```
 */
export function loadHbaFile(path: string, context: HbaLoadContext): HbaFile {
  return parseHbaRecords(path, readAuthFile(path), context)
}

/** Reads records as rules; touches no file. */
export function parseHbaRecords(path: string, file: AuthFile, context: HbaLoadContext): HbaFile {
  const lines: HbaLine[] = []
  const errors: ConfigFileError[] = [...file.errors]
  const warnings: ConfigFileError[] = []
  const rows: RowSource[] = []
  let ruleNumber = 0
  for (const record of file.records) {
    if (record.error !== undefined) {
      rows.push({ record, error: record.error, ruleNumber: undefined })
      continue
    }
    const parsed = parseOrError(record, context)
    if (parsed instanceof ConfigFileError) {
      errors.push(parsed)
      const { viewMessage } = parsed
      // Where the view has no text, PostgreSQL counts the rule although it is not one.
      ruleNumber += viewMessage === null ? 1 : 0
      const number = viewMessage === null ? ruleNumber : undefined
      rows.push({ record, error: viewMessage, ruleNumber: number })
      continue
    }
    const { warning, warnsInView } = parsed
    ruleNumber += warnsInView ? 0 : 1
    const line = { ruleNumber: warnsInView ? undefined : ruleNumber, ...parsed.line }
    lines.push(line)
    if (warning !== undefined) {
      warnings.push(warning)
    }
    rows.push({ line, warning: warnsInView ? warning?.message : undefined })
  }
  if (errors.length === 0 && lines.length === 0) {
    errors.push(
      new ConfigFileError(`configuration file "${path}" contains no entries`, { file: path }),
    )
  }
  return {
    lines,
    errors,
    warnings,
    files: file.files,
    // Only somebody who looks at them needs them, and there may be many.
    get rules() {
      return rows.map(describeRow)
    },
  }
}

/** What a row of the view is made of; the records of good rules are forgotten. */
type RowSource =
  | { readonly line: HbaLine; readonly warning: string | undefined }
  | {
      readonly record: AuthRecord
      readonly error: string | null
      readonly ruleNumber: number | undefined
    }

function describeRow(row: RowSource): HbaFileRule {
  return 'line' in row
    ? describeHbaLine(row.line, row.warning)
    : describeHbaError(row.record, row.error, row.ruleNumber)
}

function parseOrError(
  record: AuthRecord,
  context: HbaLoadContext,
): ReturnType<typeof parseHbaLine> | ConfigFileError {
  try {
    return parseHbaLine(record, context)
  } catch (error) {
    if (error instanceof ConfigFileError) {
      return error
    }
    throw error
  }
}
