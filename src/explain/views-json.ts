/**
 * Rows of PostgreSQL's two views under the names of their columns.
 *
 * @module
 */
import type { HbaFileRule } from '../hba/describe-hba-line.ts'
import type { IdentFileMapping } from '../ident/describe-ident-line.ts'

/** A row of `pg_hba_file_rules`. */
export interface HbaFileRuleJson {
  readonly rule_number: number | null
  readonly file_name: string
  readonly line_number: number
  readonly type: string | null
  readonly database: readonly string[] | null
  readonly user_name: readonly string[] | null
  readonly address: string | null
  readonly netmask: string | null
  readonly auth_method: string | null
  readonly options: readonly string[] | null
  readonly error: string | null
}

/** A row of `pg_ident_file_mappings`. */
export interface IdentFileMappingJson {
  readonly map_number: number | null
  readonly file_name: string
  readonly line_number: number
  readonly map_name: string | null
  readonly sys_name: string | null
  readonly pg_username: string | null
  readonly error: string | null
}

/** The row under the view's names. */
export function hbaFileRuleJson(row: HbaFileRule): HbaFileRuleJson {
  return {
    rule_number: row.ruleNumber,
    file_name: row.fileName,
    line_number: row.lineNumber,
    type: row.type,
    database: row.database,
    user_name: row.userName,
    address: row.address,
    netmask: row.netmask,
    auth_method: row.authMethod,
    options: row.options,
    error: row.error,
  }
}

/** The row under the view's names. */
export function identFileMappingJson(row: IdentFileMapping): IdentFileMappingJson {
  return {
    map_number: row.mapNumber,
    file_name: row.fileName,
    line_number: row.lineNumber,
    map_name: row.mapName,
    sys_name: row.sysName,
    pg_username: row.pgUserName,
    error: row.error,
  }
}
