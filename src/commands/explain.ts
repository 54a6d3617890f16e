/**
 * `pgbearer explain`.
 *
 * @module
 */
import { loadSettingsFile } from '../config/load-settings.ts'
import { inspectRules, type RulesReport } from '../config/rules.ts'
import type { Settings } from '../config/settings.ts'
import { ConfigError, ReportError } from '../errors.ts'
import { CollectedLog } from '../explain/collected-log.ts'
import { type Door, DoorError, loginRequestOf } from '../explain/door.ts'
import { type Credential, type Explanation, explainLogin } from '../explain/explain-login.ts'
import { EXPLAIN_JSON_VERSION, explanationJson } from '../explain/explanation-json.ts'
import { explanationText } from '../explain/explanation-text.ts'
import { validatorPlaces } from '../explain/inspect-configuration.ts'
import { printableJson } from '../explain/printable-json.ts'
import { plainProblem, type Problem, problemOf, problemText } from '../explain/problem.ts'
import { readToken, TokenFileError } from '../explain/token-source.ts'
import { disposeValidators } from '../validator/dispose-validators.ts'
import { type Output, processOutput } from './output.ts'

export interface ExplainOptions extends Omit<Door, 'tls' | 'replication'> {
  /** The settings file. */
  readonly config: string
  readonly tls?: boolean
  /** True: physical. */
  readonly replication?: string | boolean
  /** A file with a token, or `-` for standard input. */
  readonly tokenFile?: string
  /** As if a validator had authorized a token of this identity. */
  readonly identity?: string
  readonly json?: boolean
}

const EXIT_CODES = { accepted: 0, refused: 2, undecided: 1 } as const

/**
 * Says which line decides about a connection, what its validator and its map answer, and how it ends.
 *
 * @returns the exit code: 0 accepted, 2 refused, 1 could not tell.
 */
export async function explain(
  options: ExplainOptions,
  output: Output = processOutput,
): Promise<number> {
  try {
    const explanation = await answerTo(options)
    output.answer(
      options.json === true
        ? printableJson(explanationJson(explanation))
        : `${explanationText(explanation)}\n`,
    )
    return EXIT_CODES[explanation.verdict]
  } catch (error) {
    const errors = problemsOf(error, options)
    if (options.json === true) {
      output.answer(printableJson({ version: EXPLAIN_JSON_VERSION, verdict: 'undecided', errors }))
    } else {
      output.complain(errors.map((problem) => `${problemText(problem)}\n`).join(''))
    }
    return EXIT_CODES.undecided
  }
}

async function answerTo(options: ExplainOptions): Promise<Explanation> {
  const settings = loadSettingsFile(options.config)
  const request = loginRequestOf(doorOf(options), settings)
  const credential = await credentialOf(options)
  // Without a token nobody asks a validator anything, so it needs no keys.
  return await withRules(
    settings,
    { checkOnly: credential?.kind !== 'token' },
    ({ rules, errors }) => {
      if (rules === undefined) {
        throw new ConfigError(errors)
      }
      const signal = AbortSignal.timeout(settings.authenticationTimeout)
      return explainLogin({ rules, request, credential, signal })
    },
  )
}

async function withRules<T>(
  settings: Settings,
  options: { readonly checkOnly: boolean },
  use: (report: RulesReport) => Promise<T>,
): Promise<T> {
  const log = new CollectedLog()
  const report = await inspectRules(settings, log, options)
  try {
    return await use(report)
  } finally {
    await disposeValidators(report.validators, { log })
  }
}

function doorOf({ user, database, address, tls, replication, clientCertDn }: ExplainOptions): Door {
  return {
    user,
    database,
    address,
    tls: tls === true,
    replication: replication === undefined ? undefined : String(replication),
    clientCertDn,
  }
}

async function credentialOf({ tokenFile, identity }: ExplainOptions): Promise<Credential> {
  if (tokenFile !== undefined && identity !== undefined) {
    throw new DoorError('either a token or an identity in its place can be given, not both')
  }
  if (tokenFile !== undefined) {
    return { kind: 'token', token: await readToken(tokenFile) }
  }
  return identity === undefined ? undefined : { kind: 'identity', identity }
}

function problemsOf(error: unknown, { config }: ExplainOptions): Problem[] {
  if (error instanceof ConfigError) {
    const locate = validatorPlaces(config)
    return error.errors.map((each) => problemOf(each, locate))
  }
  if (
    error instanceof DoorError ||
    error instanceof TokenFileError ||
    error instanceof ReportError
  ) {
    return [plainProblem(error.message, { code: error.code })]
  }
  if (error instanceof Error && error.name === 'TimeoutError') {
    return [plainProblem('there was no answer in time', { code: 'ERR_TIMEOUT' })]
  }
  throw error
}
