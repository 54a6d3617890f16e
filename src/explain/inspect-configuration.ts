/**
 * A configuration, looked at without serving anybody.
 *
 * @module
 */
import { readFileSync } from 'node:fs'
import { inspectSettingsFile } from '../config/inspect-settings.ts'
import { inspectRules, type Rules, type RulesReport } from '../config/rules.ts'
import type { Settings } from '../config/settings.ts'
import { ValidatorLoadError } from '../errors.ts'
import { inspectSnapshot } from '../snapshot.ts'
import { warnOfUpstreamTokens } from '../upstream-tokens/load-upstream-tokens.ts'
import { disposeValidators } from '../validator/dispose-validators.ts'
import { type CollectedLine, CollectedLog } from './collected-log.ts'
import { type LocateValidator, plainProblem, type Problem, problemOf } from './problem.ts'

export interface InspectOptions {
  /** The settings file. */
  readonly config: string
  /** Leave out certificates, keys and passwords, which a repository does not hold. */
  readonly withoutSecrets: boolean
}

export interface Inspection extends AsyncDisposable {
  /** Undefined where the settings are too wrong for the other files to be read by them. */
  readonly settings: Settings | undefined
  readonly report: RulesReport | undefined
  readonly errors: readonly Problem[]
  readonly warnings: readonly Problem[]
  /** Undefined where anything is wrong. */
  readonly rules: Rules | undefined
}

/** Loads everything, asks nobody over the network, and finds all that is wrong in one go. */
export async function inspectConfiguration({
  config,
  withoutSecrets,
}: InspectOptions): Promise<Inspection> {
  const { settings, errors: wrong } = inspectSettingsFile(config)
  const log = new CollectedLog()
  const inspect = withoutSecrets ? inspectRulesOnly : inspectSnapshot
  const found = settings && (await inspect(settings, log, { checkOnly: true }))
  if (settings !== undefined) {
    warnOfUpstreamTokens(settings, log)
  }
  const report = found?.rules
  const locate = validatorPlaces(config)
  const errors = [...wrong, ...(found?.errors ?? [])].map((error) => problemOf(error, locate))
  return {
    settings,
    report,
    errors,
    warnings: [
      ...(report?.hba.warnings ?? []).map((warning) => problemOf(warning, locate)),
      ...log.lines.flatMap((line) => warningsOf(line, config, locate)),
    ],
    rules: errors.length === 0 ? report?.rules : undefined,
    [Symbol.asyncDispose]: () => disposeValidators(report?.validators ?? [], { log }),
  }
}

async function inspectRulesOnly(
  ...parameters: Parameters<typeof inspectRules>
): Promise<{ rules: RulesReport; errors: RulesReport['errors'] }> {
  const rules = await inspectRules(...parameters)
  return { rules, errors: rules.errors }
}

function warningsOf(
  { level, message, fields }: CollectedLine,
  config: string,
  locate: LocateValidator,
): Problem[] {
  const { validator, setting, detail } = fields
  if (level === 'log') {
    return []
  }
  if (typeof validator !== 'string') {
    const place =
      typeof setting === 'string' ? { file: config, line: lineOfSetting(config, setting) } : {}
    const more = typeof detail === 'string' ? { detail } : {}
    return [plainProblem(message, { code: 'WARNING', ...place, ...more })]
  }
  const { file, line } = locate(
    new ValidatorLoadError(message, { validator, reason: 'init_failed' }),
  )
  const text = `OAuth validator module "${validator}": ${message}`
  return [plainProblem(text, { code: 'WARNING', file, line: line ?? null, validator })]
}

/** Where the last part of a dotted name is first set below its table; null where that is not written plainly. */
function lineOfSetting(file: string, setting: string): number | null {
  const names = setting.split('.')
  const lines = readFileSync(file, 'utf8').split('\n')
  const table = `[${names.slice(0, -1).join('.')}]`
  const start = lines.findIndex((line) => line.replaceAll(/\s|#.*/g, '') === table)
  const at = lines.findIndex(
    (line, index) => index > start && line.trimStart().startsWith(names.at(-1) ?? ''),
  )
  return start === -1 || at === -1 ? null : at + 1
}

// [validators.acme], [validators."./acme.js"], [[validators.composite.issuers]]
const TABLE = /^\s*\[{1,2}\s*validators\s*\.\s*(?:["']([^"']*)["']|([\w-]+))/

/** Where in the settings a module is spoken of: at its table, where there is one, or at its name. */
export function validatorPlaces(file: string): LocateValidator {
  let text = ''
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    // Then that is the error.
  }
  const lines = text.split('\n')
  const lineOf = (wanted: (line: string) => boolean): number | undefined => {
    const at = lines.findIndex(wanted)
    return at === -1 ? undefined : at + 1
  }
  return ({ validator, reason }) => {
    const stem = validator.replace(/^.*\//, '').replace(/\.[^.]*$/, '')
    const table = lineOf((line) => {
      const [, quoted, bare] = TABLE.exec(line) ?? []
      const name = quoted ?? bare
      return name !== undefined && (name === validator || name === stem)
    })
    const list = lineOf((line) => /^\s*oauth_validator_libraries\s*=/.test(line))
    const inTable = reason === 'init_failed' || reason === 'unexpected_settings'
    return { file, line: (inTable ? (table ?? list) : list) ?? table }
  }
}
