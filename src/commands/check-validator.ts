/**
 * `pgbearer check-validator`: one module alone, with one token.
 *
 * @module
 */
import path from 'node:path'
import { loadSettingsFile } from '../config/load-settings.ts'
import { loadConfiguredValidator, type ValidatorSettings } from '../config/load-validators.ts'
import { ValidatorLoadError } from '../errors.ts'
import { readToken, TokenFileError } from '../explain/token-source.ts'
import { createLog, type Log } from '../log.ts'
import type { ValidatorRule } from '../validator/contract.ts'
import { disposeValidators } from '../validator/dispose-validators.ts'
import {
  runValidatorOnce,
  type ValidatorTimings,
  type ValidatorTrial,
  type ValidatorTrialResult,
} from '../validator/run-validator-once.ts'
import type { DecidedOutcome } from '../validator/validation-outcome.ts'
import { isBundledValidator } from '../validator/resolve-validator-name.ts'
import { splitScope } from '../validator/validation-request.ts'
import { type Output, processOutput } from './output.ts'

export interface CheckValidatorOptions {
  readonly tokenFile: string
  readonly role: string
  /** A settings file with the module's tables; default: none. */
  readonly config?: string
  readonly issuer?: string
  readonly scope?: string
  /** `name=value`, as behind `validator.` in a rule. */
  readonly option?: readonly string[]
  readonly delegate?: boolean
}

const EXIT_USAGE = 2

/** What `authentication_timeout` is by default, in ms. */
const LOGIN_TIMEOUT_MS = 60_000

/**
 * Loads a module as `serve` would, and prints what it says of a token and how long it took.
 *
 * @param module - a path, from the working directory; a bundled name; or a package.
 * @returns the exit code: 0 accepted, 2 refused or asked wrongly, 1 it failed.
 */
export async function checkValidator(
  module: string,
  options: CheckValidatorOptions,
  output: Output = processOutput,
): Promise<number> {
  if (isBundledValidator(module) && options.issuer === undefined) {
    output.complain(`pgbearer: the module "${module}" needs the issuer of a rule: --issuer\n`)
    return EXIT_USAGE
  }
  const log = createLog({
    format: 'text',
    level: 'debug',
    write: (line) => output.complain(line),
  })
  try {
    const token = await readToken(options.tokenFile)
    return report(await tryOut(module, options, { token, log }), options, output)
  } catch (error) {
    if (error instanceof ValidatorLoadError || error instanceof TokenFileError) {
      output.complain(`pgbearer: ${error.message}\n`)
      return 1
    }
    throw error
  }
}

async function tryOut(
  module: string,
  { role, config, issuer = '', scope = '', option = [], delegate = false }: CheckValidatorOptions,
  { token, log }: { readonly token: string; readonly log: Log },
): Promise<ValidatorTrialResult> {
  const file = config === undefined ? undefined : loadSettingsFile(config)
  const settings: ValidatorSettings = {
    oauthValidatorLibraries: [],
    validators: file?.validators ?? {},
    validatorHosts: file?.validatorHosts ?? {},
    baseDirectory: file?.baseDirectory ?? process.cwd(),
  }
  const name = /^\.{1,2}[/\\]/.test(module) ? path.resolve(module) : module
  const loaded = await loadConfiguredValidator(name, settings, {
    rules: issuer === '' ? [] : [ruleOf({ issuer, scope, option, delegate })],
    log,
  })
  const trial: ValidatorTrial = {
    token,
    role,
    issuer,
    scope,
    options: new Map(option.map(readOption)),
    delegateIdentMapping: delegate,
    log,
    signal: AbortSignal.timeout(file?.authenticationTimeout ?? LOGIN_TIMEOUT_MS),
  }
  try {
    return await runValidatorOnce(loaded, trial)
  } finally {
    await disposeValidators([loaded], { log })
  }
}

/** What the command line says, as a rule would. */
function ruleOf({
  issuer,
  scope,
  option,
  delegate,
}: Required<
  Pick<CheckValidatorOptions, 'issuer' | 'scope' | 'option' | 'delegate'>
>): ValidatorRule {
  return {
    place: 'the command line',
    issuer,
    scope: splitScope(scope),
    delegateIdentMapping: delegate,
    options: Object.fromEntries(option.map(readOption)),
  }
}

function readOption(text: string): [string, string] {
  const at = text.indexOf('=')
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}

function report(
  result: ValidatorTrialResult,
  options: CheckValidatorOptions,
  output: Output,
): number {
  const { code, lines } = describeResult(result, options)
  output.answer(`${[...lines, describeTimings(result.timings)].join('\n')}\n`)
  return code
}

interface Description {
  readonly code: 0 | 1 | 2
  readonly lines: readonly string[]
}

function describeResult(result: ValidatorTrialResult, options: CheckValidatorOptions): Description {
  switch (result.kind) {
    case 'options_refused':
      return {
        code: 1,
        lines: result.errors.map(({ message, detail }) =>
          detail === undefined ? message : `${message}: ${detail}`,
        ),
      }
    case 'malformed_token':
      return {
        code: 2,
        lines: ['refused: this is no bearer token (RFC 6750), so the module is not asked'],
      }
    case 'startup_failed':
      return { code: 1, lines: [`internal error (${result.reason}): ${result.logDetail}`] }
    case 'validated':
      return result.outcome.kind === 'decided'
        ? describeDecision(result.outcome, options)
        : {
            code: 1,
            lines: [`internal error (${result.outcome.reason}): ${result.outcome.logDetail}`],
          }
  }
}

function describeDecision(
  { authorized, authnId, errorDetail, expiresAt, code }: DecidedOutcome,
  { role, delegate = false }: CheckValidatorOptions,
): Description {
  const who = authnId === undefined || authnId === '' ? undefined : JSON.stringify(authnId)
  if (authorized !== true) {
    const identity = who === undefined ? '' : `, identity ${who}`
    return {
      code: 2,
      lines: [`refused (${code ?? 'no code'})${identity}: ${errorDetail ?? 'no detail'}`],
    }
  }
  if (who === undefined && !delegate) {
    const why =
      'authorized, but without an identity: that logs in only under delegate_ident_mapping'
    return { code: 2, lines: [why] }
  }
  const lines = [`accepted, identity ${who ?? '(none)'}`]
  if (!delegate && authnId !== role) {
    lines.push(`a rule for this needs a map that lets ${who ?? ''} be ${JSON.stringify(role)}`)
  }
  if (expiresAt !== undefined) {
    lines.push(`the token expires at ${new Date(expiresAt * 1000).toISOString()}`)
  }
  return { code: 0, lines }
}

function describeTimings({ startupMs, validateMs, shutdownMs }: ValidatorTimings): string {
  const times = Object.entries({ startup: startupMs, validate: validateMs, shutdown: shutdownMs })
  return times
    .map(([name, ms]) => `${name} ${ms === undefined ? 'did not run' : `${ms.toFixed(1)} ms`}`)
    .join(', ')
}
