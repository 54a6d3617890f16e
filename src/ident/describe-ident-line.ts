/**
 * Lines of maps as rows of `pg_ident_file_mappings` (`hbafuncs.c`).
 *
 * @module
 */
import type { AuthRecord } from '../auth-file/read-auth-file.ts'
import { toText } from '../byte-string.ts'
import type { IdentLine } from './ident-line.ts'

/** The columns of `pg_ident_file_mappings`, in its order. */
export interface IdentFileMapping {
  readonly mapNumber: number | null
  readonly fileName: string
  readonly lineNumber: number
  readonly mapName: string | null
  readonly sysName: string | null
  readonly pgUserName: string | null
  readonly error: string | null
}

/** The row of a line; regular expressions keep their slash. */
export function describeIdentLine(line: IdentLine): IdentFileMapping {
  return {
    mapNumber: line.mapNumber,
    fileName: line.file,
    lineNumber: line.line,
    mapName: toText(line.map),
    sysName: toText(line.systemUser.token.value),
    pgUserName: toText(line.pgUser.token.value),
    error: null,
  }
}

/** The row of a line that could not be read. */
export function describeIdentError({ file, line }: AuthRecord, error: string): IdentFileMapping {
  return {
    mapNumber: null,
    fileName: file,
    lineNumber: line,
    mapName: null,
    sysName: null,
    pgUserName: null,
    error,
  }
}
