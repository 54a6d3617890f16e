/**
 * What is wrong with a configuration, for people and for programs.
 *
 * @module
 */
import { ConfigFileError, type ValidatorLoadError } from '../errors.ts'
import { printable } from '../log.ts'

/** One thing that is wrong, or looks wrong. */
export interface Problem {
  readonly message: string
  readonly code: string
  readonly file: string | null
  readonly line: number | null
  readonly detail: string | null
  readonly hint: string | null
  readonly sql_state: string | null
  /** The module, where one cannot be used. */
  readonly validator: string | null
  /** Why it cannot, as a stable word. */
  readonly reason: string | null
}

const NOTHING: Omit<Problem, 'message' | 'code'> = {
  file: null,
  line: null,
  detail: null,
  hint: null,
  sql_state: null,
  validator: null,
  reason: null,
}

/** Where in the settings file something about a module is written. */
export type LocateValidator = (error: ValidatorLoadError) => {
  readonly file: string
  readonly line: number | undefined
}

/** An error of a configuration. */
export function problemOf(
  error: ConfigFileError | ValidatorLoadError,
  locate: LocateValidator,
): Problem {
  if (error instanceof ConfigFileError) {
    return {
      ...NOTHING,
      message: error.message,
      code: error.code,
      file: error.file,
      line: error.line ?? null,
      detail: error.detail ?? null,
      hint: error.hint ?? null,
      sql_state: error.sqlState,
    }
  }
  const { message, code, validator, reason } = error
  const { file, line } = locate(error)
  return { ...NOTHING, message, code, file, line: line ?? null, validator, reason }
}

/** Something that is wrong elsewhere than in a file. */
export function plainProblem(
  message: string,
  more: Partial<Problem> & { readonly code: string },
): Problem {
  return { ...NOTHING, message, ...more }
}

/** `file:line: message`, which editors and CI systems link, and a line each for DETAIL and HINT. */
export function problemText(problem: Problem, severity = ''): string {
  const { file, line, detail, hint } = problem
  const place = [file, line].filter((part) => part !== null).join(':')
  const first = `${place === '' ? 'pgbearer' : place}: ${severity}${problem.message}`
  const more = [
    ...(detail === null ? [] : [`DETAIL:  ${detail}`]),
    ...(hint === null ? [] : [`HINT:  ${hint}`]),
  ]
  return [first, ...more].flatMap(indentedLines).join('\n')
}

/** A message of several lines, none of which can be taken for another message. */
function indentedLines(text: string, index: number): string[] {
  return text
    .split('\n')
    .map((line, at) => `${index > 0 || at > 0 ? '    ' : ''}${printable(line)}`)
}
