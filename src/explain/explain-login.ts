/**
 * Why somebody gets in or does not. The answer is the real path's: the same authenticator, conversation
 * and map decide, and only what they did is written down here.
 *
 * @module
 */
import { type Authenticator, authenticatorOf } from '../authenticator.ts'
import { type ByteString, fromText } from '../byte-string.ts'
import type { Rules } from '../config/rules.ts'
import { InternalError, ReportError } from '../errors.ts'
import { findHbaLine } from '../hba/find-hba-line.ts'
import type { HbaLine } from '../hba/hba-line.ts'
import type { HostNameResolver } from '../hba/host-names.ts'
import type { HbaField } from '../hba/match-hba-line.ts'
import { logReport } from '../log-report.ts'
import type { Login } from '../login/login.ts'
import { connectionOf, type LoginRequest } from '../login/login-request.ts'
import type { ValidationOutcome } from '../validator/validation-outcome.ts'
import { assumeIdentity } from './assumed-identity.ts'
import { type CollectedLine, CollectedLog } from './collected-log.ts'
import { explainUsermap, type MapExplanation } from './explain-usermap.ts'
import { presentToken } from './present-token.ts'

/** What a client would bring; neither: it is asked about the rules alone. */
export type Credential =
  | { readonly kind: 'token'; readonly token: string }
  /** As if a validator had authorized a token of this identity. */
  | { readonly kind: 'identity'; readonly identity: string }
  | undefined

export interface LoginQuestion {
  readonly rules: Rules
  readonly request: LoginRequest
  readonly credential: Credential
  /** Stands for `authentication_timeout`. */
  readonly signal: AbortSignal
  /** Default: the system's. */
  readonly resolver?: HostNameResolver | undefined
}

/** A rule before the one that matches. */
export interface RuleMismatch {
  readonly line: HbaLine
  /** The first field that does not match, in PostgreSQL's order of tests. */
  readonly field: HbaField
}

/** Why there is neither a yes nor a no. */
export type Undecided =
  /** The rule asks for a token, and the question came without one. */
  | 'token_needed'
  /** Method `upstream`. */
  | 'server_behind_decides'
  /** The client would be refused now; the fault is not the token's. */
  | 'validator_failed'

export interface Explanation {
  readonly verdict: 'accepted' | 'refused' | 'undecided'
  readonly undecided: Undecided | undefined
  readonly request: LoginRequest
  readonly mismatches: readonly RuleMismatch[]
  /** The rule that decides; undefined where none matches. */
  readonly line: HbaLine | undefined
  /** What was looked up where a rule has a host name. */
  readonly hostNameDetail: string | undefined
  /** Undefined where no validator was asked. */
  readonly validation: ValidationOutcome | undefined
  /** True: the validator's answer was given with the question. */
  readonly assumed: boolean
  /** The maps that were asked, for the token's identity and for the certificate's name. */
  readonly maps: readonly MapExplanation[]
  /** What ends the connection, with its two faces. */
  readonly error: ReportError | undefined
  /** What the log says, at `log` and above. */
  readonly log: readonly CollectedLine[]
}

/** Asks the rules about one connection, and follows it as far as the question goes. */
export async function explainLogin(question: LoginQuestion): Promise<Explanation> {
  const { request, credential, signal, resolver } = question
  const found = await findRule(question)
  const assumed =
    credential?.kind === 'identity'
      ? assumeIdentity(question.rules, credential.identity)
      : undefined
  const log = new CollectedLog()
  const trial = await tryLogin(authenticatorOf(assumed?.rules ?? question.rules, log), {
    request,
    token: assumed?.token ?? (credential?.kind === 'token' ? credential.token : undefined),
    signal,
    resolver,
    log,
    expected: found.line,
  })
  if (trial.error !== undefined) {
    logReport(trial.error, log)
  }
  return {
    ...trial,
    ...found,
    request,
    assumed: assumed !== undefined,
    maps: explainMaps(question, { ...found, ...trial }),
    log: log.lines,
  }
}

async function findRule({
  rules,
  request,
  resolver,
  signal,
}: LoginQuestion): Promise<Pick<Explanation, 'mismatches' | 'line' | 'hostNameDetail'>> {
  const mismatches: RuleMismatch[] = []
  const { line, hostNameDetail } = await findHbaLine(rules.hba.lines, connectionOf(request), {
    memberships: rules.memberships,
    signal,
    ...(resolver === undefined ? {} : { resolver }),
    onMismatch: (mismatch, field) => mismatches.push({ line: mismatch, field }),
  })
  return { mismatches, line, hostNameDetail }
}

type Trial = Pick<Explanation, 'verdict' | 'undecided' | 'validation' | 'error'>

interface TrialOptions {
  readonly request: LoginRequest
  readonly token: string | undefined
  readonly signal: AbortSignal
  readonly resolver: HostNameResolver | undefined
  readonly log: CollectedLog
  /** The rule that is to be told of. */
  readonly expected: HbaLine | undefined
}

async function tryLogin(
  authenticator: Authenticator,
  { request, token, signal, resolver, log, expected }: TrialOptions,
): Promise<Trial> {
  let validation: ValidationOutcome | undefined
  let login: Login | undefined
  try {
    login = await authenticator.begin(request, {
      signal,
      log,
      ...(resolver === undefined ? {} : { resolver }),
      onValidated: (outcome) => {
        validation = outcome
      },
    })
    if (login.line !== expected) {
      throw new InternalError('the rule that was found is not the one that is explained')
    }
    const verdict = await verdictOf(login, token)
    const failed = validation?.kind === 'internal_error'
    return failed
      ? { ...verdict, verdict: 'undecided', undecided: 'validator_failed', validation }
      : { ...verdict, validation }
  } catch (error) {
    if (!(error instanceof ReportError) || error instanceof InternalError) {
      throw error
    }
    return { verdict: 'refused', undecided: undefined, validation, error }
  } finally {
    await login?.close()
  }
}

async function verdictOf(
  login: Login,
  token: string | undefined,
): Promise<Omit<Trial, 'validation'>> {
  if (login.kind === 'upstream') {
    return { verdict: 'undecided', undecided: 'server_behind_decides', error: undefined }
  }
  const end = await presentToken(login, token)
  switch (end.kind) {
    case 'continue':
      return { verdict: 'undecided', undecided: 'token_needed', error: undefined }
    case 'accepted':
      return { verdict: 'accepted', undecided: undefined, error: undefined }
    case 'refused':
    case 'abandoned':
      return { verdict: 'refused', undecided: undefined, error: end.error }
  }
}

/** Asks again what the login has asked already, for the lines in between. */
function explainMaps(
  { rules, request }: LoginQuestion,
  { line, validation }: Pick<Explanation, 'line' | 'validation'>,
): MapExplanation[] {
  const names: { kind: MapExplanation['kind']; name: ByteString }[] = []
  if (validation?.kind === 'decided' && validation.authorized && validation.authnId) {
    names.push({ kind: 'identity', name: fromText(validation.authnId) })
  }
  const certificate = request.clientCertificate
  const subject =
    line?.clientName === 'DN' ? certificate?.distinguishedName : certificate?.commonName
  if (line?.clientCert === 'verify-full' && subject) {
    names.push({ kind: 'certificate', name: fromText(subject) })
  }
  return names.flatMap(({ kind, name }) =>
    line === undefined || (kind === 'identity' && line.oauth?.delegateIdentMapping === true)
      ? []
      : [explainUsermap({ kind, name, line, role: request.user, rules })],
  )
}
