/**
 * What the log is told of the rule that decided.
 *
 * @module
 */
import { toText } from '../byte-string.ts'
import type { HbaLine } from '../hba/hba-line.ts'

/**
 * The reason and "Connection matched …", as `auth_failed()` in `auth.c` puts them together.
 *
 * The raw line is left out where it holds values for a validator: they may be secrets.
 */
export function matchedLine(
  line: HbaLine,
  reason?: string,
): { logDetail: string; logFields: Readonly<Record<string, unknown>> } {
  const where = `Connection matched file "${line.file}" line ${line.line}`
  const secrets = line.oauth !== undefined && line.oauth.validatorOptions.size > 0
  const text = secrets ? where : `${where}: "${toText(line.raw)}"`
  return {
    logDetail: reason === undefined ? text : `${reason}\n${text}`,
    logFields: { hba: { file: line.file, line: line.line } },
  }
}
