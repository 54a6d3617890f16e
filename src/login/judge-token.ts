/**
 * What a validator's answer leads to: delegation, then the user map (`auth-oauth.c: validate()`). The
 * login and `pgbearer explain` both ask here.
 *
 * @module
 */
import { type ByteString, fromText, toText } from '../byte-string.ts'
import type { Rules } from '../config/rules.ts'
import {
  OAuthAuthenticationError,
  PasswordAuthenticationError,
  type ReportError,
} from '../errors.ts'
import type { HbaLine } from '../hba/hba-line.ts'
import { checkUsermap } from '../ident/check-usermap.ts'
import type { Log } from '../log.ts'
import { logAuthentication } from './log-authentication.ts'
import { matchedLine } from './matched-line.ts'
import type { DecidedOutcome, ValidationOutcome } from '../validator/validation-outcome.ts'

/** Who wants to be whom, by which rule. */
export interface TokenCase {
  readonly rules: Pick<Rules, 'identLines' | 'memberships' | 'logConnections'>
  readonly line: HbaLine
  /** The requested role. */
  readonly role: ByteString
  readonly log: Log
}

/** The end of a login by token. Only `authorized: true` is a yes. */
export type TokenJudgement = TokenAcceptance | ({ readonly authorized: false } & TokenRefusal)

/** A yes, and what the session is to know. */
export interface TokenAcceptance {
  readonly authorized: true
  readonly authnId: string | undefined
  readonly expiresAt: number | undefined
}

/** Why not, for the log alone. */
export interface TokenRefusal {
  readonly detail: string
  /** A stable word; `docs/reference/errors.md` explains each. */
  readonly reason: string
  readonly authnId?: string | undefined
  readonly cause?: Error
}

/** Decides, and logs `connection authenticated` where the settings want it. */
export function judgeToken(outcome: ValidationOutcome, tokenCase: TokenCase): TokenJudgement {
  if (outcome.kind === 'internal_error') {
    return refused({
      detail: outcome.logDetail,
      reason: outcome.code ?? `validator_${outcome.reason}`,
    })
  }
  const { authnId } = outcome
  // Before any decision: set_authn_id() also for a token that is refused.
  if (authnId !== undefined) {
    logAuthentication(tokenCase.rules, tokenCase.log, { identity: authnId, line: tokenCase.line })
  }
  if (outcome.authorized !== true) {
    return refused({
      detail: outcome.errorDetail ?? 'Validator failed to authorize the provided token.',
      reason: outcome.code ?? 'token_refused',
      authnId,
    })
  }
  return judgeIdentity(outcome, tokenCase)
}

/** Steps d to g of `validate()`. */
function judgeIdentity(outcome: DecidedOutcome, tokenCase: TokenCase): TokenJudgement {
  const { authnId, expiresAt } = outcome
  const { line, role, rules } = tokenCase
  if (line.oauth?.delegateIdentMapping === true) {
    if (authnId === undefined) {
      logAuthentication(rules, tokenCase.log, { user: toText(role), line })
    }
    return { authorized: true, authnId, expiresAt }
  }
  if (authnId === undefined || authnId === '') {
    return refused({ detail: 'Validator provided no identity.', reason: 'no_identity', authnId })
  }
  const mapped = checkUsermap({
    lines: rules.identLines,
    map: line.map,
    systemUser: fromText(authnId),
    role,
    memberships: rules.memberships,
  })
  return mapped.ok === true
    ? { authorized: true, authnId, expiresAt }
    : refused({ detail: mapped.message, reason: mapped.reason, authnId })
}

function refused(refusal: TokenRefusal): TokenJudgement {
  return { authorized: false, ...refusal }
}

/** What client and log are told of a refusal; the client's sentence is the same for all of them. */
export function tokenRefusedError(
  { detail, reason, authnId, cause }: TokenRefusal,
  line: HbaLine,
  role: ByteString,
): ReportError {
  const { logDetail, logFields } = matchedLine(line, detail)
  const options = { reason, logDetail, logFields: { ...logFields, authnId }, cause }
  return line.oauth?.tokenInPassword === true
    ? new PasswordAuthenticationError(toText(role), options)
    : new OAuthAuthenticationError(toText(role), options)
}
