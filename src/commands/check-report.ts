/**
 * What `pgbearer check` found, for people and for programs. `docs/reference/explain-json.md` describes the
 * JSON; members may be added, and anything else changes `version`.
 *
 * @module
 */
import type { Difference, ExpectationResult } from '../explain/check-expectation.ts'
import { type ExplanationJson, explanationJson } from '../explain/explanation-json.ts'
import { explanationText } from '../explain/explanation-text.ts'
import type { Inspection } from '../explain/inspect-configuration.ts'
import { plainProblem, type Problem, problemText } from '../explain/problem.ts'
import { printableTable } from '../explain/printable-table.ts'
import {
  type HbaFileRuleJson,
  hbaFileRuleJson,
  type IdentFileMappingJson,
  identFileMappingJson,
} from '../explain/views-json.ts'

/** The version of the JSON's shape. */
export const CHECK_JSON_VERSION = 1

export interface CheckReport {
  readonly config: string
  readonly inspection: Inspection
  /** Undefined where none were asked for, or none could be looked at. */
  readonly expectations: readonly ExpectationResult[] | undefined
  readonly expectationErrors: readonly Problem[]
}

export interface CheckJson {
  readonly version: typeof CHECK_JSON_VERSION
  readonly ok: boolean
  readonly settings_file: string
  /** Null where the settings are too wrong to look at the rules. */
  readonly hba_file_rules: readonly HbaFileRuleJson[] | null
  readonly ident_file_mappings: readonly IdentFileMappingJson[] | null
  /** Names of the modules that could be loaded. */
  readonly validators: readonly string[] | null
  readonly errors: readonly Problem[]
  readonly warnings: readonly Problem[]
  readonly expectations: readonly ExpectationJson[] | null
}

interface ExpectationJson {
  readonly file: string
  readonly line: number | null
  readonly name: string | null
  readonly ok: boolean
  readonly differences: readonly Difference[]
  readonly explanation: ExplanationJson | null
}

/** For programs. */
export function checkJson(report: CheckReport): CheckJson {
  const { config, inspection, expectations } = report
  const { warnings } = inspection
  const errors = [...inspection.errors, ...report.expectationErrors]
  const unmet = expectations?.some(({ differences }) => differences.length > 0) === true
  const found = inspection.report
  return {
    version: CHECK_JSON_VERSION,
    ok: errors.length === 0 && !unmet,
    settings_file: config,
    hba_file_rules: found?.hba.rules.map(hbaFileRuleJson) ?? null,
    ident_file_mappings: found?.ident.mappings.map(identFileMappingJson) ?? null,
    validators: found?.validators.map(({ name }) => name) ?? null,
    errors,
    warnings,
    expectations: expectations?.map(expectationJson) ?? null,
  }
}

function expectationJson(result: ExpectationResult): ExpectationJson {
  const { expectation, differences, explanation } = result
  return {
    file: expectation.at.file,
    line: expectation.at.line ?? null,
    name: expectation.name ?? null,
    ok: differences.length === 0,
    differences,
    explanation: explanation === undefined ? null : explanationJson(explanation),
  }
}

/** For people: the tables, and apart from them what is wrong. */
export function checkText(report: CheckReport): { answer: string; complaint: string } {
  const { inspection, expectations = [], expectationErrors } = report
  const unmet = expectations.filter(({ differences }) => differences.length > 0)
  const met = expectations.length - unmet.length
  const sections = [
    viewText('pg_hba_file_rules', inspection.report?.hba.rules.map(hbaFileRuleJson)),
    viewText('pg_ident_file_mappings', inspection.report?.ident.mappings.map(identFileMappingJson)),
    ...(report.expectations === undefined
      ? []
      : [`${met} of ${expectations.length} expectations are met\n`]),
  ]
  const complaints = [
    ...inspection.warnings.map((warning) => problemText(warning, 'warning: ')),
    ...[...inspection.errors, ...expectationErrors].map((error) => problemText(error)),
    ...unmet.map(unmetText),
  ]
  return { answer: sections.join('\n'), complaint: complaints.map((text) => `${text}\n`).join('') }
}

function viewText(
  name: string,
  rows: readonly (HbaFileRuleJson | IdentFileMappingJson)[] | undefined,
): string {
  if (rows === undefined) {
    return `${name}: not looked at, because of what is wrong with the settings\n`
  }
  const [first] = rows
  if (first === undefined) {
    return `${name}\n(0 rows)\n`
  }
  const table = printableTable(
    Object.keys(first),
    rows.map((row) => Object.values(row)),
  )
  return `${name}\n${table}\n`
}

function unmetText({ expectation, differences, explanation }: ExpectationResult): string {
  const { name, at } = expectation
  const what = name === undefined ? 'expectation is not met' : `"${name}" is not met`
  const sentences = differences.map(
    ({ field, expected, got }) => `${field}: expected ${expected}, got ${got}`,
  )
  const head = problemText(
    plainProblem(`${what}: ${sentences.join('; ')}`, {
      code: 'EXPECTATION',
      file: at.file,
      line: at.line ?? null,
    }),
  )
  const why = explanation === undefined ? [] : explanationText(explanation).split('\n')
  return [head, ...why.map((line) => (line === '' ? '' : `    ${line}`))].join('\n')
}
