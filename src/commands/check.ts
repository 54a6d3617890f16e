/**
 * `pgbearer check`.
 *
 * @module
 */
import { ConfigError } from '../errors.ts'
import { checkExpectation, type ExpectationResult } from '../explain/check-expectation.ts'
import { loadExpectations } from '../explain/expectation.ts'
import { type Inspection, inspectConfiguration } from '../explain/inspect-configuration.ts'
import { printableJson } from '../explain/printable-json.ts'
import { type Problem, problemOf } from '../explain/problem.ts'
import { type CheckReport, checkJson, checkText } from './check-report.ts'
import { type Output, processOutput } from './output.ts'

export interface CheckOptions {
  /** The settings file. */
  readonly config: string
  readonly json?: boolean
  /** A file of expectations. */
  readonly expect?: string
  readonly withoutSecrets?: boolean
}

/**
 * Loads everything without listening and without the network, and prints the rules, the maps, every error
 * and every expectation that is not met.
 *
 * @returns the exit code: 0, or 1 where anything is wrong.
 */
export async function check(
  { config, json = false, expect, withoutSecrets = false }: CheckOptions,
  output: Output = processOutput,
): Promise<number> {
  const inspection = await inspectConfiguration({ config, withoutSecrets })
  try {
    const report = { config, inspection, ...(await meetExpectations(expect, inspection)) }
    const { answer, complaint } = json
      ? { answer: printableJson(checkJson(report)), complaint: '' }
      : checkText(report)
    output.answer(answer)
    if (complaint !== '') {
      output.complain(complaint)
    }
    return isFine(report) ? 0 : 1
  } finally {
    await inspection[Symbol.asyncDispose]()
  }
}

async function meetExpectations(
  file: string | undefined,
  { rules, settings }: Inspection,
): Promise<Pick<CheckReport, 'expectations' | 'expectationErrors'>> {
  if (file === undefined) {
    return { expectations: undefined, expectationErrors: [] }
  }
  try {
    const expectations = loadExpectations(file)
    if (rules === undefined || settings === undefined) {
      return { expectations: undefined, expectationErrors: [] }
    }
    const results: ExpectationResult[] = []
    for (const expectation of expectations) {
      results.push(await checkExpectation(expectation, rules, settings))
    }
    return { expectations: results, expectationErrors: [] }
  } catch (error) {
    return { expectations: undefined, expectationErrors: problemsOf(error) }
  }
}

function problemsOf(error: unknown): Problem[] {
  if (!(error instanceof ConfigError)) {
    throw error
  }
  return error.errors.map((each) => problemOf(each, () => ({ file: '', line: undefined })))
}

function isFine({ inspection, expectations = [], expectationErrors }: CheckReport): boolean {
  const unmet = expectations.some(({ differences }) => differences.length > 0)
  return inspection.errors.length === 0 && expectationErrors.length === 0 && !unmet
}
