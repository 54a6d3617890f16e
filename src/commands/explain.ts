/**
 * `pgbearer explain`.
 *
 * @module
 */
import { loadSettingsFile } from '../config/load-settings.ts'
import { inspectRules, type InspectRulesOptions, type RulesReport } from '../config/rules.ts'
import type { Settings } from '../config/settings.ts'
import { ConfigError, ReportError } from '../errors.ts'
import { type CollectedLine, CollectedLog } from '../explain/collected-log.ts'
import { type Door, DoorError, loginRequestOf } from '../explain/door.ts'
import { type Credential, type Explanation, explainLogin } from '../explain/explain-login.ts'
import { EXPLAIN_JSON_VERSION, explanationJson } from '../explain/explanation-json.ts'
import { explanationText } from '../explain/explanation-text.ts'
import { validatorPlaces } from '../explain/inspect-configuration.ts'
import { printableJson } from '../explain/printable-json.ts'
import { plainProblem, type Problem, problemOf, problemText } from '../explain/problem.ts'
import { readToken, TokenFileError } from '../explain/token-source.ts'
import type { CatalogMemberships } from '../memberships/catalog-memberships.ts'
import { inspectSnapshot } from '../snapshot.ts'
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
  const log = new CollectedLog()
  try {
    const explanation = await answerTo(options, log)
    output.answer(
      options.json === true
        ? printableJson(explanationJson(explanation))
        : `${explanationText(explanation)}\n`,
    )
    return EXIT_CODES[explanation.verdict]
  } catch (error) {
    const errors = [...problemsOf(error, options), ...log.lines.flatMap(loggedProblem)]
    if (options.json === true) {
      output.answer(printableJson({ version: EXPLAIN_JSON_VERSION, verdict: 'undecided', errors }))
    } else {
      output.complain(errors.map((problem) => `${problemText(problem)}\n`).join(''))
    }
    return EXIT_CODES.undecided
  }
}

async function answerTo(options: ExplainOptions, log: CollectedLog): Promise<Explanation> {
  const settings = loadSettingsFile(options.config)
  const request = loginRequestOf(doorOf(options), settings)
  const credential = await credentialOf(options)
  const signal = AbortSignal.timeout(settings.authenticationTimeout)
  // Without a token nobody asks a validator anything, so it needs no keys.
  const checkOnly = credential?.kind !== 'token'
  const { report, errors, memberships } = await load(settings, log, { checkOnly })
  try {
    if (report.rules === undefined || errors.length > 0) {
      throw new ConfigError(errors)
    }
    await memberships?.start(signal)
    return await explainLogin({ rules: report.rules, request, credential, signal })
  } finally {
    memberships?.stop()
    await disposeValidators(report.validators, { log })
  }
}

interface Loaded {
  readonly report: RulesReport
  readonly errors: RulesReport['errors']
  readonly memberships?: CatalogMemberships | undefined
}

/** The rules alone, unless the server behind has to be asked who is a member of what. */
async function load(
  settings: Settings,
  log: CollectedLog,
  options: InspectRulesOptions,
): Promise<Loaded> {
  if (settings.upstream.membershipsUser === undefined) {
    const report = await inspectRules(settings, log, options)
    return { report, errors: report.errors }
  }
  const { rules: report, errors, snapshot } = await inspectSnapshot(settings, log, options)
  return { report, errors, memberships: snapshot?.memberships }
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
  if (error instanceof ReportError) {
    const { message, code, detail, logDetail, hint } = error
    return [
      plainProblem(message, { code, detail: logDetail ?? detail ?? null, hint: hint ?? null }),
    ]
  }
  if (error instanceof DoorError || error instanceof TokenFileError) {
    return [plainProblem(error.message, { code: error.code })]
  }
  if (error instanceof Error && error.name === 'TimeoutError') {
    return [plainProblem('there was no answer in time', { code: 'ERR_TIMEOUT' })]
  }
  throw error
}

/** What went wrong on the way, such as reading role memberships. */
function loggedProblem({ level, message, fields }: CollectedLine): Problem[] {
  const detail = typeof fields['detail'] === 'string' ? fields['detail'] : null
  return level === 'error' ? [plainProblem(message, { code: 'ERR_LOGGED', detail })] : []
}
